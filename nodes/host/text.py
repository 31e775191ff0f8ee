"""CLIP's text side: S* in a prompt through ComfyUI's own textual-inversion path."""

from __future__ import annotations

import copy

import comfy.sd
import torch
from torch import Tensor

from ...acfun_core.adapter import StyleAdapter
from ...acfun_core.config import INITIAL_WORD, PLACEHOLDER
from ...acfun_core.errors import ACFunError
from ...acfun_core.mixing import Members, abstract_intervals, is_plain, mixed_context, mixed_row, windowed

_MARKER = "acfun_style_row"


def check_sd1_clip(clip) -> None:
    """Raise unless ``clip`` is a Stable Diffusion 1.x text encoder."""
    if not hasattr(clip.cond_stage_model, "clip_l") or hasattr(clip.cond_stage_model, "clip_g"):
        raise ACFunError(
            f"The CLIP is a {type(clip.cond_stage_model).__name__}.",
            "a Stable Diffusion 1.x text encoder",
            "connect the CLIP of the same checkpoint as the MODEL",
        )


def embedding_table(clip) -> Tensor:
    """Token embeddings, (vocabulary, width)."""
    return clip.cond_stage_model.clip_l.transformer.get_input_embeddings().weight


def check_text_width(adapter: StyleAdapter, clip) -> None:
    """Raise unless the adapter's S* fits the CLIP."""
    check_sd1_clip(clip)
    width = embedding_table(clip).shape[1]
    if width != adapter.text_width:
        raise ACFunError(
            f"The adapter's S* is {adapter.text_width} wide, this CLIP's embeddings are {width} wide.",
            "the CLIP the adapter was trained with",
            "load that base or train the adapter on this one",
        )


class StyleTokenizer:
    """A tokenizer that also knows S*: the stock one, with one more embedding.

    Args:
        tokenizer: ComfyUI's SD1 tokenizer.
        row: (width,) what stands for S*, or None for the plain initial word.
    """

    def __init__(self, tokenizer, row: Tensor | None):
        self.plain = plain_tokenizer(tokenizer)
        self.row = row

    def __getattr__(self, name):
        if name == "plain":
            raise AttributeError(name)
        return getattr(self.plain, name)

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **kwargs):
        if PLACEHOLDER not in text:
            return self.plain.tokenize_with_weights(text, return_word_ids, **kwargs)
        if self.row is None:
            return self.plain.tokenize_with_weights(text.replace(PLACEHOLDER, INITIAL_WORD), return_word_ids, **kwargs)
        marked = text.replace(PLACEHOLDER, f" embedding:{_MARKER}")
        return self._with_style_embedding().tokenize_with_weights(marked, return_word_ids, **kwargs)

    def _with_style_embedding(self):
        outer = copy.copy(self.plain)
        inner = copy.copy(getattr(outer, outer.clip))
        if inner.embedding_directory is None:
            inner.embedding_directory = []
        stock_lookup = inner._try_get_embedding
        # (embedding, leftover text), and in newer hosts the name in between.
        between = [_MARKER] * (len(stock_lookup(_MARKER)) - 2)

        def lookup(name: str):
            if name.startswith(_MARKER):
                return self.row, *between, name.removeprefix(_MARKER).strip()
            return stock_lookup(name)

        inner._try_get_embedding = lookup
        setattr(outer, outer.clip, inner)
        return outer


def plain_tokenizer(tokenizer):
    """The stock tokenizer below a :class:`StyleTokenizer`."""
    return tokenizer.plain if isinstance(tokenizer, StyleTokenizer) else tokenizer


def with_style(clip, members: Members):
    """A clone of ``clip`` in which S* means the style of these adapters at their strengths; all 0 is the plain initial word."""
    for adapter, _ in members:
        check_text_width(adapter, clip)
    simple = all(adapter.is_token for adapter, _ in members) and not windowed(members)
    if simple or is_plain(members):
        clone = clip.clone()
        row = None if is_plain(members) else mixed_row(members).detach().cpu()
        clone.tokenizer = StyleTokenizer(clip.tokenizer, row)
        return clone
    return StyledCLIP.of(clip, members)


class StyledCLIP(comfy.sd.CLIP):
    """A CLIP whose S* is more than one embedding: e_a goes past the text transformer, or changes during the sampling.

    Its tokens hold a marker where S* stands; what the marker means is decided when they are encoded.
    """

    members: Members
    marker: Tensor

    @classmethod
    def of(cls, clip, members: Members) -> StyledCLIP:
        """A clone of any Stable Diffusion 1.x CLIP with these adapters behind S*."""
        marker = members[0][0].row(1.0).detach().cpu().clone()
        return cls._around(clip.clone(), tuple(members), marker, StyleTokenizer(clip.tokenizer, marker))

    @classmethod
    def _around(cls, clip, members: Members, marker: Tensor, tokenizer) -> StyledCLIP:
        styled = cls(no_init=True)
        styled.__dict__.update(clip.__dict__)
        styled.members, styled.marker, styled.tokenizer = members, marker, tokenizer
        return styled

    def clone(self, **kwargs) -> StyledCLIP:
        return self._around(super().clone(**kwargs), self.members, self.marker, self.tokenizer)

    def encode_from_tokens_scheduled(self, tokens, unprojected=False, add_dict=None, show_pbar=True):
        """As the stock CLIP, once for each part of the sampling in which S* means something else."""
        add_dict = add_dict or {}
        if not self._holds_marker(tokens) or not windowed(self.members):
            return super().encode_from_tokens_scheduled(tokens, unprojected, add_dict, show_pbar)
        first, last = add_dict.get("start_percent", 0.0), add_dict.get("end_percent", 1.0)
        conditioning = []
        for start, end, members in abstract_intervals(self.members):
            start, end = max(start, first), min(end, last)
            if start < end:
                part = self._around(super().clone(), members, self.marker, self.tokenizer)
                during = {**add_dict, "start_percent": start, "end_percent": end}
                conditioning += part.encode_from_tokens_scheduled(tokens, unprojected, during, show_pbar)
        return conditioning

    def encode_from_tokens(self, tokens, return_pooled=False, return_dict=False):
        """As the stock CLIP, with e_a in place of the marker."""
        if not self._holds_marker(tokens):
            return super().encode_from_tokens(tokens, return_pooled, return_dict)
        if windowed(self.members):
            raise ACFunError(
                "abstract_start or abstract_end is set, but this text encoder encodes once for the whole sampling.",
                "CLIP Text Encode, ACFun Text Encode or ACFun Sampler",
                "use one of these, or set abstract_start to 0 and abstract_end to 1",
            )
        answers = []
        stock = super().encode_from_tokens

        class Prompt:
            """The core's TextSide: this prompt, the marker left open."""

            position = 0

            def encode(side, row: Tensor) -> Tensor:
                answers.append(stock(self._with_row(tokens, row), return_pooled, return_dict))
                return _condition(answers[-1]).to(row)

        context = mixed_context(self.members, Prompt())
        # The last answer is the styled prompt's in all modes; SD1's UNet does not look at its pooled part.
        answer = answers[-1]
        context = context.to(_condition(answer))
        if return_dict:
            return {**answer, "cond": context}
        return (context, *answer[1:]) if return_pooled else context

    def _holds_marker(self, tokens: dict) -> bool:
        return any(token[0] is self.marker for section in tokens["l"] for token in section)

    def _with_row(self, tokens: dict, row: Tensor) -> dict:
        """The tokens with another embedding where the marker stands."""
        sections = [
            [(row.cpu() if token[0] is self.marker else token[0], *token[1:]) for token in section]
            for section in tokens["l"]
        ]
        return {**tokens, "l": sections}


def _condition(answer) -> Tensor:
    """The hidden states in any form in which the stock CLIP gives them."""
    if isinstance(answer, dict):
        return answer["cond"]
    return answer[0] if isinstance(answer, tuple) else answer


class DescriptionSide:
    """The core's TextSide: one face description on one CLIP, S* left open."""

    def __init__(self, clip, description: str):
        check_sd1_clip(clip)
        self.clip = clip
        table = embedding_table(clip)
        words = self._tokenize(INITIAL_WORD, None)
        ids = [token for token, _ in words[0]][1:]
        ids = ids[: ids.index(_end_token(clip))]
        with torch.inference_mode(False):
            self.initial_row = table.detach()[ids].float().mean(dim=0).cpu().clone()
        self._marker = torch.zeros(table.shape[1])
        self._sections = self._tokenize(description, self._marker)
        flat = [token for section in self._sections for token, _ in section]
        self.position = next(index for index, token in enumerate(flat) if token is self._marker)

    def _tokenize(self, text: str, row: Tensor | None) -> list:
        tokens = StyleTokenizer(self.clip.tokenizer, row).tokenize_with_weights(text)
        return tokens["l"]

    def encode(self, row: Tensor) -> Tensor:
        """(width,) -> (1, T, width) on the row's device; honours clip skip and prompt weights, differentiable."""
        sections = [
            [(row if token is self._marker else token, weight) for token, weight in section]
            for section in self._sections
        ]
        return encode_tokens(self.clip, {"l": sections}).to(row.device)


def _end_token(clip) -> int:
    tokenizer = plain_tokenizer(clip.tokenizer)
    return getattr(tokenizer, tokenizer.clip).end_token


def encode_tokens(clip, tokens: dict) -> Tensor:
    """The hidden states that condition the UNet, (1, T, width). The text encoder must be loaded."""
    text_model = clip.cond_stage_model
    text_model.reset_clip_options()
    if clip.layer_idx is not None:
        text_model.set_clip_options({"layer": clip.layer_idx})
    return text_model.encode_token_weights(tokens)[0]

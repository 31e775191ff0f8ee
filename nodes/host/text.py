"""CLIP's text side: S* in a prompt through ComfyUI's own textual-inversion path."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ...acfun_core.adapter import StyleAdapter
from ...acfun_core.config import INITIAL_WORD, PLACEHOLDER
from ...acfun_core.errors import ACFunError

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


def with_style(clip, adapter: StyleAdapter, abstract: float):
    """A clone of ``clip`` in which S* means the adapter's style at this abstract strength; 0 is the plain initial word."""
    check_text_width(adapter, clip)
    clone = clip.clone()
    row = adapter.row(abstract).detach().cpu() if abstract != 0 else None
    clone.tokenizer = StyleTokenizer(clip.tokenizer, row)
    return clone


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
        sections = self._tokenize(description, torch.zeros(table.shape[1]))
        flat = [token for section in sections for token, _ in section]
        self._sections = sections
        self.position = next(index for index, token in enumerate(flat) if torch.is_tensor(token))

    def _tokenize(self, text: str, row: Tensor | None) -> list:
        tokens = StyleTokenizer(self.clip.tokenizer, row).tokenize_with_weights(text)
        return tokens["l"]

    def encode(self, row: Tensor) -> Tensor:
        """(width,) -> (1, T, width) on the row's device; honours clip skip and prompt weights, differentiable."""
        sections = [
            [(row if torch.is_tensor(token) else token, weight) for token, weight in section]
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

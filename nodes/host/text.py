"""CLIP's text side: S* in a prompt through ComfyUI's own textual-inversion path."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from functools import partial

import comfy.sd
import torch
from torch import Tensor

from ...acfun_core.config import INITIAL_WORD, PLACEHOLDER
from ...acfun_core.errors import ACFunError
from ...acfun_core.method.fit import check_text_fits
from ...acfun_core.method.pseudo_word import (
    Members,
    abstract_intervals,
    is_plain,
    style_context,
    style_embedding,
    style_pooled,
    styles_of,
    windowed,
)
from ...acfun_core.training.constants import Constants
from .at_home import text_at_home
from .families import SDXL, check_clip, embedding_tables, text_width

_MARKER = "acfun_style_row"


class StyleTokenizer:
    """A tokenizer that also knows S*: the stock one, with one more embedding.

    Args:
        tokenizer: ComfyUI's tokenizer of Stable Diffusion 1.x, 2.x or SDXL.
        row: (width,) what stands for S*, or None for the plain initial word.

    Attributes:
        rows: each text encoder's part of the row; in tokens, they are known by being these very tensors.
    """

    def __init__(self, tokenizer, row: Tensor | None):
        self.plain = plain_tokenizer(tokenizer)
        self.rows = {} if row is None else split_row(row, self.plain)

    def __getattr__(self, name):
        if name == "plain":
            raise AttributeError(name)
        return getattr(self.plain, name)

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **kwargs):
        if PLACEHOLDER not in text:
            return self.plain.tokenize_with_weights(text, return_word_ids, **kwargs)
        if not self.rows:
            return self.plain.tokenize_with_weights(text.replace(PLACEHOLDER, INITIAL_WORD), return_word_ids, **kwargs)
        marked = text.replace(PLACEHOLDER, f" embedding:{_MARKER}")
        return self._with_style_embedding().tokenize_with_weights(marked, return_word_ids, **kwargs)

    def _with_style_embedding(self):
        outer = copy.copy(self.plain)
        for name, row in self.rows.items():
            setattr(outer, name, _knowing(getattr(outer, name), row))
        return outer


def _knowing(tokenizer, row: Tensor):
    """A copy of one encoder's tokenizer that finds ``row`` where the marker stands."""
    knowing = copy.copy(tokenizer)
    if knowing.embedding_directory is None:
        knowing.embedding_directory = []
    stock_lookup = knowing._try_get_embedding
    # (embedding, leftover text), and in newer hosts the name in between.
    between = [_MARKER] * (len(stock_lookup(_MARKER)) - 2)

    def lookup(name: str):
        if name.startswith(_MARKER):
            return row, *between, name.removeprefix(_MARKER).strip()
        return stock_lookup(name)

    knowing._try_get_embedding = lookup
    return knowing


def encoder_tokenizers(tokenizer) -> dict[str, object]:
    """The tokenizer of each text encoder by its name (clip_l, clip_g)."""
    plain = plain_tokenizer(tokenizer)
    names = [plain.clip] if hasattr(plain, "clip") else [name for name in SDXL.encoders if hasattr(plain, name)]
    return {name: getattr(plain, name) for name in names}


def split_row(row: Tensor, tokenizer) -> dict[str, Tensor]:
    """S* (width,) -> each text encoder's part of it."""
    tokenizers = encoder_tokenizers(tokenizer)
    return dict(zip(tokenizers, row.split([part.embedding_size for part in tokenizers.values()])))


def replace_rows(tokens: dict, old: dict[str, Tensor], new: dict[str, Tensor]) -> dict:
    """Tokens of all encoders with other tensors where the old rows stand."""

    def replaced(key: str, sections: list) -> list:
        name = f"clip_{key}"
        return [
            [(new[name] if token[0] is old[name] else token[0], *token[1:]) for token in section]
            for section in sections
        ]

    return {key: replaced(key, sections) if f"clip_{key}" in old else sections for key, sections in tokens.items()}


def style_positions(tokens: dict, rows: dict[str, Tensor]) -> dict[str, list[int]]:
    """For each encoder's tokens, all sections one after the other, the places where one of these very tensors stands."""
    markers = list(rows.values())
    return {
        key: [
            place
            for place, token in enumerate(itertools.chain.from_iterable(sections))
            if any(token[0] is marker for marker in markers)
        ]
        for key, sections in tokens.items()
    }


def plain_tokenizer(tokenizer):
    """The stock tokenizer below a :class:`StyleTokenizer`."""
    return tokenizer.plain if isinstance(tokenizer, StyleTokenizer) else tokenizer


def with_style(clip, members: Members):
    """A clone of ``clip`` in which S* means the style of these adapters at their strengths; all 0 is the plain initial word."""
    for adapter, _ in members:
        check_text_fits(adapter, text_width(clip), "this CLIP")
    if isinstance(clip.tokenizer, StyleTokenizer) and not styles_of(members):
        # Sliders leave what S* means as they find it.
        return clip.clone()
    simple = all(adapter.is_token for adapter, _ in members) and not windowed(members)
    if simple or is_plain(members):
        clone = _stock_clone(clip)
        row = None if is_plain(members) else style_embedding(members).detach().cpu()
        clone.tokenizer = StyleTokenizer(clip.tokenizer, row)
        return clone
    return StyledCLIP.of(clip, members)


def without_style(clip):
    """A clone of ``clip`` in which S* is the plain initial word, whatever it has meant there."""
    clone = _stock_clone(clip)
    clone.tokenizer = StyleTokenizer(clip.tokenizer, None)
    return clone


def _stock_clone(clip):
    """Not a :class:`StyledCLIP`'s own clone: that would go on meaning its adapters by S*."""
    return comfy.sd.CLIP.clone(clip) if isinstance(clip, StyledCLIP) else clip.clone()


class StyledCLIP(comfy.sd.CLIP):
    """A CLIP whose S* is more than one embedding: e_a goes past the text transformer, or changes during the sampling.

    Its tokens hold a marker where S* stands; what the marker means is decided when they are encoded.
    """

    members: Members
    tokenizer: StyleTokenizer

    @classmethod
    def of(cls, clip, members: Members) -> StyledCLIP:
        """A clone of a CLIP with these adapters behind S*."""
        marker = members[0][0].row(1.0).detach().cpu().clone()
        return cls._around(clip.clone(), tuple(members), StyleTokenizer(clip.tokenizer, marker))

    @classmethod
    def _around(cls, clip, members: Members, tokenizer: StyleTokenizer) -> StyledCLIP:
        styled = cls(no_init=True)
        styled.__dict__.update(clip.__dict__)
        styled.members, styled.tokenizer = members, tokenizer
        return styled

    def clone(self, **kwargs) -> StyledCLIP:
        return self._around(super().clone(**kwargs), self.members, self.tokenizer)

    def encode_from_tokens_scheduled(self, tokens, unprojected=False, add_dict=None, show_pbar=True):
        """As the stock CLIP, once for each part of the sampling in which S* means something else."""
        add_dict = add_dict or {}
        if self._holds_marker(tokens) and self.use_clip_schedule and self.patcher.forced_hooks is not None:
            raise ACFunError(
                "Scheduled CLIP hooks are set, which would pass this adapter's S* by.",
                "a CLIP without scheduled hooks, or an adapter of abstract_mode token without abstract_start and abstract_end",
                "turn off schedule_clip in Set CLIP Hooks, or encode before the hooks",
            )
        if not self._holds_marker(tokens) or not windowed(self.members):
            return super().encode_from_tokens_scheduled(tokens, unprojected, add_dict, show_pbar)
        first, last = add_dict.get("start_percent", 0.0), add_dict.get("end_percent", 1.0)
        conditioning = []
        for start, end, members in abstract_intervals(self.members):
            start, end = max(start, first), min(end, last)
            if start < end:
                part = self._around(super().clone(), members, self.tokenizer)
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
        encode = partial(super().encode_from_tokens, return_pooled=return_pooled, return_dict=True)
        prompt = _OpenPrompt(encode, tokens, self.tokenizer)
        context = style_context(self.members, prompt)
        answer = dict(prompt.answer)
        answer["cond"] = context.to(answer["cond"])
        if answer["pooled_output"] is not None:
            answer["pooled_output"] = style_pooled(self.members, prompt.pooled).to(answer["pooled_output"])
        if return_dict:
            return answer
        return (answer["cond"], answer["pooled_output"]) if return_pooled else answer["cond"]

    def _holds_marker(self, tokens: dict) -> bool:
        return any(style_positions(tokens, self.tokenizer.rows).values())


class _OpenPrompt:
    """The core's StyledText: a prompt whose marker is still to be replaced. Each meaning of S* is encoded once.

    Args:
        encode: the stock CLIP's, from tokens to a dictionary.

    Attributes:
        answer: the last of the dictionaries.
    """

    def __init__(self, encode: Callable[[dict], dict], tokens: dict, tokenizer: StyleTokenizer):
        self._encode, self._tokens, self._tokenizer = encode, tokens, tokenizer
        self._answers: list[tuple[Tensor, dict]] = []

    @property
    def answer(self) -> dict:
        return self._answers[-1][1]

    def encode(self, row: Tensor) -> Tensor:
        return self._answer(row)["cond"].to(row)

    def pooled(self, row: Tensor) -> Tensor:
        """What stands for S* (width,) -> (1, P)."""
        return self._answer(row)["pooled_output"].to(row)

    def _answer(self, row: Tensor) -> dict:
        for known, answer in self._answers:
            if torch.equal(known, row):
                return answer
        tokens = replace_rows(self._tokens, self._tokenizer.rows, split_row(row.cpu(), self._tokenizer))
        self._answers.append((row, self._encode(tokens)))
        return self.answer


class DescriptionSide:
    """The core's TextSide: one face description on one CLIP, S* left open.

    Attributes:
        pooled: (1, P) pooled embedding of the last text that was encoded, differentiable; None where the family has none.
    """

    def __init__(self, clip, description: str):
        self.clip, self.family = clip, check_clip(clip)
        self.pooled: Tensor | None = None
        tables = embedding_tables(clip)
        with torch.inference_mode(False):
            self.initial_row = torch.cat(
                [_mean_embedding(clip, name, table) for name, table in zip(self.family.encoders, tables)]
            )
        self._styled = StyleTokenizer(clip.tokenizer, torch.zeros(len(self.initial_row)))
        self._tokens = self._styled.tokenize_with_weights(description)
        key = self.family.encoders[0].removeprefix("clip_")
        self.position = style_positions(self._tokens, self._styled.rows)[key][0]
        self._constants = Constants()

    def encode(self, row: Tensor) -> Tensor:
        """(width,) -> (1, T, width) on the row's device; honours clip skip and prompt weights, differentiable."""
        tokens = replace_rows(self._tokens, self._styled.rows, split_row(row, self._styled))
        with text_at_home(row.device), self._constants:
            hidden, pooled = encode_tokens(self.clip, tokens)
        self.pooled = pooled.to(row.device) if self.family.pooled else None
        return hidden.to(row.device)


def _mean_embedding(clip, name: str, table: Tensor) -> Tensor:
    """(width,) embedding of the initial word in one text encoder; the mean, if it is more than one token there."""
    tokenizer = encoder_tokenizers(clip.tokenizer)[name]
    ids = [token[0] for token in tokenizer.tokenize_with_weights(INITIAL_WORD)[0]][1:]
    ids = ids[: ids.index(tokenizer.end_token)]
    return table.detach()[ids].float().mean(dim=0).cpu().clone()


def encode_tokens(clip, tokens: dict) -> tuple[Tensor, Tensor | None]:
    """Hidden states (1, T, width) and pooled embedding that condition the UNet. The text encoders must be loaded."""
    text_model = clip.cond_stage_model
    text_model.reset_clip_options()
    # Without it, encoders whose embedding table lies elsewhere compute there; hosts before it do not read it.
    text_model.set_clip_options({"execution_device": clip.patcher.load_device})
    if clip.layer_idx is not None:
        text_model.set_clip_options({"layer": clip.layer_idx})
    return text_model.encode_token_weights(tokens)[:2]

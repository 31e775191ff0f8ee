"""What a graph's MODEL predicts under a text, for learning a slider."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...acfun_core.host import Base
from ...acfun_core.training.slider import UnderText
from .families import check_clip
from .text import encode_tokens, plain_tokenizer
from .unet import NoisePredictor


@dataclass(frozen=True)
class _Said:
    """The part of a text side that :class:`NoisePredictor` reads."""

    pooled: Tensor | None


@torch.no_grad()
def under(text: str, model, clip, base: Base) -> UnderText:
    """Inside :func:`~.frozen_base.trainable`, whose base it is: what the MODEL predicts under a text, noise or v."""
    context, pooled = encode_tokens(clip, plain_tokenizer(clip.tokenizer).tokenize_with_weights(text))
    context = context.to(base.device)
    said = _Said(pooled.to(base.device) if check_clip(clip).pooled else None)
    predictor = NoisePredictor(model, base.schedule, said)
    own = predictor.own_velocity or predictor

    def predict(z_t: Tensor, t: Tensor) -> Tensor:
        return own(z_t, t, context.expand(len(z_t), -1, -1))

    return predict

"""Learning a slider on diffusers' classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..config import PLACEHOLDER
from ..host import Base
from ..images import check_side, square
from ..method.adapter import Slider, StyleAdapter
from ..training.keeper import StateKeeper
from ..training.key import described, slider_key, weights_identity
from ..training.material import Pictures, each_of
from ..training.memory import fitting
from ..training.slider import Between, SliderConfig, UnderText, check_slider_mask, train_slider, where_wanted
from .passes import UNetPass
from .text import Condition


class Sliding:
    """The part of :class:`~acfun_core.backends.stable_diffusion.StableDiffusion` that learns sliders."""

    prediction: str
    predict: UNetPass
    core_base: Callable[[str], Base]
    told: Callable[[str], Condition]

    def train_slider(
        self,
        photos: Pictures,
        slider: Slider,
        config: SliderConfig,
        resolution: int | None = None,
        on_step: Callable[[int, float], bool | None] = lambda step, loss: None,
        where: Tensor | None = None,
        checkpointing: str = "auto",
        say: Callable[[str], Any] = lambda sentence: None,
        keeper: StateKeeper | None = None,
    ) -> StyleAdapter:
        """Learn a slider on photos, each (1, H, W, 3), values 0-1, or a batch of them; their middle squares are taken.

        Args:
            slider: from :func:`~acfun_core.training.slider.check_slider`.
            resolution: side in pixels; the default is the base's own.
            where: a mask of the photos' one size, or one a photo: 1 where the change is wanted.
            checkpointing, say, keeper: as in training a style; the state's name is what :meth:`slider_key` gives.

        Raises:
            ACFunError: the resolution or the mask cannot be used, or as :func:`~acfun_core.training.slider.train_slider`.
        """
        side = self._side(resolution)
        check_side("resolution", side, 64)
        photos = each_of(photos)
        where = check_slider_mask(where, photos)
        where = where_wanted(where, side)
        base = self.core_base(PLACEHOLDER)
        latents = torch.cat([self.encode(square(photo, side)) for photo in photos])
        between = Between(slider, self._under(slider.more), self._under(slider.less))
        with fitting(base, latents[:1].expand(2, -1, -1, -1), config.training, checkpointing, say=say):
            return train_slider(base, latents, between, config, on_step, where, keeper)

    def slider_key(
        self, photos: Pictures, slider: Slider, config: SliderConfig, resolution: int | None, where: Tensor | None
    ) -> str:
        """Which training :meth:`train_slider` of the same arguments is, on this base."""
        weights = weights_identity(self.unet, self.vae, *self.text.models)
        # As in a style's key: another tokenizer, or the same weights under another scheduler_config.json, is another base.
        tokens = [self.text.words_to_ids(text) for text in slider]
        noise = f"{self.prediction} {described(self.schedule.alphas_cumprod)}"
        base = f"{weights} {tokens} {noise}"
        return slider_key(slider, config, self._side(resolution), each_of(photos), where, base)

    def _under(self, text: str) -> UnderText:
        told = self.told(text)

        def predict(z_t: Tensor, t: Tensor) -> Tensor:
            return self.predict(z_t, t, told.context.expand(len(z_t), -1, -1), told.pooled)

        return predict

"""One call of diffusers' UNet, with all that it is told of the prompt and of the picture's size; guidance over such calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..diffusion.sampling import Levels, Predict, guided
from .text import Condition


class UNetPass:
    """What a UNet itself predicts, the noise or v.

    Args:
        unet: diffusers' ``UNet2DConditionModel``. dtype: of its weights.
        sizes: of pictures, on the device, by height, width and device. Kept by whoever makes one of these after another: what
            is sent to a device again and again makes the host wait.
        prediction: which of them, one of :data:`~acfun_core.method.adapter.PREDICTIONS`.
    """

    def __init__(self, unet: Any, dtype: torch.dtype, prediction: str, sizes: dict[tuple, Tensor]):
        self.unet, self.prediction, self._dtype, self._sizes = unet, prediction, dtype, sizes

    def __call__(self, z_t: Tensor, t: Tensor, context: Tensor, pooled: Tensor | None = None) -> Tensor:
        """(B, 4, h, w), (B,), (B, T, width), (1 or B, P) -> (B, 4, h, w) float32."""
        told = {} if pooled is None else {"added_cond_kwargs": self._added(z_t, pooled)}
        return self.unet(z_t.to(self._dtype), t, encoder_hidden_states=context.to(self._dtype), **told).sample.float()

    def _added(self, z_t: Tensor, pooled: Tensor) -> dict[str, Tensor]:
        """SDXL: the pooled prompt, and that the picture is whole and of the size that is drawn, as ComfyUI says it."""
        height, width = (8 * side for side in z_t.shape[-2:])
        key = height, width, z_t.device
        if key not in self._sizes:
            numbers = [height, width, 0, 0, height, width]
            self._sizes[key] = torch.tensor(numbers, device=z_t.device, dtype=self._dtype)
        pooled = pooled.to(z_t.device, self._dtype)
        return {"text_embeds": pooled.expand(len(z_t), -1), "time_ids": self._sizes[key].expand(len(z_t), -1)}

    def guided(
        self, levels: Levels, conditions: Callable[[int], tuple[Condition, Condition]], cfg: float, pictures: int
    ) -> Predict:
        """As :func:`~acfun_core.diffusion.sampling.guided`, with and without the prompt.

        Args:
            conditions: index of a level -> what is told with the prompt and without; with cfg 1 the second is not looked at.
            pictures: how many are drawn at once.
        """

        def predict(x: Tensor, index: int) -> Tensor:
            told = conditions(index)
            pooled = _for_each(told if cfg != 1 else told[:1], pictures)

            def own(z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
                return self(z_t, t, context, pooled)

            contexts = tuple(one.context for one in told)
            return guided(own, levels, lambda index: contexts, cfg, self.prediction)(x, index)

        return predict


def _for_each(told: tuple[Condition, ...], pictures: int) -> Tensor | None:
    """The pooled embeddings of a pass (B, P): all pictures with the prompt, then all without."""
    if told[0].pooled is None:
        return None
    return torch.cat([one.pooled.expand(pictures, -1) for one in told])

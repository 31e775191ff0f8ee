"""A photo's own noise as the start of the sampling, in place of chance.

DDIM run backwards (Song et al. 2021, section 4.3) ends at the noise that DDIM would draw the photo from. A portrait that starts
there keeps the sitter without a training on the photo, so that an adapter that learned a style alone serves any face.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PredictAt = Callable[[Tensor, int], Tensor]
"""x = z_t / a_t (B, 4, h, w) and the index of a noise level -> eps (B, 4, h, w)."""


@torch.no_grad()
def inverted(predict: PredictAt, sigmas: Tensor, latent: Tensor) -> list[Tensor]:
    """DDIM backwards: ``x_i = x_(i+1) + (sigma_i - sigma_(i+1)) eps(x_(i+1), sigma_i)``.

    The noise is asked for at the level that is gone to, which the latent of the level before stands in for.

    Args:
        predict: the base's noise prediction, without guidance.
        sigmas: (N + 1,) falling noise levels, the last one 0.
        latent: (B, 4, h, w) clean latent.

    Returns:
        x at each of the N + 1 levels, from the noisiest to the clean latent.
    """
    x, found = latent, [latent]
    for index in reversed(range(len(sigmas) - 1)):
        x = x + (sigmas[index] - sigmas[index + 1]).to(x) * predict(x, index)
        found.insert(0, x)
    return found

"""A portrait drawn beside its photo and the style picture: two passes of the UNet a step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..config import TransferConfig
from ..diffusion.sampling import Levels, Predict
from ..transfer.correction import corrected
from ..transfer.features import Taps, recorded, takes
from ..transfer.references import References
from ..unet.injection import hooked


@dataclass(frozen=True)
class Transfer:
    """What is drawn beside, and how much is taken from it."""

    references: References
    config: TransferConfig = TransferConfig()

    def to(self, like: Tensor) -> Transfer:
        return Transfer(self.references.to(like), self.config)


def transferring(predict: Predict, plain: Predict, levels: Levels, taps: Taps, transfer: Transfer) -> Predict:
    """A sampler's noise prediction with the transfer in it.

    Args:
        predict: of the portraits, with adapters and guidance. plain: of the base under the empty prompt.
    """
    references, config = transfer.references, transfer.config

    def drawn(x: Tensor, index: int) -> Tensor:
        sigma, done = levels.sigmas[index].item(), levels.done[index]
        with recorded(taps) as rows:
            predicted = plain(references.at(sigma), index)
        with hooked(takes(taps, rows, config, done, references.around(config))):
            eps = predict(x, index)
        z_0 = corrected(x - sigma * eps, references, predicted, config, sigma, done)
        return (x - z_0) / sigma

    return drawn

"""Training-free injection of the style's keys and values (StyleID, Chung et al. 2024).

Photo and style are inverted. The start has the photo's noise with the statistics of the style's; at every step, the
self-attention of the decoder asks with the photo's queries and reads the style's keys and values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from acfun_core.diffusion.palette import with_statistics
from acfun_core.diffusion.sampling import invert, sample

from ..lists import Pair
from ..workbench import Workbench
from .base import Method, State

DRAWN, FACE, STYLE = range(3)
"""Order of the three latents that go through the UNet at once."""


class Injecting:
    """Self-attention over the batch (drawn, face, style) in diffusers' processor form.

    Args:
        keep: share of the photo's queries in the drawn picture's. sharpness: factor of the attention scores.
    """

    def __init__(self, keep: float, sharpness: float):
        self.keep, self.sharpness = keep, sharpness

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states=None, attention_mask=None, **_) -> Tensor:
        q, k, v = (
            projection(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for projection in (attn.to_q, attn.to_k, attn.to_v)
        )
        mixed = self.sharpness * torch.lerp(q[DRAWN : DRAWN + 1], q[FACE : FACE + 1], self.keep)
        q = torch.cat([mixed, q[FACE:]])
        k, v = (torch.cat([x[STYLE:], x[FACE:]]) for x in (k, v))
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](out.to(hidden_states)))


@contextlib.contextmanager
def injecting(unet, processor: Injecting) -> Iterator[None]:
    """While active, the decoder's self-attention is ``processor``."""
    before = unet.attn_processors
    chosen = {
        name: processor if name.startswith("up_blocks") and ".attn1." in name else old for name, old in before.items()
    }
    try:
        unet.set_attn_processor(chosen)
        yield
    finally:
        unet.set_attn_processor(before)


class KeyValueInjection(Method):
    name, title = "kv_injection", "key/value injection (StyleID kind)"

    def __init__(self, keep: float = 0.75, sharpness: float = 1.5):
        self.keep, self.sharpness = keep, sharpness

    @torch.no_grad()
    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        """The seed has no say: everything follows from the two pictures."""
        levels, context = bench.levels(), bench.text(pair.plain_text)
        plain = bench.predictor(levels, context, cfg=1.0)
        face, style = (invert(plain, levels.sigmas, bench.latent(image)) for image in (pair.face, pair.style))

        def predict(x: Tensor, index: int) -> Tensor:
            return plain(torch.cat([x, face[index], style[index]]), index)[:1]

        with injecting(bench.base.unet, Injecting(self.keep, self.sharpness)):
            return bench.decode(sample(predict, levels.sigmas, with_statistics(face[0], style[0])))

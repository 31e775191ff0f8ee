"""CFun inside a UNet for the length of a ``with`` block, and nothing left behind.

Forward hooks on the residual branches see exactly h of eq. 3. They are taken off in ``finally``, so that clones that share
the same UNet never see them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor

from .blocks import ResBlockSite

Transform = Callable[[Tensor], Tensor]


@contextmanager
def injected(sites: Mapping[str, ResBlockSite], transforms: Mapping[str, Transform]) -> Iterator[None]:
    """While active, the residual branch of block ``name`` yields ``transforms[name](h)`` instead of h (B, C, H, W)."""
    handles = []
    try:
        for name, transform in transforms.items():
            handles.append(sites[name].module.register_forward_hook(_replacing_output(transform)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _replacing_output(transform: Transform) -> Callable:
    def hook(module, inputs, output):
        return transform(output)

    return hook

"""CFun inside a UNet for the length of a ``with`` block, and nothing left behind.

Forward hooks on the residual branches (or another place of CFun) see exactly h of eq. 3. They are taken off in ``finally``, so
that clones that share the same UNet never see them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor

from .blocks import ResBlockSite, module_at

Transform = Callable[[Tensor], Tensor]


@contextmanager
def injected(sites: Mapping[str, ResBlockSite], transforms: Mapping[str, Transform]) -> Iterator[None]:
    """While active, the module at each address yields ``transforms[address](h)`` instead of h (B, C, H, W).

    An address is a block's name for its residual branch, or ``name@place`` (see :func:`~acfun_core.unet.blocks.address`).
    """
    handles = []
    try:
        for key, transform in transforms.items():
            handles.append(module_at(sites, key).register_forward_hook(_replacing_output(transform)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _replacing_output(transform: Transform) -> Callable:
    def hook(module, inputs, output):
        # The attention of diffusers answers with a tuple of one.
        return (transform(output[0]), *output[1:]) if isinstance(output, tuple) else transform(output)

    return hook

"""CFun inside a UNet for the length of a ``with`` block, and nothing left behind.

Forward hooks on the residual branches (or another place of CFun) see exactly h of eq. 3. They are taken off in ``finally``, so
that clones that share the same UNet never see them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from .blocks import ResBlockSite, module_at

Transform = Callable[[Tensor], Tensor]


@contextmanager
def injected(sites: Mapping[str, ResBlockSite], transforms: Mapping[str, Transform]) -> Iterator[None]:
    """While active, the module at each address yields ``transforms[address](h)`` instead of h (B, C, H, W).

    An address is a block's name for its residual branch, or ``name@place`` (see :func:`~acfun_core.unet.blocks.address`).
    """
    # CFun is part of the branch: whatever else is hooked there sees what CFun made of it, also if it was hooked earlier.
    with hooked(((module_at(sites, key), transform) for key, transform in transforms.items()), first=True):
        yield


@contextmanager
def hooked(transforms: Iterable[tuple[nn.Module, Transform]], first: bool = False) -> Iterator[None]:
    """While active, each module yields ``transform(output)``.

    Args:
        first: before the hooks that a module has already, not after them.
    """
    handles = []
    try:
        for module, transform in transforms:
            handles.append(module.register_forward_hook(_replacing_output(transform), prepend=first))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _replacing_output(transform: Transform) -> Callable:
    def hook(module, inputs, output):
        # The attention of diffusers answers with a tuple of one.
        return (transform(output[0]), *output[1:]) if isinstance(output, tuple) else transform(output)

    return hook

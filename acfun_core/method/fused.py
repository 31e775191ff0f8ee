"""CFun's changes to one tensor of features in few kernels: one for the statistics, one for ``gain h + shift``, few backward.

Written out, eq. 3 reads and writes all features six times, and its gradient twice as often; on a card each time is a kernel
that waits for memory. Several adapters on one block have the same statistics and add up, so they cost one pass together. The
sums are taken in another order than in :meth:`~acfun_core.method.cfun.CFun.delta`, which the CPU goes on using bit for bit.

Plain torch, not a compiler: those start compilers of C at run time, and as part of a graph of kernels the launches that they
would save are saved already.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import Parameter

from .cfun import EPSILON

DEVICES = {"cuda"}
"""Kinds of device on which this is done."""

Steer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Mean and standard deviation of each channel (B, C), float32 -> gain and shift, (B, C) each."""


def steered(h: Tensor, steer: Steer, parameters: list[Parameter]) -> Tensor:
    """``gain h + shift`` with both from the statistics of h (B, C, H, W), differentiable in h and the parameters.

    Args:
        parameters: all that ``steer`` computes with.
    """
    return _Steered.apply(h, steer, *parameters)


class _Steered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h: Tensor, steer: Steer, *parameters: Parameter) -> Tensor:
        variance, mean = torch.var_mean(h.float(), dim=(2, 3), correction=0)
        sigma = (variance + EPSILON**2).sqrt()
        learns = any(ctx.needs_input_grad)
        # What this small graph keeps is kept as it is: under gradient checkpointing, asking for it in a gradient of its own
        # would compute the whole block once more.
        as_it_is = torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, lambda kept: kept)
        with torch.set_grad_enabled(learns), as_it_is:
            mean, sigma = (one.detach().requires_grad_(learns) for one in (mean, sigma))
            gain, shift = steer(mean, sigma)
        if learns:
            ctx.save_for_backward(h)
            # Small, and with a history of their own: the maps' gradients go through it.
            ctx.maps, ctx.parameters = (mean, sigma, gain, shift), parameters
        return torch.addcmul(_spread(shift, h), h, _spread(gain, h))

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (h,), (mean, sigma, gain, shift) = ctx.saved_tensors, ctx.maps
        wanted = [one for one in (mean, sigma, *ctx.parameters) if one.requires_grad]
        of_gain = (gradient * h).sum(dim=(2, 3), dtype=torch.float32)
        of_shift = gradient.sum(dim=(2, 3), dtype=torch.float32)
        found = torch.autograd.grad((gain, shift), wanted, (of_gain, of_shift), allow_unused=True)
        of_mean, of_sigma, *of_parameters = found
        of_h = None
        if ctx.needs_input_grad[0]:
            values = h.shape[2] * h.shape[3]
            # d sigma / dh = (h - mean) / (values sigma)
            slope = torch.zeros_like(sigma) if of_sigma is None else of_sigma / (values * sigma)
            offset = -slope * mean if of_mean is None else of_mean / values - slope * mean
            of_h = torch.addcmul(_wide(offset), h, _wide(slope))
            of_h = torch.addcmul(of_h, gradient, _wide(gain.detach())).to(h.dtype)
        given = iter(of_parameters)
        return of_h, None, *(next(given) if one.requires_grad else None for one in ctx.parameters)


def _wide(small: Tensor) -> Tensor:
    return small[:, :, None, None]


def _spread(small: Tensor, h: Tensor) -> Tensor:
    return _wide(small.detach().to(h.dtype))

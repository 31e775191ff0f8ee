"""The MODEL of a graph as the core's base, and adapters inside it while it samples."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable

import comfy.patcher_extension
import torch
from torch import Tensor

from ...acfun_core.diffusion.sampling import PredictVelocity
from ...acfun_core.diffusion.schedule import NoiseSchedule
from ...acfun_core.method.adapter import StyleAdapter
from ...acfun_core.method.applied import block_transforms
from ...acfun_core.method.fit import check_fits, notice_of_prediction
from ...acfun_core.method.pseudo_word import Members
from ...acfun_core.strengths import Strengths
from ...acfun_core.unet.blocks import find_sites
from ...acfun_core.unet.injection import hooked, injected
from .families import check_model, prediction_of
from .moment import as_in_sampling, moment_of, note_sampling
from .text import DescriptionSide
from .transfer import Transferring, add_transfer, remove_transfer

WRAPPER_KEY = "acfun"
# comfy_api's name of the wrapper that TorchCompileModel sets; not imported, for a version without it must still load the pack.
COMPILE_KEY = "torch.compile"


BeforePass = Callable[[], None]
"""Called before each pass of a training; what it raises ends that. ComfyUI's own Cancel is heard without it, in each layer."""


def base_key_of(model) -> str:
    """Key of a MODEL's weights; the demo base has one."""
    # Not getattr: the host's configs answer None for every name, and print a warning.
    return vars(model.model.model_config).get("base_key", "")


class NoisePredictor:
    """``PredictNoise`` of the core over ``model.apply_model``, which honours LoRA, casts and attention patches.

    Whatever the MODEL predicts, ComfyUI gives the clean latent that it means; noise and velocity are taken from that.

    Args:
        text: the text side of the training; on SDXL, its last pooled embedding goes with every context.
        before_pass: see :data:`BeforePass`.
    """

    def __init__(self, model, schedule: NoiseSchedule, text: DescriptionSide, before_pass: BeforePass = lambda: None):
        self.model, self.schedule, self.text = model, schedule, text
        self.before_pass = before_pass
        self.transformer_options = model.model_options.get("transformer_options", {})
        self._size_of: dict[tuple, Tensor] = {}

    def __call__(self, z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
        sigma, x = self.schedule.sigma(t), self._x(z_t, t)
        return (x - self._denoised(x, sigma, context)) / sigma[:, None, None, None]

    def velocity(self, z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """``PredictVelocity`` of the core. Not by way of the noise, which at zero SNR says nothing of the picture."""
        denoised = self._denoised(self._x(z_t, t), self.schedule.sigma(t), context)
        return self.schedule.velocity_between(z_t, denoised, t)

    @property
    def own_velocity(self) -> PredictVelocity | None:
        """:meth:`velocity` where the MODEL predicts v, else None."""
        return self.velocity if prediction_of(self.model) == "v" else None

    def _x(self, z_t: Tensor, t: Tensor) -> Tensor:
        """The latent as ComfyUI's models take it, ``z_t / a_t = z_0 + sigma eps``."""
        return z_t / self.schedule.a(t)

    def _denoised(self, x: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        """The clean latent (B, 4, h, w) that the MODEL sees in x at noise levels (B,)."""
        # Not in the middle of a CUDA graph, whose recording has to come to its end.
        if not (x.is_cuda and torch.cuda.is_current_stream_capturing()):
            self.before_pass()
        # What sampling says of a call, for patches of other nodes that ask: all pictures are in one pass, that of the prompt.
        options = {**self.transformer_options, **as_in_sampling(self.model.get_model_object("model_sampling"), sigma)}
        further = self._pooled_condition(x)
        return self.model.model.apply_model(x, sigma, c_crossattn=context, transformer_options=options, **further)

    def _pooled_condition(self, x: Tensor) -> dict[str, Tensor]:
        """SDXL's vector of pooled text and picture size, as sampling gives it."""
        if self.text.pooled is None:
            return {}
        pooled = self.text.pooled.to(x.device)
        # ComfyUI makes the part of the size anew each time, on the CPU, and brings the pooled text there for it.
        if x.shape not in self._size_of:
            height, width = (8 * side for side in x.shape[-2:])
            empty = torch.zeros_like(pooled, requires_grad=False)
            y = self.model.model.encode_adm(pooled_output=empty, width=width, height=height, device=x.device)
            self._size_of[x.shape] = y.to(x.device)[:, pooled.shape[1] :]
        return {"y": torch.cat([pooled, self._size_of[x.shape]], dim=1).expand(len(x), -1)}


def schedule_of(model) -> NoiseSchedule:
    return NoiseSchedule.from_sigmas(model.get_model_object("model_sampling").sigmas)


class AdapterWrapper:
    """DIFFUSION_MODEL wrapper: CFun's hooks and those of a transfer, for exactly one UNet call.

    Clones of a MODEL share it, and applying another adapter makes a new one.

    A UNet under torch.compile runs uncompiled while hooks are in it: compiled code does not look whether a module's hooks have
    come or gone since it was made, and would draw with half of another picture's adapter.
    """

    def __init__(self, adapters: tuple[tuple[StyleAdapter, Strengths], ...], transferring: Transferring | None = None):
        self.adapters, self.transferring = adapters, transferring
        self._needs_moment = any(strengths.needs_moment for _, strengths in adapters)
        self._hooks_blocks = transferring is not None or bool(block_transforms(adapters))
        self._on_device: dict[torch.device, tuple] = {}
        self._said_uncompiled = False

    def __call__(
        self,
        executor,
        x: Tensor,
        timesteps=None,
        context=None,
        y=None,
        control=None,
        transformer_options=None,
        **kwargs,
    ):
        options = {} if transformer_options is None else transformer_options
        arguments = (x, timesteps, context, y, control, options)
        if self._hooks_blocks and is_compiled(options):
            return torch.compiler.disable(self._draw_uncompiled)(executor, arguments, kwargs)
        return self._draw(executor, arguments, kwargs)

    def _draw_uncompiled(self, executor, arguments: tuple, kwargs: dict):
        if not self._said_uncompiled:
            self._said_uncompiled = True
            logging.warning(
                "ACFun: with an adapter or a style transfer the MODEL runs without its torch.compile; "
                "without them it is compiled."
            )
        return self._draw(executor, arguments, kwargs)

    def _draw(self, executor, arguments: tuple, kwargs: dict):
        x, *_, options = arguments
        moment = moment_of(options, len(x)) if self._needs_moment else None
        # The references pass first, and without CFun: they are what the base makes of them.
        taken = [] if self.transferring is None else self.transferring.takes(executor, x, options)
        transforms = block_transforms(self._adapters_on(x.device), moment)
        if not transforms and not taken:
            return executor(*arguments, **kwargs)
        with injected(find_sites(executor.class_obj), transforms), hooked(taken):
            return executor(*arguments, **kwargs)

    def _adapters_on(self, device: torch.device) -> tuple:
        if device not in self._on_device:
            self._on_device[device] = tuple(
                (_on(adapter, device), _masks_on(strengths, device)) for adapter, strengths in self.adapters
            )
        return self._on_device[device]


def is_compiled(transformer_options: dict) -> bool:
    """Whether ComfyUI has put torch.compile's module in the place of the UNet for this call."""
    wrappers = transformer_options.get("wrappers", {})
    return COMPILE_KEY in wrappers.get(comfy.patcher_extension.WrappersMP.APPLY_MODEL, {})


def _masks_on(strengths: Strengths, device: torch.device) -> Strengths:
    return strengths if strengths.mask is None else dataclasses.replace(strengths, mask=strengths.mask.to(device))


def _on(adapter: StyleAdapter, device: torch.device) -> StyleAdapter:
    return adapter if adapter.e_a.device == device else copy.deepcopy(adapter).to(device)


def applied(model) -> tuple[Members, Transferring | None]:
    """The adapters a MODEL carries, in the order they were applied, and its transfer."""
    kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
    wrappers = model.get_wrappers(kind, WRAPPER_KEY)
    return (wrappers[-1].adapters, wrappers[-1].transferring) if wrappers else ((), None)


def applied_adapters(model) -> Members:
    return applied(model)[0]


def acting_in_sampling_alone(model) -> str:
    """What wraps a MODEL's UNet, which the host sees to while it samples; "" if nothing does that changes what it computes."""
    kinds = comfy.patcher_extension.WrappersMP.APPLY_MODEL, comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
    keys = {str(key) for kind in kinds for key, found in model.wrappers.get(kind, {}).items() if found}
    others = sorted(keys - {WRAPPER_KEY, COMPILE_KEY})
    count = len(applied_adapters(model))
    found = [f"its {count} ACFun adapters" if count > 1 else "its ACFun adapter"] if count else []
    found += [f"wrappers of other nodes ({', '.join(others)})"] if others else []
    return " and ".join(found)


def apply_adapters(model, members: Members):
    """A clone of ``model`` that carries these adapters on top of those it has; ``model`` itself is not touched."""
    family, sites = check_model(model).name, find_sites(model.model.diffusion_model)
    for adapter, _ in members:
        check_fits(adapter, family, sites, "this MODEL", key=base_key_of(model))
        notice = notice_of_prediction(adapter, prediction_of(model), "this MODEL")
        if notice:
            logging.warning("ACFun: %s", notice)
    adapters, transferring = applied(model)
    return _carrying(model, (*adapters, *members), transferring)


def with_strengths(model, members: Members):
    """A clone of ``model`` that carries these adapters in place of those it has; what fitted before is not checked again."""
    return _carrying(model, members, applied(model)[1])


def apply_transfer(model, transferring: Transferring):
    """A clone of ``model`` that draws beside these pictures, and no longer beside others; ``model`` is not touched."""
    return _carrying(model, applied_adapters(model), transferring)


def _carrying(model, adapters: Members, transferring: Transferring | None):
    clone = without_adapters(model)
    kinds = comfy.patcher_extension.WrappersMP
    clone.add_wrapper_with_key(kinds.PREDICT_NOISE, WRAPPER_KEY, note_sampling)
    clone.add_wrapper_with_key(kinds.DIFFUSION_MODEL, WRAPPER_KEY, AdapterWrapper(adapters, transferring))
    if transferring is not None:
        add_transfer(clone, transferring)
    return clone


def without_adapters(model):
    """A clone of the MODEL as it was before adapters, or a transfer, were applied to it."""
    clone = model.clone()
    for kind in (comfy.patcher_extension.WrappersMP.PREDICT_NOISE, comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL):
        clone.remove_wrappers_with_key(kind, WRAPPER_KEY)
    remove_transfer(clone)
    return clone

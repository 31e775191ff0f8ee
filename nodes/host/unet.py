"""The MODEL of a graph as the core's base, and adapters inside it while it samples."""

from __future__ import annotations

import copy
import dataclasses

import comfy.model_base
import comfy.patcher_extension
import comfy.supported_models
import torch
from torch import Tensor

from ...acfun_core.adapter import StyleAdapter, block_transforms
from ...acfun_core.blocks import find_sites, misfits
from ...acfun_core.config import Strengths
from ...acfun_core.errors import ACFunError
from ...acfun_core.injection import injected
from ...acfun_core.mixing import Members
from ...acfun_core.schedule import NoiseSchedule
from ...acfun_core.windows import Moment

WRAPPER_KEY = "acfun"


def check_sd1(model) -> None:
    """Raise unless ``model`` (ModelPatcher) is a Stable Diffusion 1.x text-to-image model with epsilon prediction."""
    inner = model.model
    config = getattr(inner, "model_config", None)
    fix = "connect the MODEL of a Stable Diffusion 1.x checkpoint or of Load ACFun Demo Base"
    if not isinstance(config, comfy.supported_models.SD15):
        raise ACFunError(
            f"The MODEL is a {type(config).__name__}, not Stable Diffusion 1.x.", "a Stable Diffusion 1.x MODEL", fix
        )
    if config.unet_config.get("in_channels", 4) != 4:
        raise ACFunError(
            "The MODEL is an inpainting or image-editing variant.", "a text-to-image MODEL with 4 latent channels", fix
        )
    if inner.model_type != comfy.model_base.ModelType.EPS:
        raise ACFunError(
            f"The MODEL predicts {inner.model_type.name}, not noise.",
            "epsilon prediction, as Stable Diffusion 1.x",
            fix,
        )


def check_fits(adapter: StyleAdapter, model) -> None:
    """Raise unless the adapter's blocks exist in the model with the same channels."""
    check_sd1(model)
    sites = find_sites(model.model.diffusion_model)
    want = adapter.cfun.channels
    wrong = misfits(sites, want, adapter.config.place)
    if wrong:
        name = wrong[0]
        have = sites[name].channels if name in sites else "no"
        raise ACFunError(
            f"The adapter does not fit this MODEL: {len(wrong)} of {len(want)} blocks differ (block {name} has "
            f"{have} channels, the adapter {want[name]} at its {adapter.config.place}).",
            "the kind of base the adapter was trained on",
            "load that base or train the adapter on this one",
        )


class NoisePredictor:
    """``PredictNoise`` of the core over ``model.apply_model``, which honours LoRA, casts and attention patches."""

    def __init__(self, model, schedule: NoiseSchedule):
        self.model, self.schedule = model, schedule
        self.transformer_options = model.model_options.get("transformer_options", {})

    def __call__(self, z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
        sigma = self.schedule.sigma(t)
        # ComfyUI's models take x = z_t / a_t = z_0 + sigma eps and return the denoised z_0.
        x = z_t / self.schedule.a(t)
        options = copy.copy(self.transformer_options)
        denoised = self.model.model.apply_model(x, sigma, c_crossattn=context, transformer_options=options)
        return (x - denoised) / sigma[:, None, None, None]


def schedule_of(model) -> NoiseSchedule:
    return NoiseSchedule.from_sigmas(model.get_model_object("model_sampling").sigmas)


class AdapterWrapper:
    """DIFFUSION_MODEL wrapper: CFun hooks for exactly one UNet call.

    Immutable: clones of a MODEL share it, and applying another adapter makes a new one.

    Args:
        timesteps: number of timesteps of the model's schedule.
    """

    def __init__(self, adapters: tuple[tuple[StyleAdapter, Strengths], ...], timesteps: int):
        self.adapters = adapters
        self.timesteps = timesteps
        self._on_device: dict[torch.device, tuple] = {}

    def __call__(self, executor, x: Tensor, timesteps=None, context=None, y=None, control=None, options=None, **kwargs):
        passes = (options or {}).get("cond_or_uncond")
        moment = Moment.at(timesteps, self.timesteps, rows_with_prompt(passes, len(x)))
        transforms = block_transforms(self._adapters_on(x.device), moment)
        arguments = (x, timesteps, context, y, control, {} if options is None else options)
        if not transforms:
            return executor(*arguments, **kwargs)
        with injected(find_sites(executor.class_obj), transforms):
            return executor(*arguments, **kwargs)

    def _adapters_on(self, device: torch.device) -> tuple:
        if device not in self._on_device:
            self._on_device[device] = tuple(
                (_on(adapter, device), _masks_on(strengths, device)) for adapter, strengths in self.adapters
            )
        return self._on_device[device]


def rows_with_prompt(passes: list[int] | None, rows: int) -> Tensor | None:
    """Which rows of a batch belong to the pass with the prompt, (rows,) bool; ComfyUI says 0 for those passes.

    Returns:
        None if the host does not say, as outside of sampling.
    """
    if not passes or rows % len(passes):
        return None
    return torch.tensor([one == 0 for one in passes for _ in range(rows // len(passes))])


def _masks_on(strengths: Strengths, device: torch.device) -> Strengths:
    return strengths if strengths.mask is None else dataclasses.replace(strengths, mask=strengths.mask.to(device))


def _on(adapter: StyleAdapter, device: torch.device) -> StyleAdapter:
    return adapter if adapter.e_a.device == device else copy.deepcopy(adapter).to(device)


def applied_adapters(model) -> tuple[tuple[StyleAdapter, Strengths], ...]:
    """The adapters a MODEL carries, in the order they were applied."""
    kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
    wrappers = model.get_wrappers(kind, WRAPPER_KEY)
    return wrappers[-1].adapters if wrappers else ()


def apply_adapters(model, members: Members):
    """A clone of ``model`` that carries these adapters on top of those it has; ``model`` itself is not touched."""
    for adapter, _ in members:
        check_fits(adapter, model)
    kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
    adapters = (*applied_adapters(model), *members)
    clone = model.clone()
    clone.remove_wrappers_with_key(kind, WRAPPER_KEY)
    clone.add_wrapper_with_key(kind, WRAPPER_KEY, AdapterWrapper(adapters, len(schedule_of(model))))
    return clone

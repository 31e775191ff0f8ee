"""DDIM backwards through the host's own sampling, which loads the MODEL, shows progress and can be interrupted."""

from __future__ import annotations

import dataclasses
import itertools

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ...acfun_core.diffusion.palette import Palette
from ...acfun_core.diffusion.sampling import invert
from ...acfun_core.transfer.references import References
from .families import prediction_of

SCHEDULER = "normal"


def photo_noise(model, positive, latents: Tensor, steps: int) -> Tensor:
    """x = z_t / a_t (B, 4, h, w) at the largest noise level, from which DDIM would draw the latents.

    Args:
        latents: (B, 4, h, w) as the VAE gives them; the answer has the same scale.
    """
    return _found_backwards(model, positive, latents, steps, way=[])


def way_to_noise(model, positive, latents: Tensor, steps: int) -> References:
    """The way of photos and, last, a style picture to noise.

    Args:
        latents: (P + 1, 4, h, w) as the VAE gives them; those of the way are as the host's models take them.
    """
    way: list[Tensor] = []
    _found_backwards(model, positive, latents, steps, way)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), SCHEDULER, steps)
    return References(sigmas.cpu(), torch.stack(way).cpu())


def _found_backwards(model, positive, latents: Tensor, steps: int, way: list[Tensor]) -> Tensor:
    """:func:`photo_noise`; what is found at each level is put into ``way``."""
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), SCHEDULER, steps)
    options = {"prediction": prediction_of(model), "way": way}
    return comfy.sample.sample_custom(
        model,
        torch.zeros_like(latents),
        1.0,
        comfy.samplers.KSAMPLER(_backwards, options),
        sigmas,
        positive,
        positive,
        latents,
        callback=latent_preview.prepare_callback(model, steps),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
    )


def with_palette(model, palette: Palette | None):
    """A MODEL whose predictions go toward this palette; the one that was given where there is none.

    Args:
        palette: of a latent as the VAE gives it.
    """
    if palette is None:
        return model
    inside = dataclasses.replace(palette, of=model.model.process_latent_in(palette.of))
    clone = model.clone()
    clone.set_model_sampler_post_cfg_function(lambda step: inside(step["denoised"]))
    return clone


def _backwards(
    model,
    x: Tensor,
    sigmas: Tensor,
    extra_args=None,
    callback=None,
    disable=None,
    *,
    prediction: str,
    way: list[Tensor],
) -> Tensor:
    """A sampler in ComfyUI's form that goes from the clean latent, which it gets as ``x``, to the noise.

    Args:
        prediction: what the MODEL predicts. way: takes x at each level, from the noisiest to the clean latent.
    """
    steps = itertools.count()

    def predict(x: Tensor, index: int) -> Tensor:
        denoised = model(x, sigmas[index].expand(len(x)), **(extra_args or {}))
        if callback is not None:
            callback({"i": next(steps), "denoised": denoised, "x": x, "sigma": sigmas[index]})
        return (x - denoised) / sigmas[index]

    way += invert(predict, sigmas, x, prediction=prediction)
    return way[0]

"""A MODEL that draws beside a photo and a style picture, in any sampler of the host."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import comfy.patcher_extension
import torch
from torch import Tensor, nn

from ...acfun_core.config import TransferConfig
from ...acfun_core.errors import ACFunError
from ...acfun_core.transfer.correction import corrected
from ...acfun_core.transfer.features import Taps, recorded, takes
from ...acfun_core.transfer.references import References
from ...acfun_core.unet.blocks import find_sites
from ...acfun_core.unet.injection import Transform
from .families import check_model
from .moment import KEY, as_in_sampling, share_done_at
from .photo_noise import way_to_noise


@dataclass(frozen=True)
class Beside:
    """What a portrait is drawn beside, and what the base says of it.

    Attributes:
        references: latents as the host's models take them.
        options: the MODEL's transformer options when the way to noise was found: the features must come from the same UNet.
        context: (1, T, width) the empty prompt. y: (1, C) what SDXL is told besides, or None.
    """

    references: References
    config: TransferConfig
    options: dict
    context: Tensor
    y: Tensor | None = None


@dataclass
class Transferring:
    """The transfer of one MODEL while it samples. Clones share it; it keeps nothing after a sampling."""

    beside: Beside
    _at: float | None = field(default=None, init=False)
    _rows: dict[nn.Module, Tensor] = field(default_factory=dict, init=False)
    _predicted: Tensor | None = field(default=None, init=False)

    def __deepcopy__(self, memo: dict) -> Transferring:
        """Itself: a host copies a MODEL's options deeply, in which :meth:`correct` lies, and its wrappers not."""
        return self

    def begin(self, executor, noise: Tensor, latent_image: Tensor, sampler, sigmas: Tensor, *further, **named):
        """OUTER_SAMPLE wrapper: the sampling starts where the photo is at its first noise level.

        A sampler that adds no noise goes on with what another has begun, and is left alone.
        """
        model = executor.class_obj.model_patcher
        references = self.beside.references.to(noise)
        references.check(noise)
        try:
            if torch.count_nonzero(noise):
                noise = self._noise(references, noise, latent_image, model, sigmas[0].item())
            return executor(noise, latent_image, sampler, sigmas, *further, **named)
        finally:
            self._at, self._predicted = None, None
            self._rows.clear()

    def _noise(self, references: References, noise: Tensor, latent_image: Tensor, model, sigma: float) -> Tensor:
        """The noise of which the host makes the start (as its ``noise_scaling`` does for EPS and V_PREDICTION)."""
        start = references.start(sigma, noise, self.beside.config)
        if torch.count_nonzero(latent_image):
            start = start - model.model.process_latent_in(latent_image).to(start)
        most = float(model.get_model_object("model_sampling").sigma_max)
        at_the_top = math.isclose(most, sigma, rel_tol=1e-5) or sigma > most
        return start / (math.sqrt(1 + sigma**2) if at_the_top else sigma)

    def takes(self, executor, x: Tensor, options: dict) -> list[tuple[nn.Module, Transform]]:
        """What one call of the UNet takes over: the references pass through it first, at the same noise level.

        Args:
            executor: of the call, by which the UNet itself is reached past other nodes' wrappers.
        """
        if KEY not in options or options.get("sigmas") is None:
            raise ACFunError(
                "The sampler does not say at which noise level it is, which ACFun Style Transfer needs.",
                "a sampler that hands its noise levels to the UNet",
                "use a stock sampler",
            )
        sampling, sigmas = options[KEY].model_sampling, options["sigmas"]
        sigma, taps = sigmas[0].item(), Taps.of(find_sites(executor.class_obj))
        if sigma != self._at:
            self._look(executor, x, sigma, taps, sampling)
        around = self.beside.references.around(self.beside.config).to(x.device)
        return takes(taps, self._rows, self.beside.config, share_done_at(sampling, sigmas[:1]).item(), around)

    def _look(self, executor, x: Tensor, sigma: float, taps: Taps, model_sampling) -> None:
        """Pass the references through the UNet at a noise level."""
        latents = self.beside.references.to(x.float()).at(sigma)
        level = torch.full((len(latents),), sigma, device=x.device)
        options = {**self.beside.options, **as_in_sampling(model_sampling, level)}
        rows = len(latents)
        y = None if self.beside.y is None else self.beside.y.to(x).expand(rows, -1)
        given = (
            model_sampling.calculate_input(level, latents).to(x.dtype),
            model_sampling.timestep(level).float(),
            self.beside.context.to(x).expand(rows, -1, -1),
            y,
            None,
            options,
        )
        with recorded(taps) as found:
            answer = executor.original(*given)
        z_0 = model_sampling.calculate_denoised(level, answer.float(), latents)
        self._at, self._rows, self._predicted = sigma, found, (latents - z_0) / sigma

    def correct(self, step: dict) -> Tensor:
        """Post-CFG function: the clean latent that the step should go to."""
        sigmas, z_0 = step["sigma"], step["denoised"]
        if sigmas[0].item() != self._at:
            return z_0
        done = share_done_at(step["model"].model_sampling, sigmas[:1]).item()
        references = self.beside.references.to(z_0)
        return corrected(z_0, references, self._predicted.to(z_0), self.beside.config, self._at, done)


def read_beside(model, clip, photo: Tensor, style: Tensor, steps: int, config: TransferConfig) -> Beside:
    """Find the ways of photos and a style picture to noise, and what else their passes need.

    Args:
        photo: (B, 4, h, w) latents as the VAE gives them. style: (1, 4, h, w).
    """
    family = check_model(model)
    empty = clip.encode_from_tokens_scheduled(clip.tokenize(""))
    [[context, further], *_] = empty
    references = way_to_noise(model, empty, torch.cat([photo, style]), steps)
    y = None
    if family.pooled:
        height, width = (8 * side for side in photo.shape[-2:])
        pooled = further["pooled_output"]
        y = model.model.encode_adm(pooled_output=pooled, width=width, height=height, device=pooled.device)
    options = {
        name: value for name, value in model.model_options.get("transformer_options", {}).items() if name != "wrappers"
    }
    return Beside(references, config, options, context, y)


def add_transfer(clone, transferring: Transferring) -> None:
    """Put the parts of a transfer that lie outside the UNet on a clone of a MODEL."""
    clone.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.OUTER_SAMPLE, KEY, transferring.begin)
    clone.set_model_sampler_post_cfg_function(transferring.correct)


def remove_transfer(clone) -> None:
    """Take off what :func:`add_transfer` put on."""
    clone.remove_wrappers_with_key(comfy.patcher_extension.WrappersMP.OUTER_SAMPLE, KEY)
    functions = clone.model_options.get("sampler_post_cfg_function")
    if functions:
        own = [isinstance(getattr(f, "__self__", None), Transferring) for f in functions]
        clone.model_options["sampler_post_cfg_function"] = [f for f, ours in zip(functions, own) if not ours]

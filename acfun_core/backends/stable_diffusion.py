"""A Stable Diffusion 1.x base on diffusers' classes: the core's base for training, and portraits from pure noise."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import PALETTE_HOLD, PLACEHOLDER, AdapterConfig, DrawConfig, TrainConfig, check_prompt
from ..diffusion import sampling
from ..diffusion.palette import Palette, own_noise
from ..diffusion.sampling import Levels, OnSample, Predict, guided, invert, normal_levels, starting_noise
from ..errors import ACFunError
from ..host import Base
from ..images import check_side, square
from ..masks import check_mask_of, check_one_a_picture
from ..method.adapter import StyleAdapter
from ..method.applied import block_transforms
from ..method.fit import check_fits, check_text_fits
from ..method.pseudo_word import Members, is_plain, members_at, style_context
from ..storage.tensor_file import check_finite
from ..training.keeper import StateKeeper
from ..training.key import described, training_key, weights_identity
from ..training.loop import OnStep, train_adapter
from ..training.material import encode_material, encode_pair
from ..training.steps import Say
from ..transfer.features import Taps
from ..transfer.references import References
from ..unet.blocks import find_sites
from ..unet.injection import injected
from ..unet.windows import Moment
from . import pictures
from .scheduler import Told
from .text import PromptSide, TextEncoder
from .transferring import Transfer, transferring
from .vision import load_image_encoder
from .weights import Parts, load_parts


class StableDiffusion:
    """One base on one device.

    Args:
        parts: from :func:`~acfun_core.backends.weights.load_parts`.
        image_encoder: where CLIP vision lies; only training needs it.
        device: where everything computes.
    """

    def __init__(self, parts: Parts, image_encoder: str | Path | None = None, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.unet = parts.unet.to(self.device)
        self.vae = parts.vae.to(self.device)
        self.text = TextEncoder(parts.text_encoder.to(self.device), parts.tokenizer)
        self.schedule, self.key = parts.schedule, parts.key
        self.prediction, self._trailing = parts.prediction, parts.trailing
        # diffusers looks through all modules for it, at every question: a tenth of a small training.
        self._dtype = self.unet.dtype
        self.sites = find_sites(self.unet)
        self._image_encoder_path = image_encoder
        self._image_encoder: Any = None
        want, have = self.unet.config.cross_attention_dim, self.text.width
        if want != have:
            raise ACFunError(
                f"The UNet takes text {want} wide, the text encoder gives {have}.",
                "UNet and text encoder of one base",
                "name another base",
            )

    @classmethod
    def load(
        cls,
        base: str | Path,
        image_encoder: str | Path | None = None,
        tokenizer: str | Path | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        told: Told | None = None,
    ) -> StableDiffusion:
        """Read a base from files, see :func:`~acfun_core.backends.weights.load_parts`.

        A diffusers folder with an ``image_encoder`` in it needs no ``image_encoder`` of its own.
        """
        beside = Path(base) / "image_encoder"
        if image_encoder is None and beside.is_dir():
            image_encoder = beside
        loaded = cls(load_parts(base, tokenizer, dtype, told), image_encoder, device)
        if loaded.device.type == "cuda" and dtype == torch.float16:
            # In bfloat16 the steps of S*'s row would be lost in its rounding; the VAE overflows in float16, and works but once.
            check_finite(Path(base), loaded.text.model.half().state_dict(), "load the base in float32")
        return loaded

    @property
    def computes(self) -> str:
        """Where and in which precision, as a sentence."""
        unet, text, vae = (
            str(dtype).removeprefix("torch.") for dtype in (self._dtype, self.text.model.dtype, self.vae.dtype)
        )
        return f"On {self.device}: UNet in {unet}, text encoder in {text}, VAE in {vae}; --dtype sets it."

    @property
    def native_side(self) -> int:
        """Side in pixels that the UNet was made for."""
        size = self.unet.config.sample_size
        return 8 * size if isinstance(size, int) else 512

    def _side(self, chosen: int | None) -> int:
        """Side in pixels, the native one unless another was chosen."""
        return self.native_side if chosen is None else chosen

    def predict(self, z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """What the UNet itself predicts, the noise or v: (B, 4, h, w), (B,), (B, T, width) -> (B, 4, h, w) float32."""
        return self.unet(z_t.to(self._dtype), t, encoder_hidden_states=context.to(self._dtype)).sample.float()

    def predict_noise(self, z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """The core's PredictNoise, for latents at whole timesteps."""
        predicted = self.predict(z_t, t, context)
        return predicted if self.prediction == "epsilon" else self.schedule.noise_of(predicted, z_t, t)

    def levels(self, steps: int) -> Levels:
        """The noise levels that a drawing visits: ComfyUI's ``normal``, or ``sgm_uniform`` where the base's scheduler says
        ``trailing``."""
        return normal_levels(self.schedule, steps, trailing=self._trailing)

    @property
    def scheduler(self) -> str:
        """ComfyUI's name of :meth:`levels`."""
        return "sgm_uniform" if self._trailing else "normal"

    # -- training -----------------------------------------------------------------------

    def core_base(self, text: str) -> Base:
        """The base as the core's training takes it, bound to one text with S* in it."""
        side = PromptSide(self.text, text)
        velocity = None if self.prediction == "epsilon" else self.predict
        return Base(
            *(self.predict_noise, self.sites, side, self.schedule, self.device),
            key=self.key,
            predict_velocity=velocity,
            dtype=self._dtype,
        )

    def style_tokens(self, style: Tensor) -> Tensor:
        """e_is: (N, width) CLIP tokens of the style image (1, H, W, 3)."""
        return pictures.encode_style(self.image_encoder, style)

    @property
    def has_image_encoder(self) -> bool:
        """Whether it knows where CLIP vision is."""
        return self._image_encoder is not None or self._image_encoder_path is not None

    @property
    def image_encoder(self) -> Any:
        """CLIP vision, read when it is first needed.

        Raises:
            ACFunError: there is none.
        """
        if self._image_encoder is None:
            if self._image_encoder_path is None:
                raise ACFunError(
                    "Training reads the style image through CLIP vision, and this base has none beside it.",
                    "CLIP ViT-L/14 or ViT-H/14 vision as a transformers folder or a .safetensors file",
                    "add --clip-vision PATH",
                )
            self._image_encoder = load_image_encoder(self._image_encoder_path).to(self.device)
        return self._image_encoder

    def encode(self, images: Tensor) -> Tensor:
        """(B, H, W, 3), values 0-1 -> (B, 4, H / 8, W / 8)."""
        return pictures.encode_latents(self.vae, images.to(self.device))

    def _encode_each(self, images: Tensor) -> Tensor:
        """One after the other: the variants of a style picture are many."""
        return torch.cat([self.encode(image) for image in images.split(1)])

    def train(
        self,
        style: Tensor,
        face: Tensor,
        adapter_config: AdapterConfig,
        config: TrainConfig,
        resolution: int | None = None,
        on_step: OnStep | None = None,
        style_mask: Tensor | None = None,
        face_mask: Tensor | None = None,
        keeper: StateKeeper | None = None,
        say: Say = lambda sentence: None,
    ) -> StyleAdapter:
        """Learn an adapter from one style image and one face photo, both (1, H, W, 3); the base stays as it is.

        Args:
            style_mask, face_mask: of the same size as their picture, in any form that :func:`~acfun_core.masks.check_masks`
                takes; 1 where it counts in its loss term.
            keeper: writes the training's state now and then, under the name that :meth:`training_key` gives.
            say: is told in a sentence what this device cannot do.

        Raises:
            ACFunError: there is no CLIP vision, the resolution or a mask cannot be used, or training became non-finite.
        """
        resolution = self._side(resolution)
        check_side("resolution", resolution, 64)
        style_mask, face_mask = check_mask_of(style_mask, style, "style"), check_mask_of(face_mask, face, "face")
        base = self.core_base(adapter_config.training_text)
        tokens = self.style_tokens(style)
        latents = encode_pair(self.encode, style, face, resolution)
        material = encode_material(self._encode_each, style, config, resolution, style_mask, face_mask)
        return train_adapter(base, latents, tokens, adapter_config, config, on_step, material, keeper, say)

    def training_key(
        self,
        style: Tensor,
        face: Tensor,
        adapter_config: AdapterConfig,
        config: TrainConfig,
        resolution: int | None = None,
        style_mask: Tensor | None = None,
        face_mask: Tensor | None = None,
    ) -> str:
        """Which training :meth:`train` of the same arguments is, on this base."""
        given = {"style": style, "face": face, "style_mask": style_mask, "face_mask": face_mask}
        weights = weights_identity(self.unet, self.vae, self.text.model, self.image_encoder)
        # A tokenizer of another folder may number the same words otherwise.
        tokens = self.text.words_to_ids(adapter_config.training_text)
        # The same weights under another scheduler_config.json are another base.
        noise = f"{self.prediction} {described(self.schedule.alphas_cumprod)}"
        return training_key(adapter_config, config, self._side(resolution), given, f"{weights} {tokens} {noise}")

    # -- sampling -----------------------------------------------------------------------

    def check_fits(self, adapter: StyleAdapter) -> None:
        """Raise unless the adapter is for Stable Diffusion 1.x, these widths, and these weights if they have a key."""
        fix = "use it in ComfyUI with its own base: SDXL and Stable Diffusion 2.x work there, and only there"
        check_fits(adapter, "sd1", self.sites, fix=fix, key=self.key)
        check_text_fits(adapter, self.text.width)

    @torch.no_grad()
    def condition(self, prompt: str, members: Members = ()) -> Tensor:
        """(1, T, width) for a prompt; without adapters, or with all abstract strengths 0, S* is the plain initial word."""
        if PLACEHOLDER not in prompt or is_plain(members):
            return self.text.encode(self.text.sections(prompt, styled=False))
        return style_context(members, PromptSide(self.text, prompt))

    @torch.no_grad()
    def sample(
        self,
        prompt: str,
        negative: str = "",
        members: Members = (),
        seed: int = 0,
        steps: int = 40,
        cfg: float = 5.0,
        size: tuple[int, int] | None = None,
        batch: int = 1,
        on_sample: OnSample | None = None,
        noise: Tensor | None = None,
        palette: Palette | None = None,
        transfer: Transfer | None = None,
    ) -> Tensor:
        """Portraits from pure noise, as latents (batch, 4, h, w).

        Args:
            members: adapters with their strengths, mixed; with none this is the base, bit for bit the same as with all
                strengths 0.
            seed: the noise is that of ComfyUI's samplers for the same seed, size and batch.
            size: (height, width) in pixels, multiples of 8; the default is the base's own.
            noise: (batch, 4, h, w) to start from in place of the seed's, as :meth:`photo_noise` finds it; the size is its own.
            palette: whose colours and contrasts each step goes toward; its latent comes from :meth:`encode`.
            transfer: the photo and the style picture that the portraits are drawn beside, and how; size and start are theirs.

        Raises:
            ACFunError: an adapter does not fit, the prompt lacks S*, or a number is out of range.
        """
        if transfer is not None:
            size = tuple(8 * side for side in transfer.references.latents.shape[-2:])
        batch, height, width = self._drawn_size(batch, size, noise)
        self.check(prompt, members, seed, steps, cfg, batch)
        for adapter, _ in members:
            adapter.to(self.device)
        noise = starting_noise(seed, batch, height, width) if noise is None else noise
        noise = noise.to(self.device)
        levels = self.levels(steps)
        predict = self._guided(levels, prompt, negative, members, cfg, len(noise))
        x = levels.noisiest(noise)
        if transfer is not None:
            transfer = transfer.to(noise)
            x = transfer.references.start(levels.sigmas[0].item(), noise, transfer.config)
            predict = transferring(predict, self._plain(levels), levels, Taps.of(self.sites), transfer)
        return sampling.sample(predict, levels.sigmas, x, on_sample, palette)

    def check(self, prompt: str, members: Members, seed: int, steps: int, cfg: float, batch: int) -> None:
        """Raise what :meth:`sample` would raise, before other long work such as :meth:`photo_noise`."""
        if members:
            check_prompt(prompt)
        DrawConfig(seed, steps, cfg, batch)
        for adapter, strengths in members:
            self.check_fits(adapter)
            if strengths.mask is not None:
                check_one_a_picture(len(strengths.mask), batch, "mask of the adapter")

    def _drawn_size(self, batch: int, size: tuple[int, int] | None, noise: Tensor | None) -> tuple[int, int, int]:
        """Number, height and width of the portraits."""
        if noise is not None:
            return len(noise), 8 * noise.shape[2], 8 * noise.shape[3]
        height, width = size or (self.native_side, self.native_side)
        check_side("height", height, 8)
        check_side("width", width, 8)
        return batch, height, width

    @torch.no_grad()
    def photo_noise(
        self,
        photo: Tensor,
        style: Tensor | None = None,
        steps: int = 40,
        resolution: int | None = None,
        on_sample: OnSample | None = None,
        hold: float = PALETTE_HOLD,
    ) -> Tensor:
        """The noise that DDIM would draw the photos from, (B, 4, h, w) of about unit variance.

        Args:
            photo: (B, H, W, 3), values 0-1, their middle squares.
            style: (1, H', W', 3), draws the noise toward the statistics of its own, and so toward its palette.
            steps: of the DDIM backwards; the drawing may take another number.
            resolution: side in pixels; the default is the base's own.
            hold: 0-1, how far it goes there.

        Raises:
            ACFunError: the resolution or the number of steps is out of range.
        """
        resolution = self._side(resolution)
        check_side("resolution", resolution, 8)
        DrawConfig(steps=steps, palette_hold=hold)
        levels = self.levels(steps)

        def backwards(latents: Tensor) -> Tensor:
            return levels.z_t(self._ways(latents, levels, on_sample)[0], 0)

        return own_noise(self.encode, backwards, photo, style, resolution, hold)[0]

    @torch.no_grad()
    def references(
        self,
        photo: Tensor,
        style: Tensor,
        steps: int = 40,
        resolution: int | None = None,
        on_sample: OnSample | None = None,
    ) -> References:
        """Photos and a style picture on their way to noise, for :meth:`sample`'s ``transfer``.

        Args:
            photo: (B, H, W, 3), values 0-1. style: (1, H', W', 3). Their middle squares are taken.
            steps: of the DDIM backwards; the drawing may take another number.
            resolution: side in pixels; the default is the base's own.

        Raises:
            ACFunError: the resolution or the number of steps is out of range.
        """
        side = self._side(resolution)
        both = torch.cat([square(one, side) for one in (photo, style)])
        return References(self.levels(steps).sigmas, self.way_to_noise(both, steps, side, on_sample))

    @torch.no_grad()
    def way_to_noise(
        self, pictures: Tensor, steps: int = 40, resolution: int | None = None, on_sample: OnSample | None = None
    ) -> Tensor:
        """Latents of pictures (B, H, W, 3) on their ways to noise, (N + 1, B, 4, h, w) as in :class:`References`.

        Raises:
            ACFunError: the resolution or the number of steps is out of range.
        """
        resolution = self._side(resolution)
        check_side("resolution", resolution, 8)
        DrawConfig(steps=steps)
        return torch.stack(self._ways(self.encode(square(pictures, resolution)), self.levels(steps), on_sample))

    def _ways(self, latents: Tensor, levels: Levels, on_sample: OnSample | None) -> list[Tensor]:
        return invert(self._plain(levels), levels.sigmas, latents, on_sample, self.prediction)

    def _plain(self, levels: Levels) -> Predict:
        """The noise prediction of the base itself, without guidance, under the empty prompt."""
        empty = self.condition("")
        return guided(self.predict, levels, lambda index: (empty, empty), cfg=1.0, prediction=self.prediction)

    def _guided(self, levels: Levels, prompt: str, negative: str, members: Members, cfg: float, batch: int) -> Predict:
        """The sampler's noise prediction with the adapters as they act at each level."""

        @lru_cache
        def encoded(now: Members) -> tuple[Tensor, Tensor]:
            return self.condition(prompt, now), self.condition(negative, now)

        def conditions(index: int) -> tuple[Tensor, Tensor]:
            return encoded(members_at(members, levels.done[index]))

        def own(z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
            # The memory layout decides the last bits of a convolution, and a photo's noise has the VAE's.
            return self.predict(z_t.contiguous(), t, context)

        plain = guided(own, levels, conditions, cfg, self.prediction)
        # As `guided` lays them out: all pictures with the prompt, then all without.
        conditioned = torch.arange(batch if cfg == 1 else 2 * batch, device=self.device) < batch

        def predict(x: Tensor, index: int) -> Tensor:
            moment = Moment(torch.tensor(levels.done[index]), conditioned, batch)
            with injected(self.sites, block_transforms(members, moment)):
                return plain(x, index)

        return predict

    def decode(self, latents: Tensor) -> Tensor:
        """(B, 4, h, w) -> (B, 8 h, 8 w, 3), values 0-1, on the CPU."""
        return pictures.decode_latents(self.vae, latents)

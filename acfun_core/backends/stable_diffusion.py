"""A base of Stable Diffusion on diffusers' classes: the core's base for training, and portraits from pure noise."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import PLACEHOLDER, AdapterConfig, DrawConfig, TrainConfig, check_prompt
from ..diffusion import sampling
from ..diffusion.palette import Palette
from ..diffusion.sampling import Levels, OnSample, Predict, normal_levels, starting_noise
from ..errors import ACFunError
from ..host import Base
from ..images import check_side
from ..masks import check_mask_of, check_one_a_picture
from ..method.adapter import StyleAdapter
from ..method.applied import block_transforms
from ..method.fit import check_fits, check_text_fits
from ..method.pseudo_word import Members, is_plain, members_at, style_context, style_pooled, styles_of
from ..storage.tensor_file import check_finite
from ..training.keeper import StateKeeper
from ..training.key import described, given_pictures, training_key, weights_identity
from ..training.loop import OnStep, train_adapter
from ..training.material import Pictures, check_start, each_of, encode_material, encode_pair, style_mask_of
from ..training.memory import fitting
from ..training.steps import Say
from ..transfer.features import Taps
from ..unet.blocks import find_sites
from ..unet.injection import injected
from ..unet.windows import Moment
from . import pictures
from .families import Parts
from .inversion import Inversion
from .passes import UNetPass
from .scheduler import Told
from .slider import Sliding
from .text import Condition, PromptSide, text_side
from .transferring import Transfer, transferring
from .vision import load_image_encoder
from .weights import load_parts

LARGE = 512
"""Side in pixels above which pictures go through the VAE one by one: of 1024 pixels, each takes 2.5 GB there."""


class StableDiffusion(Inversion, Sliding):
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
        self.family = parts.family
        encoders = [encoder.to(self.device) for encoder in parts.text_encoders]
        self.text = text_side(self.family, encoders, parts.tokenizers)
        self.schedule, self.key = parts.schedule, parts.key
        self.prediction, self._trailing = parts.prediction, parts.trailing
        # diffusers looks through all modules for it, at every question: a tenth of a small training.
        self._dtype = self.unet.dtype
        self._sizes: dict[tuple, Tensor] = {}
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
            for model in loaded.text.models:
                check_finite(Path(base), model.half().state_dict(), "load the base in float32")
        return loaded

    @property
    def computes(self) -> str:
        """Where and in which precision, as a sentence."""
        unet, text, vae = (
            str(dtype).removeprefix("torch.") for dtype in (self._dtype, self.text.models[0].dtype, self.vae.dtype)
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

    @property
    def predict(self) -> UNetPass:
        """What the UNet itself predicts, the noise or v."""
        return UNetPass(self.unet, self._dtype, self.prediction, self._sizes)

    def predict_noise(self, z_t: Tensor, t: Tensor, context: Tensor, pooled: Tensor | None = None) -> Tensor:
        """The core's PredictNoise, for latents at whole timesteps; SDXL is told a pooled embedding besides."""
        predicted = self.predict(z_t, t, context, pooled)
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

        def predict_noise(z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
            return self.predict_noise(z_t, t, context, side.pooled)

        def predict_velocity(z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
            return self.predict(z_t, t, context, side.pooled)

        return Base(
            *(predict_noise, self.sites, side, self.schedule, self.device),
            family=self.family.name,
            key=self.key,
            predict_velocity=None if self.prediction == "epsilon" else predict_velocity,
            dtype=self._dtype,
        )

    def style_tokens(self, style: Pictures) -> Tensor:
        """e_is: (N, width) CLIP tokens of the style image (1, H, W, 3), or (K, N, width) of several."""
        tokens = [pictures.encode_style(self.image_encoder, one) for one in each_of(style)]
        return tokens[0] if len(tokens) == 1 else torch.stack(tokens)

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
            self._image_encoder = load_image_encoder(self._image_encoder_path)
        return self._image_encoder.to(self.device)

    def encode(self, images: Tensor) -> Tensor:
        """(B, H, W, 3), values 0-1 -> (B, 4, H / 8, W / 8)."""
        if max(images.shape[1:3]) > LARGE and len(images) > 1:
            return self._encode_each(images)
        return pictures.encode_latents(self.vae, images.to(self.device))

    def _encode_each(self, images: Tensor) -> Tensor:
        """One after the other: the variants of a style picture are many."""
        return torch.cat([self.encode(image) for image in images.split(1)])

    def train(
        self,
        style: Pictures,
        face: Tensor,
        adapter_config: AdapterConfig,
        config: TrainConfig,
        resolution: int | None = None,
        on_step: OnStep | None = None,
        style_mask: Tensor | None = None,
        face_mask: Tensor | None = None,
        keeper: StateKeeper | None = None,
        say: Say = lambda sentence: None,
        checkpointing: str = "auto",
        start_row: Tensor | None = None,
    ) -> StyleAdapter:
        """Learn an adapter from one style image and one face photo, both (1, H, W, 3); the base stays as it is.

        Args:
            style: may also be several pictures in one style; a mask of them needs all to be of one size.
            style_mask, face_mask: of the same size as their picture, in any form that :func:`~acfun_core.masks.check_masks`
                takes; 1 where it counts in its loss term.
            keeper: writes the training's state now and then, under the name that :meth:`training_key` gives.
            say: is told in a sentence what this device cannot do.
            checkpointing: whether activations are computed twice, see :func:`~acfun_core.training.memory.fitting`.
            start_row: (width,) what S* begins as, see :func:`~acfun_core.storage.embedding_file.read_row`.

        Raises:
            ACFunError: there is no CLIP vision, the resolution or a mask cannot be used, or training became non-finite.
        """
        resolution = self._side(resolution)
        check_side("resolution", resolution, 64)
        style_mask, face_mask = style_mask_of(style_mask, style), check_mask_of(face_mask, face, "face")
        base = self.core_base(adapter_config.training_text)
        tokens = self.style_tokens(style)
        # Up to 2.5 GB that learning has no use for.
        self.image_encoder.to("cpu")
        latents = encode_pair(self.encode, style, face, resolution)
        check_start(start_row, adapter_config, self.text.width)
        material = encode_material(self._encode_each, style, config, resolution, style_mask, face_mask, start_row)
        with fitting(base, latents, config, checkpointing, say=say):
            return train_adapter(base, latents, tokens, adapter_config, config, on_step, material, keeper, say)

    def training_key(
        self,
        style: Pictures,
        face: Tensor,
        adapter_config: AdapterConfig,
        config: TrainConfig,
        resolution: int | None = None,
        style_mask: Tensor | None = None,
        face_mask: Tensor | None = None,
        start_row: Tensor | None = None,
    ) -> str:
        """Which training :meth:`train` of the same arguments is, on this base."""
        given = given_pictures(style, face, style_mask, face_mask, start_row)
        weights = weights_identity(self.unet, self.vae, *self.text.models, self.image_encoder)
        # A tokenizer of another folder may number the same words otherwise.
        tokens = self.text.words_to_ids(adapter_config.training_text)
        # The same weights under another scheduler_config.json are another base.
        noise = f"{self.prediction} {described(self.schedule.alphas_cumprod)}"
        return training_key(adapter_config, config, self._side(resolution), given, f"{weights} {tokens} {noise}")

    # -- sampling -----------------------------------------------------------------------

    def check_fits(self, adapter: StyleAdapter) -> None:
        """Raise unless the adapter is of this family and these widths, and for these weights if they have a key."""
        check_fits(adapter, self.family.name, self.sites, key=self.key)
        check_text_fits(adapter, self.text.width)

    def condition(self, prompt: str, members: Members = ()) -> Tensor:
        """(1, T, width), the context alone of :meth:`told`."""
        return self.told(prompt, members).context

    @torch.no_grad()
    def told(self, prompt: str, members: Members = ()) -> Condition:
        """What the UNet is told; without adapters, or with all abstract strengths 0, S* is the plain initial word."""
        if PLACEHOLDER not in prompt or is_plain(members):
            return self.text.read(self.text.sections(prompt, styled=False))
        side = PromptSide(self.text, prompt)
        context = style_context(members, side)
        if side.pooled is None:
            return Condition(context)
        return Condition(context, style_pooled(members, lambda row: side.read(row).pooled))

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
        if styles_of(members):
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

    def _guided(self, levels: Levels, prompt: str, negative: str, members: Members, cfg: float, batch: int) -> Predict:
        """The sampler's noise prediction with the adapters as they act at each level."""

        @lru_cache
        def encoded(now: Members) -> tuple[Condition, Condition]:
            return self.told(prompt, now), self.told(negative, now)

        def conditions(index: int) -> tuple[Condition, Condition]:
            return encoded(members_at(members, levels.done[index]))

        plain = self.predict.guided(levels, conditions, cfg, batch)
        # As `guided` lays them out: all pictures with the prompt, then all without.
        conditioned = torch.arange(batch if cfg == 1 else 2 * batch, device=self.device) < batch

        def predict(x: Tensor, index: int) -> Tensor:
            moment = Moment(torch.tensor(levels.done[index]), conditioned, batch)
            with injected(self.sites, block_transforms(members, moment)):
                # The memory layout decides the last bits of a convolution, and a photo's noise has the VAE's.
                return plain(x.contiguous(), index)

        return predict

    def decode(self, latents: Tensor) -> Tensor:
        """(B, 4, h, w) -> (B, 8 h, 8 w, 3), values 0-1, on the CPU."""
        return pictures.decode_latents(self.vae, latents)

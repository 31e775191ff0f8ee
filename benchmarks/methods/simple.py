"""What needs no training: the three anchors, text alone, img2img, and latent AdaIN."""

from __future__ import annotations

from torch import Tensor

from acfun_core.diffusion.palette import with_statistics

from ..lists import Pair
from ..workbench import Workbench
from .base import Method, State


class CopyFace(Method):
    name, title, anchor = "copy_face", "copy of the face", True

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        return bench.square(pair.face)[0]


class CopyStyle(Method):
    name, title, anchor = "copy_style", "copy of the style", True

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        return bench.square(pair.style)[0]


class Blend(Method):
    name, title, anchor = "blend", "50 % pixel blend", True

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        return (bench.square(pair.face)[0] + bench.square(pair.style)[0]) / 2


class RoundTrip(Method):
    """A training picture as the VAE gives it back: no method on this base can keep more of it."""

    def __init__(self, of: str):
        self.of, self.name, self.title = of, f"vae_{of}", f"the {of} through the VAE"
        self.anchor = True

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        return bench.decode(bench.latent(getattr(pair, self.of)))


class Denoised(Method):
    """A training picture noised to a share of the schedule and denoised by the base without guidance, told only what it is:
    what is lost of it is what the UNet cannot see at and below that noise."""

    def __init__(self, of: str, denoise: float):
        self.of, self.denoise = of, denoise
        self.name, self.title = f"denoised_{of}_{denoise:g}", f"the {of} noised to {denoise:g} and denoised"
        self.anchor = True

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        text = f"a photo of a {pair.face.person}" if self.of == "face" else pair.style.words
        return bench.draw(bench.text(text), seed, bench.latent(getattr(pair, self.of)), self.denoise, cfg=1.0)


class TextOnly(Method):
    """The base with the words a user would use for the style, from pure noise."""

    name, title = "text", "text only"

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        return bench.draw(bench.text(pair.plain_text), seed)


class ImageToImage(Method):
    """The photo noised to a share of the schedule and drawn again under the style's words."""

    def __init__(self, denoise: float):
        self.denoise = denoise
        self.name, self.title = f"img2img_{denoise:g}", f"img2img {denoise:g}"

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        return bench.draw(bench.text(pair.plain_text), seed, bench.latent(pair.face), self.denoise)


class LatentAdaIN(Method):
    """The photo's latent with the statistics of the style's; then img2img where ``denoise`` is above 0."""

    def __init__(self, denoise: float = 0.0):
        self.denoise = denoise
        self.name = "adain_img2img" if denoise else "adain"
        self.title = f"latent AdaIN + img2img {denoise:g}" if denoise else "latent AdaIN"

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        mixed = with_statistics(bench.latent(pair.face), bench.latent(pair.style))
        if not self.denoise:
            return bench.decode(mixed)
        return bench.draw(bench.text(pair.plain_text), seed, mixed, self.denoise)

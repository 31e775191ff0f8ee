"""ACFun Photo Noise: the noise a photo would be drawn from, for the start input of ACFun Sampler."""

from __future__ import annotations

from dataclasses import dataclass

from comfy_api.latest import io
from torch import Tensor

from ..acfun_core.config import DrawConfig
from ..acfun_core.diffusion.palette import Palette, own_noise
from ..acfun_core.errors import ACFunError
from ..acfun_core.images import check_batch, check_image
from .host.families import check_together
from .host.photo_noise import photo_noise
from .host.unet import without_adapters
from .schema import schema, widget

MARK = "acfun_photo_noise"
"""In a LATENT of this node: an ordinary one at the same input would be drawn as noise, which gives a grey picture."""


@dataclass(frozen=True)
class Start:
    """What ACFun Sampler needs to know beside the noise."""

    palette: Palette | None


class ACFunPhotoNoise(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunPhotoNoise",
            display_name="ACFun Photo Noise",
            description=(
                "Finds the noise that the base would draw the photo from. A portrait that starts there keeps the person, with "
                "an adapter that was trained on a style alone, too."
            ),
            search_aliases=["inversion", "unsampler", "DDIM inversion", "keep the face"],
            inputs=[
                io.Model.Input("model", tooltip="The MODEL of the base; adapters on it are left out here."),
                io.Clip.Input("clip", tooltip="The CLIP of the base."),
                io.Vae.Input("vae", tooltip="The VAE of the base."),
                io.Image.Input(
                    "photo", tooltip="The face, best from Crop Face. The middle square is used; of a batch, all."
                ),
                widget(DrawConfig, "steps", "Steps back to the noise. Good: 40, as the sampler takes."),
                io.Int.Input(
                    "resolution",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip="Side of the portrait in pixels. Good: the resolution of the training.",
                ),
                widget(
                    DrawConfig,
                    "palette_hold",
                    "How far noise and portrait go toward the colours and contrasts of style_image. 0 keeps the photo's. "
                    "Good: 0.7.",
                ),
                io.Image.Input(
                    "style_image",
                    optional=True,
                    tooltip="Gives its palette to the noise and to the portrait. Good: the one the adapter was trained on.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="start",
                    tooltip=(
                        "For the start of ACFun Sampler, or for KSampler (Advanced) with add_noise disabled, which holds "
                        "the palette in the noise alone."
                    ),
                )
            ],
        )

    @classmethod
    def execute(cls, model, clip, vae, photo, steps, resolution, palette_hold, style_image=None) -> io.NodeOutput:
        check_together(model, clip)
        photo = check_batch(photo, "photo")
        if style_image is not None:
            style_image = check_image(style_image, "style image", contrast=True)
        empty = clip.encode_from_tokens_scheduled(clip.tokenize(""))

        def backwards(latents: Tensor) -> Tensor:
            return photo_noise(without_adapters(model), empty, latents, steps)

        start, palette = own_noise(vae.encode, backwards, photo, style_image, resolution, palette_hold)
        return io.NodeOutput({"samples": start, MARK: Start(palette)})


def check_start(start: dict) -> tuple[dict, Palette | None]:
    """The plain LATENT of ACFun Photo Noise, and whose palette the portrait takes.

    Raises:
        ACFunError: it is another node's.
    """
    if MARK not in start:
        raise ACFunError(
            "The start is an ordinary latent, not the noise of a photo.",
            "the output of ACFun Photo Noise",
            "connect that node, or use ACFun Text Encode and KSampler to draw over a latent",
        )
    return {"samples": start["samples"]}, start[MARK].palette

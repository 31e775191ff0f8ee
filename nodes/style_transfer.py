"""ACFun Style Transfer: a MODEL that draws a photo in a picture's style, with any sampler and without a training."""

from __future__ import annotations

import torch
from comfy_api.latest import io
from torch import Tensor

from ..acfun_core.config import DrawConfig, TransferConfig
from ..acfun_core.demo_base import NATIVE_SIDE
from ..acfun_core.images import check_batch, check_image, check_side, square
from ..acfun_core.options import options_of
from ..acfun_core.presets import PRESETS
from ..acfun_core.presets import preset as named
from .faces import tell
from .host.families import check_together
from .host.transfer import Transferring, read_beside
from .host.unet import apply_transfer, without_adapters
from .schema import TransferOptions, schema, widget


def draws_beside(model, clip, vae, photo: Tensor, style_image: Tensor, side: int, steps: int, config: TransferConfig):
    """A clone of ``model`` that draws beside a photo and a style picture, whose middle squares are taken.

    Args:
        photo: IMAGE of one photo, or one for each portrait. side: of the portraits in pixels. steps: back to the noise.
    """
    check_together(model, clip)
    photo, style_image = check_batch(photo, "photo"), check_image(style_image, "style image", contrast=True)
    check_side("portrait's side", side, 8, most=2048)
    latents = vae.encode(torch.cat([square(one, side) for one in (photo, style_image)]))
    beside = read_beside(without_adapters(model), clip, latents[:-1], latents[-1:], steps, config)
    return apply_transfer(model, Transferring(beside))


class ACFunStyleTransfer(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunStyleTransfer",
            display_name="ACFun Style Transfer",
            description=(
                "Draws the person of a photo in the style of a picture, without any training, with KSampler or any other "
                "sampler: the MODEL starts from the photo's noise and takes colours, strokes and lines from the style picture."
            ),
            search_aliases=[
                "instant style",
                "StyleID",
                "visual style prompting",
                "style without training",
                "InstantStyle",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The MODEL of the base; LoRA and ACFun adapters on it stay."),
                io.Clip.Input("clip", tooltip="The CLIP of the base."),
                io.Vae.Input("vae", tooltip="The VAE of the base."),
                io.Image.Input(
                    "photo",
                    tooltip="The face, best from Crop Face. The middle square is used; of a batch, one for each portrait.",
                ),
                io.Image.Input(
                    "style_image",
                    tooltip="One picture in the wanted style, best a portrait. The middle square is used.",
                ),
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default="instant",
                    tooltip=(
                        "instant: cfg 1 in the sampler. keep_person: cfg 1, with its adapter on the MODEL. follow_text: cfg 4, "
                        "and the medium named in the prompt. Good: instant."
                    ),
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip=(
                        "How much stroke and line beside the colours, a factor of branch swap, latent swap and return: 0 is "
                        "mostly colours; toward 2, eyes suffer. Good: 1."
                    ),
                ),
                io.Int.Input(
                    "resolution",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip=f"Side of the portrait in pixels. Good: 512, 1024 for SDXL, {NATIVE_SIDE} for the demo base.",
                ),
                widget(
                    DrawConfig, "steps", "Steps back to the noises of both pictures. Good: as many as the sampler has."
                ),
                TransferOptions.Input(
                    "options",
                    optional=True,
                    tooltip="What exactly is taken, from ACFun Transfer Options, in place of the preset. Good: left open.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="For a sampler that adds noise at denoise 1, such as KSampler. Good: cfg 1, ddim or euler.",
                ),
                io.Latent.Output(display_name="latent", tooltip="An empty latent of the right size, for the sampler."),
            ],
        )

    @classmethod
    def execute(
        cls, model, clip, vae, photo, style_image, preset, strength, resolution, steps, options=None
    ) -> io.NodeOutput:
        config = (options or named(preset).transfer).stronger(strength)
        DrawConfig(steps=steps)
        if config.calm and len(photo) == 1:
            tell("calm is for the frames of a film: a single photo has no neighbours, and nothing is led.")
        patched = draws_beside(model, clip, vae, photo, style_image, resolution, steps, config)
        empty = torch.zeros(len(photo), 4, resolution // 8, resolution // 8)
        return io.NodeOutput(patched, {"samples": empty})


class ACFunTransferOptions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunTransferOptions",
            display_name="ACFun Transfer Options",
            description="What exactly a portrait takes from its photo and from the style picture while it is drawn.",
            inputs=[widget(TransferConfig, name) for name in options_of(TransferConfig)],
            outputs=[
                TransferOptions.Output(display_name="options", tooltip="For the options input of ACFun Style Transfer.")
            ],
        )

    @classmethod
    def execute(cls, **values) -> io.NodeOutput:
        return io.NodeOutput(TransferConfig(**values))

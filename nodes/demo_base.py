"""Load ACFun Demo Base."""

from __future__ import annotations

from comfy_api.latest import io

from .host.demo_base import load_demo_base
from .schema import schema


class LoadACFunDemoBase(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunLoadDemoBase",
            display_name="Load ACFun Demo Base",
            description=(
                "The small text-to-portrait model that comes with the pack, so that everything runs without a "
                "download. Swap it for Load Checkpoint with a Stable Diffusion 1.x file."
            ),
            inputs=[],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The UNet, in Stable Diffusion 1.x layout."),
                io.Clip.Output(display_name="clip", tooltip="The text encoder."),
                io.Vae.Output(display_name="vae", tooltip="The autoencoder."),
                io.ClipVision.Output(
                    display_name="clip_vision", tooltip="The image encoder, in the text encoder's space."
                ),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(*load_demo_base())

"""ACFun Example Image: the pictures that come with the pack."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image

from ..acfun_core.errors import ACFunError
from .host.example_pictures import EXAMPLES
from .schema import schema


def list_examples() -> list[str]:
    return sorted(path.name for path in EXAMPLES.glob("*") if path.suffix in (".png", ".jpg"))


class ACFunExampleImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunExampleImage",
            display_name="ACFun Example Image",
            description=(
                "A face or style picture that comes with the pack, so that its workflows run without files of your own."
            ),
            inputs=[
                io.Combo.Input(
                    "picture",
                    options=list_examples(),
                    tooltip=(
                        "Names that start with face_ are photos, with style_ artworks. Replace this node by Load "
                        "Image for your own."
                    ),
                )
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The picture.")],
        )

    @classmethod
    def execute(cls, picture) -> io.NodeOutput:
        if picture not in list_examples():
            raise ACFunError(
                f"There is no example picture {picture!r}.",
                "one of: " + ", ".join(list_examples()),
                "choose one from the list",
            )
        with Image.open(EXAMPLES / picture) as file:
            pixels = np.asarray(file.convert("RGB"), dtype=np.float32) / 255.0
        return io.NodeOutput(torch.from_numpy(pixels)[None])

"""ACFun Face Parts: a mask from landmarks, so that a style acts on some parts of a face more than on others."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..acfun_core.images import check_image
from ..acfun_core.landmarks import check_landmarks
from ..acfun_core.regions import REGIONS, region_masks, weighted_mask
from .schema import Landmarks, schema

_WHAT = {
    "eyes": "the eyes with the eyebrows",
    "nose": "the nose",
    "mouth": "the mouth",
    "skin": "the rest of the face, from forehead to chin",
    "hair": "the hair, above and beside the face",
    "background": "everything else, neck and clothes included",
}


class ACFunFaceParts(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunFaceParts",
            display_name="ACFun Face Parts",
            description=(
                "A mask that makes a style stronger or weaker on each part of a face: eyes, nose, mouth, skin, hair and "
                "background, placed by five landmarks."
            ),
            search_aliases=["face mask", "regional style", "landmarks to mask"],
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip=(
                        "A picture with the face where the portrait will have it: the training photo, or a portrait "
                        "drawn without the mask."
                    ),
                ),
                Landmarks.Input("landmarks", tooltip="Five points of the face in that picture, from Find Face."),
                *(
                    io.Float.Input(
                        name,
                        default=1.0,
                        min=0.0,
                        max=2.0,
                        step=0.05,
                        tooltip=f"How much the style changes {what}: 0 not, 1 as trained. Good: 0.5 to 1.5.",
                    )
                    for name, what in _WHAT.items()
                ),
                io.Float.Input(
                    "softness",
                    default=0.15,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="Width of the borders, in distances between the eyes; 0 is hard. Good: 0.15.",
                ),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="mask", tooltip="All parts in one, 0 to 2. For ACFun Adapter Options or a mix."
                ),
                io.Mask.Output(
                    display_name="parts", tooltip="Six masks in the order of the widgets, for other nodes; each 0 to 1."
                ),
            ],
        )

    @classmethod
    def execute(cls, image, landmarks, softness, **weights) -> io.NodeOutput:
        picture = check_image(image, "image")
        points = check_landmarks(landmarks, picture, "landmarks")
        parts = region_masks(points, *picture.shape[1:3], softness)
        mask = weighted_mask(parts, {name: weights[name] for name in REGIONS})
        return io.NodeOutput(mask, parts, ui=ui.PreviewMask(mask / 2, cls=cls))

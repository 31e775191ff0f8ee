"""ACFun Face Parts: a mask from landmarks, so that a style acts on some parts of a face more than on others."""

from __future__ import annotations

import json

import torch
from comfy_api.latest import io, ui
from torch import Tensor
from torch.nn import functional as F

from ..acfun_core.faces.landmarks import check_landmarks
from ..acfun_core.faces.regions import REGIONS, map_picture, region_masks, region_strengths, weighted_mask
from ..acfun_core.images import check_image
from .schema import Landmarks, schema

AS_TRAINED = json.dumps(dict.fromkeys(REGIONS, 1.0))
PICTURE_SIDE, MAP_SIDE = 256, 128  # pixels of the longer side, of what the widget shows


class RegionsInput(io.String.Input):
    """A text, JSON, that the editor shows as a face with one slider a region (web/acfun_regions.js)."""

    def as_dict(self) -> dict:
        # Not the widget_type of newer hosts: with it the wire would no longer be a STRING.
        return {**super().as_dict(), "widgetType": "ACFUN_REGIONS"}


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
            search_aliases=["face mask", "regional style", "landmarks to mask", "region strengths"],
            # The face for the widget is sent again then when nothing has to be computed, as after a reload of the page.
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip=(
                        "A picture with the face where the portrait will have it: the training photo, or a portrait "
                        "drawn without the mask."
                    ),
                ),
                Landmarks.Input("landmarks", tooltip="Five points of the face in that picture, from Find Face."),
                RegionsInput(
                    "regions",
                    default=AS_TRAINED,
                    tooltip=(
                        "How much the style changes each region: 0 not, 1 as trained, up to 2. Click a region in the "
                        "picture, or use the sliders. Good: 0.5 to 1.5."
                    ),
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
                    display_name="parts", tooltip="Six masks in the order of the sliders, for other nodes; each 0 to 1."
                ),
            ],
        )

    @classmethod
    def execute(cls, image, landmarks, regions, softness) -> io.NodeOutput:
        strengths = region_strengths(regions)
        picture = check_image(image, "image")
        points = check_landmarks(landmarks, picture, "landmarks")
        parts = region_masks(points, *picture.shape[1:3], softness)
        mask = weighted_mask(parts, strengths)
        shown = {"acfun_regions": [face_for_widget(picture, points)]}
        return io.NodeOutput(mask, parts, ui={**ui.PreviewMask(mask / 2, cls=cls).as_dict(), **shown})


def face_for_widget(picture: Tensor, landmarks: Tensor) -> dict:
    """The face (1, H, W, 3) and the map of its regions as small files in the temp folder -> where the editor finds them."""
    shown = resized(picture, PICTURE_SIDE)
    height, width = resized(picture, MAP_SIDE).shape[1:3]
    scale = torch.tensor([width / picture.shape[2], height / picture.shape[1]])
    regions = map_picture(landmarks * scale, height, width)
    # Half a step up, because the host cuts values down to whole numbers.
    saved = {"picture": shown, "map": (regions[None, :, :, None].expand(-1, -1, -1, 3) + 0.5) / 255}
    return {name: ui.PreviewImage(pixels).values[0] for name, pixels in saved.items()}


def resized(picture: Tensor, side: int) -> Tensor:
    """The picture (1, H, W, 3) with a longer side of this many pixels."""
    factor = side / max(picture.shape[1:3])
    size = [max(1, round(length * factor)) for length in picture.shape[1:3]]
    smaller = F.interpolate(picture.movedim(-1, 1), size=size, mode="bilinear", antialias=True)
    return smaller.movedim(1, -1).clamp(0, 1)

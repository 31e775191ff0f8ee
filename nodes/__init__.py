"""The pack's nodes, in the order of a graph."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io
from typing_extensions import override

from .adapter_options import ACFunAdapterOptions
from .adapters import ApplyACFunAdapter, LoadACFunAdapter, SaveACFunAdapter
from .demo_base import LoadACFunDemoBase
from .each_face import EachFace
from .example_image import ACFunExampleImage
from .export import ACFunExportAdapter
from .face_parts import ACFunFaceParts
from .faces import CropFace, FindFace, PasteFace
from .host.example_pictures import offer_examples
from .host.files import register_folder
from .mix_adapters import ACFunMixAdapters
from .panel.events import register_routes
from .photo_noise import ACFunPhotoNoise
from .sample import ACFunSampler, ACFunTextEncode
from .score import PickBestOfN, ScoreACFunResult
from .splice import SpliceFaceParts, SpliceFaces
from .style_transfer import ACFunStyleTransfer, ACFunTransferOptions
from .train import TrainACFunStyle
from .train_options import ACFunTrainOptions
from .train_slider import TrainACFunSlider

NODES: list[type[io.ComfyNode]] = [
    LoadACFunDemoBase,
    ACFunExampleImage,
    FindFace,
    CropFace,
    EachFace,
    PasteFace,
    SpliceFaces,
    SpliceFaceParts,
    ACFunTrainOptions,
    TrainACFunStyle,
    TrainACFunSlider,
    SaveACFunAdapter,
    ACFunExportAdapter,
    LoadACFunAdapter,
    ACFunFaceParts,
    ACFunAdapterOptions,
    ACFunMixAdapters,
    ApplyACFunAdapter,
    ACFunTextEncode,
    ACFunPhotoNoise,
    ACFunTransferOptions,
    ACFunStyleTransfer,
    ACFunSampler,
    ScoreACFunResult,
    PickBestOfN,
]


class ACFunExtension(ComfyExtension):
    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> ACFunExtension:
    register_folder()
    register_routes()
    offer_examples()
    return ACFunExtension()

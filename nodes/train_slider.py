"""Train ACFun Slider: photos and two descriptions in, a slider out."""

from __future__ import annotations

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io

from ..acfun_core.config import PLACEHOLDER
from ..acfun_core.demo_base import NATIVE_SIDE
from ..acfun_core.images import check_batch, check_side, square
from ..acfun_core.training.keeper import StateKeeper
from ..acfun_core.training.key import slider_key
from ..acfun_core.training.memory import fitting
from ..acfun_core.training.slider import (
    Between,
    SliderConfig,
    check_slider,
    check_slider_mask,
    train_slider,
    where_wanted,
)
from .faces import tell, warn
from .host import files, resume
from .host.families import check_together
from .host.frozen_base import load_for_training, trainable
from .host.pictures import encode_pictures
from .host.resume import base_identity
from .host.sliding import under
from .host.written import vanished
from .schema import Adapter, LinkedAdapter, schema, widget


class TrainACFunSlider(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunTrainSlider",
            display_name="Train ACFun Slider",
            description=(
                "Learns one feature, such as a smile, age or glasses, from two descriptions. The strength of what was learned "
                "is a slider, beside any style and preset."
            ),
            search_aliases=["concept slider", "smile slider", "age slider", "edit face"],
            is_output_node=True,
            inputs=[
                io.Model.Input(
                    "model", tooltip="The MODEL of the base. It is only read: what is learned goes into the adapter."
                ),
                io.Clip.Input("clip", tooltip="The text encoder of the same checkpoint."),
                io.Vae.Input("vae", tooltip="The VAE of the same checkpoint."),
                io.Image.Input(
                    "photos",
                    tooltip=(
                        "Photos of faces to learn on, one or a batch; what is learned serves other faces too. Good: a few "
                        "people from Crop Face."
                    ),
                ),
                io.String.Input(
                    "more",
                    default="a photo of a smiling person",
                    multiline=True,
                    tooltip="Where strength 1 leads. Good: few words, such as 'a photo of a smiling person'.",
                ),
                io.String.Input(
                    "less",
                    default="a photo of a serious person",
                    multiline=True,
                    tooltip="What it leads away from, in the same words otherwise. Good: 'a photo of a serious person'.",
                ),
                widget(SliderConfig, "steps", "Training steps, each with three passes of the UNet. Good: 150."),
                widget(SliderConfig, "learning_rate"),
                widget(SliderConfig, "push"),
                widget(SliderConfig, "seed", control_after_generate=False),
                io.Int.Input(
                    "resolution",
                    default=512,
                    min=64,
                    max=2048,
                    step=64,
                    tooltip=(
                        "Side of the photos in pixels. Good: 512 for Stable Diffusion 1.x, 1024 for SDXL, "
                        f"{NATIVE_SIDE} for the demo base."
                    ),
                ),
                io.String.Input(
                    "name",
                    default="my_slider",
                    tooltip=(
                        "File name of the slider in models/acfun; a number is added, nothing is overwritten. Good: what it "
                        "changes."
                    ),
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the change is wanted, for all photos or one a photo. Good: left open.",
                ),
            ],
            outputs=[
                Adapter.Output(
                    display_name="adapter",
                    tooltip="The slider. Goes into Apply ACFun Adapter, alone or through ACFun Mix Adapters.",
                ),
                io.String.Output(display_name="path", tooltip="Where it was saved."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, name=None, **inputs):
        return vanished(name)

    @classmethod
    def execute(cls, model, clip, vae, photos, more, less, resolution, name, mask=None, **settings) -> io.NodeOutput:
        slider, config = check_slider(more, less), SliderConfig(**settings)
        check_side("resolution", resolution, 64, most=2048)
        check_together(model, clip)
        photos = check_batch(photos, "photo")
        mask = check_slider_mask(mask, photos.split(1))
        path = files.new_adapter_path(name)
        files.check_writable(path)

        latents = torch.cat([encode_pictures(model, vae, square(one, resolution)) for one in photos.split(1)])
        where = where_wanted(mask, resolution)
        pair = latents[:1].expand(2, -1, -1, -1)
        model, clip = load_for_training(model, clip, pair, warn)
        key = slider_key(slider, config, resolution, photos.split(1), mask, base_identity(model, clip, vae))
        progress = comfy.utils.ProgressBar(config.steps)

        def on_step(step: int, loss: float) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            progress.update_absolute(step, config.steps)

        def train(keeper: StateKeeper):
            with trainable(model, clip, PLACEHOLDER) as base:
                between = Between(slider, *(under(text, model, clip, base) for text in slider))
                free = comfy.model_management.get_free_memory(base.device)
                with fitting(base, pair, config.training, "auto", free, tell):
                    return train_slider(base, latents, between, config, on_step, where, keeper)

        adapter, path = resume.once(key, name, path, config.steps, train, tell)
        if adapter.record.skipped_steps:
            warn(f"{adapter.record.skipped_steps} of {config.steps} steps were left out (gradient overflow).")
        return io.NodeOutput(LinkedAdapter(adapter), str(path))

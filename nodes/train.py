"""Train ACFun Style: one style image and one face photo in, an adapter out."""

from __future__ import annotations

import logging

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io, ui

from ..acfun_core.config import PLACEHOLDER, AdapterConfig, Strengths, TrainConfig
from ..acfun_core.diffusion.ddim import ddim_sample
from ..acfun_core.embedded import NATIVE_SIDE
from ..acfun_core.errors import ACFunError
from ..acfun_core.host import Base
from ..acfun_core.images import check_image
from ..acfun_core.method.adapter import StyleAdapter
from ..acfun_core.method.mixing import block_transforms
from ..acfun_core.storage import adapter_file
from ..acfun_core.training.loop import StepReport, train_adapter
from ..acfun_core.training.material import Material
from ..acfun_core.unet.blocks import channels_to_train, find_sites
from ..acfun_core.unet.injection import injected
from .host import files
from .host.encoding import check_picture_mask, encode_material, encode_pair, style_tokens
from .host.families import check_together, text_width
from .host.frozen import differentiable
from .host.text import DescriptionSide, encode_tokens
from .host.unet import NoisePredictor, base_key_of, schedule_of
from .panel import events
from .panel.previews import draw_loss_curve, preview_image
from .schema import Adapter, LinkedAdapter, TrainOptions, schema
from .train_options import ChosenOptions

PREVIEW_SAMPLER_STEPS = 10
PREVIEW_LARGEST_SIDE = 512


class TrainACFunStyle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunTrainStyle",
            display_name="Train ACFun Style",
            description=(
                "Learns to draw the face in the style, from one picture of each, on the MODEL in the graph. The "
                "MODEL stays as it is."
            ),
            search_aliases=["face style transfer", "stylize portrait", "train style"],
            is_output_node=True,
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="A Stable Diffusion 1.x or SDXL MODEL. It is only read: what is learned goes into the adapter.",
                ),
                io.Clip.Input("clip", tooltip="The text encoder of the same checkpoint."),
                io.Vae.Input("vae", tooltip="The VAE of the same checkpoint."),
                io.ClipVision.Input(
                    "clip_vision",
                    tooltip="Reads the style image. For Stable Diffusion 1.x: CLIP ViT-L/14 or ViT-H/14 vision.",
                ),
                io.Image.Input(
                    "style_image",
                    tooltip="One picture in the wanted style, best a portrait. The middle square of it is used.",
                ),
                io.Image.Input(
                    "face_image", tooltip="One photo of the face, head and shoulders. The middle square of it is used."
                ),
                io.String.Input(
                    "description",
                    default=f"a painting of a woman in {PLACEHOLDER} style",
                    multiline=True,
                    tooltip=(
                        f"Describes the face, with {PLACEHOLDER} where the name of the style would stand. Good: 'a"
                        f" painting of a man in {PLACEHOLDER} style'."
                    ),
                ),
                io.Int.Input(
                    "steps",
                    default=500,
                    min=1,
                    max=100_000,
                    tooltip=(
                        "Training steps, each with one style pass and one face pass. More copies the two "
                        "pictures, fewer forgets them. Good: 500."
                    ),
                ),
                io.Float.Input(
                    "learning_rate",
                    default=1e-4,
                    min=0.0,
                    max=1.0,
                    step=1e-6,
                    round=False,
                    tooltip="How far each step goes. The same value serves small and large bases. Good: 0.0001.",
                ),
                io.Float.Input(
                    "style_weight",
                    default=0.8,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="Weight of the style image in the loss. Higher: more style, less person. Good: 0.8.",
                ),
                io.Float.Input(
                    "face_weight",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="Weight of the face photo in the loss. Higher: more person, less style. Good: 1.0.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=False,
                    tooltip=(
                        "Start of all chance in training. The same seed and inputs give the same adapter. Any "
                        "number is good."
                    ),
                ),
                io.Int.Input(
                    "resolution",
                    default=512,
                    min=64,
                    max=2048,
                    step=64,
                    tooltip=(
                        "Side in pixels at which both pictures are learned. Good: 512 for Stable Diffusion 1.x, "
                        f"1024 for SDXL, {NATIVE_SIDE} for the demo base."
                    ),
                ),
                io.Int.Input(
                    "preview_every",
                    default=50,
                    min=0,
                    max=10_000,
                    tooltip=(
                        "Shows a quick portrait every so many steps; each costs about four training steps. 0 "
                        "shows none. Good: 50."
                    ),
                ),
                io.String.Input(
                    "name",
                    default="my_style",
                    tooltip=(
                        "File name of the adapter in models/acfun; a number is added, nothing is overwritten. "
                        "Good: the style's name."
                    ),
                ),
                TrainOptions.Input(
                    "options",
                    optional=True,
                    tooltip="All other choices of the method, from ACFun Train Options. Good: left open.",
                ),
            ],
            outputs=[
                Adapter.Output(
                    display_name="adapter",
                    tooltip="What was learned. Goes into Apply ACFun Adapter or Save ACFun Adapter.",
                ),
                io.Image.Output(display_name="loss_curve", tooltip="Both loss terms over the steps, as a picture."),
                io.String.Output(display_name="path", tooltip="Where the adapter was saved."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model,
        clip,
        vae,
        clip_vision,
        style_image,
        face_image,
        description,
        steps,
        learning_rate,
        style_weight,
        face_weight,
        seed,
        resolution,
        preview_every,
        name,
        options=None,
    ) -> io.NodeOutput:
        options = options or ChosenOptions()
        adapter_config = AdapterConfig(description=description, **options.adapter)
        config = TrainConfig(
            steps=steps,
            learning_rate=learning_rate,
            style_weight=style_weight,
            face_weight=face_weight,
            seed=seed,
            **options.train,
        )
        if not isinstance(resolution, int) or not 64 <= resolution <= 2048 or resolution % 64:
            raise ACFunError(
                f"The resolution is {resolution}.",
                "a multiple of 64 from 64 to 2048",
                f"use 512, or {NATIVE_SIDE} for the demo base",
            )
        if not isinstance(preview_every, int) or preview_every < 0:
            raise ACFunError(f"preview_every is {preview_every}.", "0 or more", "use 50, or 0 for no previews")
        check_together(model, clip)
        style, face = check_image(style_image, "style image"), check_image(face_image, "face image")
        masks = (
            check_picture_mask(options.style_mask, style, "style"),
            check_picture_mask(options.face_mask, face, "face"),
        )
        path = files.new_adapter_path(name)
        files.check_writable(path, expected_file_bytes(model, clip, adapter_config))

        with events.watch(config.steps, cls.hidden) as watch:
            latents = encode_pair(model, vae, style, face, resolution)
            material = encode_material(model, vae, style, config, resolution, *masks)
            tokens = style_tokens(clip_vision, style)
            adapter = learn(model, clip, vae, latents, tokens, material, adapter_config, config, preview_every, watch)
            adapter_file.save(adapter, path)
            watch.saved(path, adapter.record.kept_step)

        if adapter.record.skipped_steps:
            logging.warning(
                "ACFun: %d of %d steps were left out (gradient overflow).", adapter.record.skipped_steps, steps
            )
        curve = draw_loss_curve(adapter.record.style_loss, adapter.record.face_loss)
        return io.NodeOutput(LinkedAdapter(adapter), curve, str(path), ui=ui.PreviewImage(curve, cls=cls))


def expected_file_bytes(model, clip, config: AdapterConfig) -> int:
    """Upper estimate of the adapter's file size."""
    sites = find_sites(model.model.diffusion_model)
    inputs = 2 if config.stats == "mean_std" else 1
    cfun = sum(2 * (inputs * c * c + c) for c in channels_to_train(sites, config.blocks, config.place).values())
    afun = config.layers * 4 * config.heads * config.head_width * 2048 + text_width(clip) ** 2
    return 2 * (cfun + afun) + 2**20


def learn(
    model,
    clip,
    vae,
    latents,
    tokens,
    material: Material,
    adapter_config: AdapterConfig,
    config: TrainConfig,
    preview_every: int,
    watch: events.Watch,
) -> StyleAdapter:
    """Run the core's training on the graph's model with progress, previews and cancel; the model is left as it was."""
    comfy.model_management.load_models_gpu(
        [model, clip.patcher], memory_required=4 * model.memory_required(list(latents.shape))
    )
    schedule = schedule_of(model)
    progress = comfy.utils.ProgressBar(config.steps)
    with differentiable(model.model, clip.cond_stage_model):
        text = DescriptionSide(clip, adapter_config.training_text)
        predict_noise, sites = NoisePredictor(model, schedule, text), find_sites(model.model.diffusion_model)
        kind = text.family.name, base_key_of(model)
        base = Base(predict_noise, sites, text, schedule, model.load_device, *kind)
        preview = PortraitPreview(base, model, clip, vae, latents.shape[-2:], config.seed)

        def on_step(report: StepReport) -> bool:
            comfy.model_management.throw_exception_if_processing_interrupted()
            due = preview_every and (report.step % preview_every == 0 or report.step == report.steps)
            portrait = preview(report.adapter) if due else None
            progress.update_absolute(report.step, report.steps, portrait)
            return watch.step(report, portrait and portrait[1], report.readouts)

        return train_adapter(base, latents, tokens, adapter_config, config, on_step, material)


class PortraitPreview:
    """The portrait an adapter draws at some point of its training, always from the same noise."""

    def __init__(self, base: Base, model, clip, vae, latent_size, seed: int):
        self.base, self.model, self.vae = base, model, vae
        self.noise = torch.randn(1, 4, *latent_size, generator=torch.Generator().manual_seed(seed % 2**63)).to(
            base.device
        )
        with torch.no_grad():
            self.empty = encode_tokens(clip, clip.tokenize(""))[0].to(base.device)

    @torch.no_grad()
    def __call__(self, adapter: StyleAdapter) -> tuple:
        adapter.eval()
        try:
            context = adapter.condition(self.base.text)
            empty = self.empty.repeat(1, context.shape[1] // self.empty.shape[1], 1)
            with injected(self.base.sites, block_transforms([(adapter, Strengths())])):
                latent = ddim_sample(
                    self.base.predict_noise, self.base.schedule, self.noise, context, empty, PREVIEW_SAMPLER_STEPS
                )
        finally:
            adapter.train()
        return "JPEG", preview_image(latent, self.model, self.vae), PREVIEW_LARGEST_SIDE

"""Train ACFun Style: one style image and one face photo in, an adapter out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import comfy.model_management
import comfy.utils
from comfy_api.latest import io, ui
from torch import Tensor

from ..acfun_core.config import PLACEHOLDER, AdapterConfig, TrainConfig
from ..acfun_core.demo_base import NATIVE_SIDE
from ..acfun_core.errors import ACFunError
from ..acfun_core.images import check_image, check_side, check_styles
from ..acfun_core.masks import check_mask_of
from ..acfun_core.method.adapter import StyleAdapter
from ..acfun_core.presets import CUSTOM, PRESETS, training
from ..acfun_core.storage.embedding_file import read_row
from ..acfun_core.training.copy_guard import notice_of_copies
from ..acfun_core.training.keeper import StateKeeper
from ..acfun_core.training.key import given_pictures, training_key
from ..acfun_core.training.loop import StepReport, train_adapter
from ..acfun_core.training.material import Material, check_start, encode_pair, face_or_style
from ..acfun_core.training.memory import fitting
from .host import files, resume
from .host.families import check_together, text_width
from .host.frozen_base import load_for_training, trainable
from .host.pictures import encode_material, encode_pictures, style_tokens
from .host.resume import base_identity
from .host.written import vanished
from .panel import events
from .panel.loss_curve import draw_loss_curve
from .panel.previews import PortraitPreview
from .schema import Adapter, LinkedAdapter, TrainOptions, schema, widget
from .train_options import ChosenOptions

PREVIEW_LARGEST_SIDE = 512
TRAINED = tuple(name for name, one in PRESETS.items() if one.train is not None)


def _base_and_pictures() -> list[io.Input]:
    """What is learned from, on which base."""
    return [
        io.Model.Input(
            "model",
            tooltip="A Stable Diffusion 1.x, 2.x or SDXL MODEL. It is only read: what is learned goes into the adapter.",
        ),
        io.Clip.Input("clip", tooltip="The text encoder of the same checkpoint."),
        io.Vae.Input("vae", tooltip="The VAE of the same checkpoint."),
        io.ClipVision.Input(
            "clip_vision",
            tooltip="Reads the style image. For Stable Diffusion 1.x: CLIP ViT-L/14 or ViT-H/14 vision.",
        ),
        io.Image.Input(
            "style_image",
            tooltip=(
                "A picture in the wanted style, best a portrait, or a batch of up to 8 in one style. Their middle squares "
                "are used."
            ),
        ),
        io.Image.Input(
            "face_image",
            optional=True,
            tooltip=(
                "One photo of the face, head and shoulders. The middle square of it is used. Not needed where face_weight is "
                "0 or with the preset keep_person: the style alone is learned, for all faces."
            ),
        ),
    ]


def _what_is_learned() -> list[io.Input]:
    """The description, and the settings of the loss and the steps."""
    return [
        io.String.Input(
            "description",
            default=f"a painting of a woman in {PLACEHOLDER} style",
            multiline=True,
            tooltip=(
                f"Describes the face, with {PLACEHOLDER} where the name of the style would stand. Good: 'a"
                f" painting of a man in {PLACEHOLDER} style'."
            ),
        ),
        widget(
            TrainConfig,
            "steps",
            "Training steps, each with one style pass and one face pass. More copies the two pictures, fewer forgets "
            "them. Good: 500.",
        ),
        widget(
            TrainConfig,
            "learning_rate",
            "How far each step goes. The same value serves small and large bases. Good: 0.0001.",
        ),
        widget(
            TrainConfig,
            "style_weight",
            "Weight of the style image in the loss. Higher: more style, less person. Good: 0.8.",
        ),
        widget(
            TrainConfig,
            "face_weight",
            "Weight of the face photo in the loss. Higher: more person, less style. Good: 1.0.",
        ),
        widget(
            TrainConfig,
            "seed",
            "Start of all chance in training. The same seed and inputs give the same adapter. Any number is good.",
            control_after_generate=False,
        ),
    ]


def _how_it_goes() -> list[io.Input]:
    """Size, previews, name, and more choices."""
    return [
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
            tooltip="More choices, from ACFun Train Options. Good: left open.",
        ),
        io.Combo.Input(
            "preset",
            options=[*TRAINED, CUSTOM],
            default=CUSTOM,
            optional=True,
            tooltip=(
                "keep_person learns the style alone in a short training for all faces: steps, learning_rate and weights then "
                "have no say. custom: all as set here. Good: keep_person, and the same in the sampler."
            ),
        ),
    ]


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
            inputs=[*_base_and_pictures(), *_what_is_learned(), *_how_it_goes()],
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
    def fingerprint_inputs(cls, name=None, **inputs):
        return vanished(name)

    @classmethod
    def execute(
        cls,
        model,
        clip,
        vae,
        clip_vision,
        style_image,
        description,
        steps,
        learning_rate,
        style_weight,
        face_weight,
        seed,
        resolution,
        preview_every,
        name,
        face_image=None,
        options=None,
        preset=CUSTOM,
    ) -> io.NodeOutput:
        options = options or ChosenOptions()
        if preset == CUSTOM:
            own = {"learning_rate": learning_rate, "style_weight": style_weight, "face_weight": face_weight}
            config = TrainConfig(steps=steps, seed=seed, **own, **options.train)
        else:
            config = training(preset, seed, options.train)
            description = PRESETS[preset].prompt if PRESETS[preset].style_only else description
        adapter_config = AdapterConfig(description=description, **options.adapter)
        check_side("resolution", resolution, 64, most=2048)
        if not isinstance(preview_every, int) or preview_every < 0:
            raise ACFunError(f"preview_every is {preview_every}.", "0 or more", "use 50, or 0 for no previews")
        check_together(model, clip)
        pictures = checked_pictures(style_image, face_image, options, config)
        row = None if options.start_embedding is None else read_row(options.start_embedding)
        check_start(row, adapter_config, text_width(clip))
        path = files.new_adapter_path(name)
        files.check_writable(path)

        with events.watch(config.steps, cls.hidden) as watch:
            seen = what_is_seen(model, vae, clip_vision, pictures, config, resolution, row)
            model, clip = load_for_training(model, clip, seen[0], watch.notice)
            identity = base_identity(model, clip, vae, clip_vision)
            given = given_pictures(*pictures.values(), row)
            key = training_key(adapter_config, config, resolution, given, identity)

            def train(keeper: StateKeeper) -> StyleAdapter:
                latents, tokens, material = seen
                with trainable(model, clip, adapter_config.training_text, watch.check_cancelled) as base:
                    preview = PortraitPreview(base, model, clip, vae, latents.shape[-2:], config.seed)
                    on_step = following(watch, preview, preview_every, config)
                    given = adapter_config, config, on_step, material, keeper
                    free = comfy.model_management.get_free_memory(base.device)
                    with fitting(base, latents, config, options.checkpointing, free, watch.notice):
                        return train_adapter(base, latents, tokens, *given, say=watch.notice)

            adapter, path = resume.once(key, name, path, config.steps, train, watch.notice, options.keep_state)
            notice = notice_of_copies(adapter.record)
            if notice:
                watch.notice(notice)
            watch.saved(path, len(adapter.record.style_loss), adapter.record.kept_step)

        if adapter.record.skipped_steps:
            logging.warning(
                "ACFun: %d of %d steps were left out (gradient overflow).", adapter.record.skipped_steps, config.steps
            )
        curve = draw_loss_curve(adapter.record.style_loss, adapter.record.face_loss)
        return io.NodeOutput(LinkedAdapter(adapter), curve, str(path), ui=ui.PreviewImage(curve, cls=cls))


def checked_pictures(style_image, face_image, options: ChosenOptions, config: TrainConfig) -> dict[str, Tensor | None]:
    """Style pictures (K, H, W, 3), face (1, H, W, 3) and their masks (K or 1, H, W) by name, or an error about the first that
    cannot be used."""
    style = check_styles(style_image, "style image")
    face = face_or_style(
        None if face_image is None else check_image(face_image, "face image", contrast=True), style, config
    )
    return {
        "style": style,
        "face": face,
        "style_mask": check_mask_of(options.style_mask, style, "style"),
        "face_mask": check_mask_of(options.face_mask, face, "face"),
    }


def what_is_seen(
    model,
    vae,
    clip_vision,
    pictures: dict[str, Tensor | None],
    config: TrainConfig,
    resolution: int,
    row: Tensor | None,
) -> tuple[Tensor, Tensor, Material]:
    """Latents (2, 4, h, w), the style's tokens (N, width) or (K, N, width), and further material."""
    style, face, *masks = pictures.values()
    latents = encode_pair(partial(encode_pictures, model, vae), style, face, resolution)
    material = encode_material(model, vae, style, config, resolution, *masks, row)
    tokens = style_tokens(clip_vision, style)
    return latents, tokens, material


def following(
    watch: events.Watch, preview: PortraitPreview, preview_every: int, config: TrainConfig
) -> Callable[[StepReport], bool]:
    """What the core calls after each step: progress, previews, and whether the user wants to stop."""
    progress = comfy.utils.ProgressBar(config.steps)

    def on_step(report: StepReport) -> bool:
        watch.check_cancelled()
        portrait = preview(report.adapter) if config.due(report.step, preview_every) else None
        shown = None if portrait is None else ("JPEG", portrait, PREVIEW_LARGEST_SIDE)
        progress.update_absolute(report.step, report.steps, shown)
        return watch.step(report, portrait, report.readouts)

    return on_step

"""Portraits from pure noise, and prompts with S* for any other sampler."""

from __future__ import annotations

import comfy.model_management
import comfy.samplers
import torch
from comfy_api.latest import io

import nodes as comfy_nodes

from ..acfun_core.config import INITIAL_WORD, PLACEHOLDER, DrawConfig, check_prompt
from ..acfun_core.errors import ACFunError
from ..acfun_core.method.pseudo_word import scaled_members, styles_of
from ..acfun_core.presets import CUSTOM, PRESETS
from .faces import warn
from .host.families import check_model
from .host.photo_noise import with_palette
from .host.text import with_style, without_style
from .host.unet import applied_adapters, with_strengths
from .photo_noise import check_start
from .schema import Adapter, LinkedAdapter, schema, widget
from .style_transfer import draws_beside


def encode(clip, linked: LinkedAdapter | None, text: str):
    """CONDITIONING of a text in which S* means the adapter's style; without an adapter it is a plain word."""
    styled = without_style(clip) if linked is None else with_style(clip, linked.members)
    return styled.encode_from_tokens_scheduled(styled.tokenize(text))


class ACFunTextEncode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunTextEncode",
            display_name="ACFun Text Encode",
            description=(
                f"Encodes a prompt in which {PLACEHOLDER} means the learned style, for KSampler and other stock "
                "samplers."
            ),
            inputs=[
                io.Clip.Input("clip", tooltip="The CLIP of the base; patched or not makes no difference."),
                Adapter.Input("adapter", tooltip="The adapter that says what S* means, with its abstract strength."),
                io.String.Input(
                    "text",
                    default=f"a painting of a woman in {PLACEHOLDER} style",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip=(
                        f"The prompt. {PLACEHOLDER} stands for the style; weights such as ({PLACEHOLDER}:1.2) and "
                        f"embedding: work as usual. Without {PLACEHOLDER} it is plain text, good for a negative "
                        "prompt."
                    ),
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="For the positive or negative input of a sampler."
                )
            ],
        )

    @classmethod
    def execute(cls, clip, adapter, text) -> io.NodeOutput:
        return io.NodeOutput(encode(clip, adapter, text))


def _what_to_draw() -> list[io.Input]:
    """The patched base, and the prompt."""
    return [
        io.Model.Input(
            "model",
            tooltip=(
                "The patched MODEL of Load or Apply ACFun Adapter (a LoRA or other patch may come in between). For the preset "
                "instant, the base's own."
            ),
        ),
        io.Clip.Input("clip", tooltip="The CLIP of the base; patched or not makes no difference."),
        Adapter.Input(
            "adapter",
            optional=True,
            tooltip="The adapter output of Load or Apply ACFun Adapter. The presets instant and follow_text need none.",
        ),
        io.String.Input(
            "prompt",
            default=f"a painting of a woman in {PLACEHOLDER} style",
            multiline=True,
            dynamic_prompts=True,
            tooltip=(
                f"What to draw, with {PLACEHOLDER} for the style. Change the words around it to edit: 'a "
                f"painting of a smiling woman in {PLACEHOLDER} style'."
            ),
        ),
        io.String.Input(
            "negative", default="", multiline=True, dynamic_prompts=True, tooltip="What to avoid. Good: empty."
        ),
    ]


def _how_to_draw() -> list[io.Input]:
    """The sampler's settings, and where it starts."""
    return [
        widget(DrawConfig, "seed", "The noise the portrait starts from. Try several.", control_after_generate=True),
        widget(DrawConfig, "steps", "Sampling steps. Good: 40, as in the paper."),
        widget(
            DrawConfig,
            "cfg",
            "How strictly the prompt is followed. Good: 5 to 7.5, or 3 on the demo base.",
            round=0.01,
        ),
        io.Combo.Input(
            "sampler_name",
            options=comfy.samplers.KSampler.SAMPLERS,
            default="ddim",
            tooltip="The sampling method. Good: ddim.",
        ),
        io.Combo.Input(
            "scheduler",
            options=comfy.samplers.KSampler.SCHEDULERS,
            default="normal",
            tooltip="How the steps are spread over the noise levels. Good: normal.",
        ),
        io.Int.Input(
            "width",
            default=512,
            min=64,
            max=4096,
            step=8,
            tooltip="Width in pixels. Good: the resolution of the training.",
        ),
        io.Int.Input(
            "height",
            default=512,
            min=64,
            max=4096,
            step=8,
            tooltip="Height in pixels. Good: the resolution of the training.",
        ),
        widget(DrawConfig, "batch", "How many portraits at once. Good: 1 to 4.", name="batch_size"),
        io.Latent.Input(
            "start",
            optional=True,
            tooltip=(
                "The noise of a photo, from ACFun Photo Noise: the portrait keeps the person. Seed, width, height and "
                "batch_size then have no say. Good with it: cfg 1."
            ),
        ),
    ]


def _by_preset() -> list[io.Input]:
    """One of the three ways to draw, and what it draws beside."""
    return [
        io.Combo.Input(
            "preset",
            options=[*PRESETS, CUSTOM],
            default=CUSTOM,
            optional=True,
            tooltip=(
                "keep_person needs an adapter that was trained with that preset, instant and follow_text need none. cfg then "
                "has no say, and strengths are multiplied with the preset's. custom: all as set here."
            ),
        ),
        io.Vae.Input(
            "vae", optional=True, tooltip="The VAE of the base. A preset reads photo and style_image with it."
        ),
        io.Image.Input("photo", optional=True, tooltip="The face, for a preset. Good: from Crop Face."),
        io.Image.Input("style_image", optional=True, tooltip="The style picture, for a preset."),
    ]


class ACFunSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunSampler",
            display_name="ACFun Sampler",
            description="Draws the face in the style from pure noise or from a photo's, with ComfyUI's own samplers.",
            inputs=[*_what_to_draw(), *_how_to_draw(), *_by_preset()],
            outputs=[io.Latent.Output(display_name="latent", tooltip="The portraits, for VAE Decode.")],
        )

    @classmethod
    def execute(
        cls,
        model,
        clip,
        prompt,
        negative,
        seed,
        steps,
        cfg,
        sampler_name,
        scheduler,
        width,
        height,
        batch_size,
        adapter=None,
        start=None,
        preset=CUSTOM,
        vae=None,
        photo=None,
        style_image=None,
    ) -> io.NodeOutput:
        check_model(model)
        if adapter is not None:
            check_carried(model, adapter)
            if styles_of(adapter.members):
                check_prompt(prompt)
        elif PLACEHOLDER in prompt + negative:
            warn(f"There is no adapter: {PLACEHOLDER} is read as the plain word {INITIAL_WORD}.")
        check_way(preset, adapter, start, {"vae": vae, "photo": photo, "style_image": style_image})
        palette, latent = None, noise_only(batch_size, height, width)
        if start is not None:
            latent, palette = check_start(start)
        elif preset != CUSTOM:
            check_square(width, height)
            tell_of_left_out(model, adapter, preset)
            cfg, adapter = PRESETS[preset].draw.cfg, scaled_adapter(adapter, preset)
            model = with_strengths(model, () if adapter is None else adapter.members)
            transfer = PRESETS[preset].transfer
            if batch_size > 1 and transfer.turn == 0 and len(photo) == 1:
                warn(
                    f"The preset {preset} starts from the photo's noise as it is: all {batch_size} portraits will be one."
                )
            model = draws_beside(model, clip, vae, photo, style_image, width, steps, transfer)
        model = with_palette(model, palette)
        positive, avoid = encode(clip, adapter, prompt), encode(clip, adapter, negative)
        settings = (model, seed, steps, cfg, sampler_name, scheduler, positive, avoid, latent)
        return io.NodeOutput(comfy_nodes.common_ksampler(*settings, disable_noise=start is not None)[0])


def check_way(preset: str, adapter: LinkedAdapter | None, start: dict | None, pictures: dict) -> None:
    """Raise unless what is connected makes up one way to draw.

    Args:
        pictures: what a preset draws beside, by the names of the inputs; None where it is missing.
    """
    learns = preset != CUSTOM and PRESETS[preset].train is not None
    if learns and adapter is not None and not styles_of(adapter.members):
        raise ACFunError(
            f"There is no style among the adapters, and the preset is {preset}.",
            "an adapter that was trained with that preset, beside the sliders",
            "mix one in, or choose instant",
        )
    if adapter is None and (preset == CUSTOM or learns):
        raise ACFunError(
            f"There is no adapter, and the preset is {preset}.",
            "the adapter output of Load or Apply ACFun Adapter, or a preset that needs none",
            "connect an adapter, or choose instant",
        )
    if preset == CUSTOM:
        return
    missing = [name for name, value in pictures.items() if value is None]
    if missing:
        raise ACFunError(
            f"The preset {preset} draws beside the photo and the style picture, and nothing is connected to "
            f"{', '.join(missing)}.",
            "vae, photo and style_image",
            "connect them, or choose custom",
        )
    if start is not None:
        raise ACFunError(
            f"The preset {preset} finds the photo's noise itself, and another one is connected to start.",
            "either a preset or a start",
            "disconnect start, or choose custom",
        )


def check_square(width: int, height: int) -> None:
    if width != height:
        raise ACFunError(
            f"The portrait is {width} x {height} pixels.",
            "a square one: a preset reads the middle squares of both pictures",
            "set width and height alike",
        )


def tell_of_left_out(model, linked: LinkedAdapter | None, preset: str) -> None:
    """Say in the log and on the node which adapters of the MODEL a preset leaves out: those that are not on the wire."""
    wired = () if linked is None else linked.members
    others = [adapter for adapter, _ in applied_adapters(model) if not any(adapter is one for one, _ in wired)]
    if others:
        warn(
            f"The preset {preset} draws with the adapters of the wire alone; the MODEL carries {len(others)} besides. "
            "Join them in ACFun Mix Adapters."
        )


def scaled_adapter(linked: LinkedAdapter | None, preset: str) -> LinkedAdapter | None:
    """The adapters of a wire with their strengths as the preset wants them."""
    if linked is None:
        return None
    return LinkedAdapter.of(scaled_members(linked.members, PRESETS[preset].strengths))


def noise_only(batch: int, height: int, width: int) -> dict:
    """An empty LATENT: the sampler adds the seed's noise to it."""
    device = comfy.model_management.intermediate_device()
    return {"samples": torch.zeros(batch, 4, height // 8, width // 8, device=device)}


def check_carried(model, linked: LinkedAdapter) -> None:
    """Raise if the MODEL does not carry this adapter with these strengths: half a style would pass for a weak one."""
    carried = applied_adapters(model)
    if not all(
        any(adapter is wanted and strengths == chosen for adapter, strengths in carried)
        for wanted, chosen in linked.members
    ):
        raise ACFunError(
            "The MODEL does not carry this adapter with these strengths.",
            "model and adapter from the same Load or Apply ACFun Adapter",
            "connect the model and adapter outputs of that node",
        )

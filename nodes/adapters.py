"""Adapters from files and wires onto a MODEL and a CLIP, and back into files."""

from __future__ import annotations

import dataclasses

from comfy_api.latest import io

from ..acfun_core.storage import adapter_file
from ..acfun_core.strengths import Strengths, product_of_masks
from .host import files
from .host.text import with_style
from .host.unet import apply_adapters
from .host.written import vanished, wrote
from .schema import Adapter, LinkedAdapter, options_input, schema, strength_inputs


def patched_outputs() -> list[io.Output]:
    return [
        io.Model.Output(
            display_name="model",
            tooltip="The MODEL with the style's CFun in its ResBlocks. Works with KSampler and ACFun Sampler.",
        ),
        io.Clip.Output(display_name="clip", tooltip="The CLIP with S* in its vocabulary. Works with CLIP Text Encode."),
        Adapter.Output(
            display_name="adapter", tooltip="The adapter with these strengths, for ACFun Sampler and ACFun Text Encode."
        ),
    ]


def graph_inputs() -> list[io.Input]:
    return [
        io.Model.Input(
            "model", tooltip="The MODEL to patch: the base the adapter was trained on. It is cloned, not changed."
        ),
        io.Clip.Input("clip", tooltip="The CLIP of the same checkpoint. It is cloned, not changed."),
    ]


def patch(model, clip, linked: LinkedAdapter, options: Strengths | None, **strengths: float) -> io.NodeOutput:
    """MODEL and CLIP with all adapters of a wire at these strengths.

    Args:
        options: windows, blocks, guidance and mask for all of them; weights and masks of a mix stay theirs.
        strengths: abstract, encoder, decoder.
    """
    chosen = dataclasses.replace(options or Strengths(), **strengths)
    members = [
        (adapter, dataclasses.replace(chosen, weight=own.weight, mask=product_of_masks(own.mask, chosen.mask)))
        for adapter, own in linked.members
    ]
    return io.NodeOutput(apply_adapters(model, members), with_style(clip, members), LinkedAdapter.of(members))


class LoadACFunAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunLoadAdapter",
            display_name="Load ACFun Adapter",
            description=(
                "Loads an adapter from models/acfun and patches MODEL and CLIP with it. Needs neither the style "
                "image nor CLIP vision."
            ),
            inputs=[
                *graph_inputs(),
                io.Combo.Input(
                    "adapter_name",
                    options=files.list_adapters(),
                    tooltip="An adapter in models/acfun. Train ACFun Style and Save ACFun Adapter write there.",
                ),
                *strength_inputs(),
                options_input(),
            ],
            outputs=patched_outputs(),
        )

    @classmethod
    def validate_inputs(cls, adapter_name) -> bool:
        # ComfyUI would compare it with the list letter by letter; adapter_path also knows the other separator of folders.
        return True

    @classmethod
    def fingerprint_inputs(cls, model=None, clip=None, adapter_name="", options=None, **strengths):
        # None: the name comes on a wire, and is known only when the node runs.
        if adapter_name is None:
            return files.fingerprint_of_all(), tuple(sorted(strengths.items()))
        path = files.adapter_path(adapter_name)
        status = path.stat()
        return str(path), status.st_mtime_ns, status.st_size, tuple(sorted(strengths.items()))

    @classmethod
    def execute(
        cls, model, clip, adapter_name, abstract_strength, encoder_strength, decoder_strength, options=None
    ) -> io.NodeOutput:
        linked = LinkedAdapter(adapter_file.load(files.adapter_path(adapter_name)))
        strengths = {"abstract": abstract_strength, "encoder": encoder_strength, "decoder": decoder_strength}
        return patch(model, clip, linked, options, **strengths)


class ApplyACFunAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunApplyAdapter",
            display_name="Apply ACFun Adapter",
            description=(
                "Patches MODEL and CLIP with an adapter from a wire, for instance straight from Train ACFun Style."
            ),
            inputs=[
                *graph_inputs(),
                Adapter.Input(
                    "adapter", tooltip="An adapter from Train ACFun Style, Load ACFun Adapter or ACFun Mix Adapters."
                ),
                *strength_inputs(),
                options_input(),
            ],
            outputs=patched_outputs(),
        )

    @classmethod
    def execute(
        cls, model, clip, adapter, abstract_strength, encoder_strength, decoder_strength, options=None
    ) -> io.NodeOutput:
        strengths = {"abstract": abstract_strength, "encoder": encoder_strength, "decoder": decoder_strength}
        return patch(model, clip, adapter, options, **strengths)


class SaveACFunAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunSaveAdapter",
            display_name="Save ACFun Adapter",
            description="Writes an adapter to models/acfun, where Load ACFun Adapter lists it.",
            is_output_node=True,
            inputs=[
                Adapter.Input(
                    "adapter",
                    tooltip="The adapter to save. Strengths are not saved: they are chosen when it is loaded.",
                ),
                io.String.Input(
                    "name",
                    default="my_style",
                    tooltip=(
                        "File name without folder; a number is added, nothing is overwritten. Good: the style's name."
                    ),
                ),
            ],
            outputs=[io.String.Output(display_name="path", tooltip="Where the adapter was saved.")],
        )

    @classmethod
    def fingerprint_inputs(cls, name=None, **inputs):
        return vanished(name)

    @classmethod
    def execute(cls, adapter, name) -> io.NodeOutput:
        path = adapter_file.save(adapter.single("saved"), files.new_adapter_path(name))
        return io.NodeOutput(str(wrote(name, path)))

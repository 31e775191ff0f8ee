"""Export ACFun Adapter: smaller files, and S* for other programs."""

from __future__ import annotations

from comfy_api.latest import io

from ..acfun_core.storage import adapter_file, export
from .host import files
from .host.written import vanished, wrote
from .schema import Adapter, schema

SMALL, EMBEDDING = "adapter", "embedding"


class ACFunExportAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunExportAdapter",
            display_name="Export ACFun Adapter",
            description=(
                "Writes an adapter as a small file, or its S* as a textual-inversion embedding that other programs load."
            ),
            search_aliases=["textual inversion", "shrink adapter"],
            is_output_node=True,
            inputs=[
                Adapter.Input(
                    "adapter", tooltip="The adapter to export, from Train ACFun Style or Load ACFun Adapter."
                ),
                io.Combo.Input(
                    "kind",
                    options=[SMALL, EMBEDDING],
                    default=SMALL,
                    tooltip=(
                        "adapter: a smaller file in models/acfun. embedding: what S* means, alone, in models/embeddings, "
                        "for prompts such as 'embedding:my_style'; without what the ResBlocks learned. Good: adapter."
                    ),
                ),
                io.Int.Input(
                    "rank",
                    default=32,
                    min=0,
                    max=512,
                    tooltip=(
                        "Rank of CFun's maps in the small file: lower is smaller and less exact; 0 keeps them as they "
                        "are. Not used for an embedding. Good: 32."
                    ),
                ),
                io.Boolean.Input(
                    "compact",
                    default=True,
                    tooltip=(
                        "Leave out what only a training would need; the picture stays the same. Not used for an "
                        "embedding, and not possible with abstract_mode sequence. Good: yes."
                    ),
                ),
                io.String.Input(
                    "name",
                    default="my_style_small",
                    tooltip="File name without folder; a number is added, nothing is overwritten. Good: the style's name.",
                ),
            ],
            outputs=[
                Adapter.Output(display_name="adapter", tooltip="What the file holds, to compare with the original."),
                io.String.Output(display_name="path", tooltip="Where the file was written."),
                io.Float.Output(
                    display_name="kept", tooltip="Share of the maps' energy that the rank keeps, 0 to 1; 1 is all."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, name=None, **inputs):
        return vanished(name)

    @classmethod
    def execute(cls, adapter, kind, rank, compact, name) -> io.NodeOutput:
        trained = adapter.single("exported")
        if kind == EMBEDDING:
            path = export.save_embedding(trained, files.new_embedding_path(name))
            return io.NodeOutput(adapter, str(wrote(name, path)), 1.0)
        small, kept = export.low_rank(trained, rank) if rank > 0 else (trained, 1.0)
        if compact:
            small = export.compact(small)
        path = adapter_file.save(small, files.new_adapter_path(name))
        return io.NodeOutput(type(adapter)(small, adapter.strengths), str(wrote(name, path)), kept)

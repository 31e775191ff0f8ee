"""``acfun train``: one style picture and one face photo become an adapter file."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ..config import PLACEHOLDER, AdapterConfig, TrainConfig
from ..errors import ACFunError
from ..options import options_of
from ..storage import adapter_file
from ..training.loop import StepReport
from . import output
from .base import add_base, load_base
from .flags import add_flags, given

MAIN = ("steps", "learning_rate", "style_weight", "face_weight", "seed")
"""Fields of TrainConfig that everybody meets; the others are listed after them."""

NOT_CHOSEN = ("description", "compact")
"""Fields of AdapterConfig that are an argument of their own, or set by the export."""

RENAMED = {"prompt": "training_prompt"}

_DESCRIPTION = f"""\
Learn an adapter from one picture in the wanted style and one photo of a face. Both are cut to their middle square, so the
heads should be in the middle and about equally large. The description says who is in the photo, with {PLACEHOLDER} where the
name of the style would stand. The base is only read.
"""


def add(commands) -> None:
    usage = "--style PICTURE --face PICTURE --out FILE.safetensors"
    parser = output.new_parser(commands, "train", "learn a style and a face", _DESCRIPTION, usage)
    parser.set_defaults(run=run)
    main = parser.add_argument_group("what to learn")
    main.add_argument("--style", required=True, type=Path, metavar="PICTURE", help="one picture in the wanted style")
    main.add_argument("--face", required=True, type=Path, metavar="PICTURE", help="one photo of the face")
    main.add_argument(
        "--description",
        default=f"a painting of a person in {PLACEHOLDER} style",
        metavar="TEXT",
        help=f'the face in words, with {PLACEHOLDER} in it once (default: "%(default)s")',
    )
    output.add_out(main, "the adapter", ".safetensors")
    add_flags(main, TrainConfig, MAIN)
    main.add_argument(
        "--resolution",
        type=int,
        metavar="N",
        help="side in pixels at which both pictures are learned, a multiple of 64 (default: the base's own)",
    )
    main.add_argument("--style-mask", type=Path, metavar="PICTURE", help="white where the style picture counts")
    main.add_argument("--face-mask", type=Path, metavar="PICTURE", help="white where the face photo counts")
    add_flags(
        parser.add_argument_group("how it learns"), TrainConfig, [f for f in options_of(TrainConfig) if f not in MAIN]
    )
    add_flags(
        parser.add_argument_group("what kind of adapter"),
        AdapterConfig,
        [f for f in options_of(AdapterConfig) if f not in NOT_CHOSEN],
        RENAMED,
    )
    add_base(parser, training=True)
    output.add_common(parser)


def run(arguments: argparse.Namespace) -> dict:
    config = TrainConfig(**given(arguments, TrainConfig))
    kind = AdapterConfig(**{**given(arguments, AdapterConfig), "description": arguments.description})
    path = output.check_out(arguments.out, ".safetensors", arguments.overwrite)
    from ..backends.pictures import read_picture

    style, face = read_picture(arguments.style, "style picture"), read_picture(arguments.face, "face photo")
    style_mask = read_mask(arguments.style_mask, style, "style mask")
    face_mask = read_mask(arguments.face_mask, face, "face mask")
    base = load_base(arguments)
    start = time.monotonic()
    with output.Progress("training", config.steps, arguments.quiet) as progress:

        def on_step(report: StepReport) -> None:
            losses = {"style": report.style_loss, "face": report.face_loss, **report.readouts}
            progress.step(", ".join(f"{name} {value:.4f}" for name, value in losses.items()))

        adapter = base.train(style, face, kind, config, arguments.resolution, on_step, style_mask, face_mask)
    adapter_file.save(adapter, path)
    record = adapter.record
    return {
        "adapter": str(path),
        "bytes": path.stat().st_size,
        "steps": len(record.style_loss),
        "kept_step": record.kept_step,
        "skipped_steps": record.skipped_steps,
        "resolution": list(record.resolution),
        "before": {"style": record.before[0], "face": record.before[1]},
        "after": {"style": record.after[0], "face": record.after[1]},
        "seconds": round(time.monotonic() - start, 1),
    }


def read_mask(path: Path | None, picture, role: str):
    """A grey picture as (1, H, W), 0-1, of the same size as its picture; None stays None."""
    if path is None:
        return None
    from ..backends.pictures import read_picture

    mask = read_picture(path, role)
    if picture is not None and mask.shape != picture.shape:
        sizes = [f"{image.shape[2]} x {image.shape[1]}" for image in (mask, picture)]
        raise ACFunError(
            f"The {role} has {sizes[0]} pixels, its picture {sizes[1]}.", "equal sizes", "paint the mask on the picture"
        )
    return mask.mean(dim=-1)

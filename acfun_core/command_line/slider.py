"""``acfun slider``: photos and two descriptions become a slider, an adapter for one feature of the face."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ..options import options_of
from ..storage.rescue import save_or_rescue
from ..training.memory import CHECKPOINTING
from ..training.slider import SliderConfig, check_slider, check_slider_mask
from . import output
from .base import add_base, load_base
from .flags import add_flags, given
from .train import add_going_on, check_going_on, keeper_of, learned, not_yet_written, read_mask, rescue_folders

_DESCRIPTION = """\
Learn one feature, such as a smile, age or glasses, from two descriptions that differ in it. What is learned is an adapter whose
strengths are the slider: name it beside any style and preset in acfun sample, with --encoder and --decoder. The photos are what
it learns on; it serves other faces too. The base is only read.
"""


def add(commands) -> None:
    usage = "--photo PICTURE --more TEXT --less TEXT --out FILE.safetensors"
    parser = output.new_parser(
        commands, "slider", "learn one feature of faces from two descriptions", _DESCRIPTION, usage
    )
    parser.set_defaults(run=run)
    main = parser.add_argument_group("what to learn")
    main.add_argument(
        "--photo",
        required=True,
        action="append",
        type=Path,
        metavar="PICTURE",
        help="a photo of a face; may be given again",
    )
    main.add_argument(
        "--more", required=True, metavar="TEXT", help='where strength 1 leads, such as "a photo of a smiling person"'
    )
    main.add_argument(
        "--less",
        required=True,
        metavar="TEXT",
        help='what it leads away from, in the same words otherwise, such as "a photo of a serious person"',
    )
    output.add_out(main, "the slider", ".safetensors")
    add_flags(main, SliderConfig, tuple(options_of(SliderConfig)))
    main.add_argument(
        "--resolution",
        type=int,
        metavar="N",
        help="side of the photos in pixels, a multiple of 64 (default: the base's own)",
    )
    main.add_argument(
        "--mask", type=Path, metavar="PICTURE", help="white where the change is wanted; of the photos' size"
    )
    main.add_argument(
        "--checkpointing",
        choices=CHECKPOINTING,
        default="auto",
        help="gradient checkpointing: less memory for more time; auto: where memory is short (default: auto)",
    )
    add_going_on(parser, "if it was killed")
    add_base(parser, training=False)
    output.add_common(parser)


def run(arguments: argparse.Namespace) -> dict:
    config = SliderConfig(**given(arguments, SliderConfig))
    slider = check_slider(arguments.more, arguments.less)
    check_going_on(arguments)
    path = output.check_out(arguments.out, ".safetensors", arguments.overwrite)
    from ..backends.pictures import read_picture

    photos = [read_picture(photo, "photo", contrast=True) for photo in arguments.photo]
    where = check_slider_mask(read_mask(arguments.mask, "photo mask"), photos)
    base = load_base(arguments)
    start, elsewhere = time.monotonic(), rescue_folders()
    key = base.slider_key(photos, slider, config, arguments.resolution, where)
    with output.Progress("training", config.steps, arguments.quiet) as progress:
        keeper = keeper_of(arguments, path, key, progress)
        how = {
            "resolution": arguments.resolution,
            "on_step": lambda step, error: progress.step(f"error {error:.5f}", step),
            "where": where,
            "checkpointing": arguments.checkpointing,
            "say": progress.say,
        }
        adapter = not_yet_written(key, config.steps, elsewhere, progress.say)
        if adapter is None:
            adapter = learned(base.train_slider, keeper, photos, slider, config, **how)
    path = save_or_rescue(adapter, path, key, elsewhere, arguments.overwrite)
    keeper.end()
    return {
        "adapter": str(path),
        "bytes": path.stat().st_size,
        **slider._asdict(),
        "steps": len(adapter.record.style_loss),
        "resumed_from": keeper.resumed,
        "skipped_steps": adapter.record.skipped_steps,
        "before": adapter.record.before[0],
        "after": adapter.record.after[0],
        "seconds": round(time.monotonic() - start, 1),
    }

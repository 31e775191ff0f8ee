"""``acfun train``: one style picture and one face photo become an adapter file."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from ..config import PLACEHOLDER, AdapterConfig, TrainConfig
from ..errors import ACFunError
from ..images import MOST_STYLES, check_few
from ..masks import check_mask_of, check_masks
from ..method.adapter import StyleAdapter
from ..options import options_of
from ..presets import PRESETS
from ..storage.embedding_file import read_row
from ..storage.rescue import rescued, save_or_rescue
from ..training.copy_guard import notice_of_copies
from ..training.keeper import SECONDS_BETWEEN, StateKeeper
from ..training.loop import StepReport
from ..training.material import check_start, face_or_style, style_mask_of
from ..training.memory import CHECKPOINTING
from . import output
from .base import add_base, load_base
from .flags import add_flags, given

MAIN = ("steps", "learning_rate", "style_weight", "face_weight", "seed")
"""Fields of TrainConfig that everybody meets; the others are listed after them."""

NOT_CHOSEN = ("description", "compact")
"""Fields of AdapterConfig that are an argument of their own, or set by the export."""

RENAMED = {"prompt": "training_prompt"}

DESCRIPTION = f"a painting of a person in {PLACEHOLDER} style"

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
    main.add_argument(
        "--style",
        required=True,
        action="append",
        type=Path,
        metavar="PICTURE",
        help=f"a picture in the wanted style; given up to {MOST_STYLES} times, the style that all of them share is learned",
    )
    main.add_argument(
        "--face",
        type=Path,
        metavar="PICTURE",
        help="one photo of the face; not needed where only the style is learned (--preset keep_person or --face-weight 0)",
    )
    main.add_argument(
        "--preset",
        choices=[name for name, one in PRESETS.items() if one.train is not None],
        help="all settings of one way to draw: "
        + "; ".join(f"{n}: {one.title}" for n, one in PRESETS.items() if one.train)
        + ". Flags that are given beside it win",
    )
    main.add_argument(
        "--description",
        metavar="TEXT",
        help=f'the face in words, with {PLACEHOLDER} in it once (default: "{DESCRIPTION}")',
    )
    output.add_out(main, "the adapter", ".safetensors")
    add_flags(main, TrainConfig, MAIN)
    main.add_argument(
        "--resolution",
        type=int,
        metavar="N",
        help="side in pixels at which both pictures are learned, a multiple of 64 (default: the base's own)",
    )
    main.add_argument(
        "--start-embedding",
        type=Path,
        metavar="FILE",
        help=f"a textual inversion (.safetensors) of the base's kind: {PLACEHOLDER} starts from it in place of a plain word",
    )
    main.add_argument(
        "--checkpointing",
        choices=CHECKPOINTING,
        default="auto",
        help="gradient checkpointing: less memory for a third more time, the same adapter; auto: where memory is short "
        "(default: auto)",
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
    goes_on = add_going_on(parser, "killed or kept; more --steps than it had continue it")
    goes_on.add_argument(
        "--keep-state",
        action="store_true",
        help="leave the state there at the end, about six times as large as the adapter, for --resume with more --steps",
    )
    add_base(parser, training=True)
    output.add_common(parser)


def run(arguments: argparse.Namespace) -> dict:
    chosen = PRESETS.get(arguments.preset)
    config = dataclasses.replace(chosen.train if chosen else TrainConfig(), **given(arguments, TrainConfig))
    text = arguments.description
    if text is None:
        text = chosen.prompt if chosen and chosen.style_only else DESCRIPTION
    kind = AdapterConfig(**{**given(arguments, AdapterConfig), "description": text})
    check_going_on(arguments)
    path = output.check_out(arguments.out, ".safetensors", arguments.overwrite)
    from ..backends.pictures import read_picture

    check_few(len(arguments.style), "style")
    style = [read_picture(path, "style picture", contrast=True) for path in arguments.style]
    face = None if arguments.face is None else read_picture(arguments.face, "face photo", contrast=True)
    face = face_or_style(face, style, config)
    style_mask = style_mask_of(read_mask(arguments.style_mask, "style mask"), style)
    face_mask = check_mask_of(read_mask(arguments.face_mask, "face mask"), face, "face")
    row = None if arguments.start_embedding is None else read_row(arguments.start_embedding)
    base = load_base(arguments)
    check_start(row, kind, base.text.width)
    start = time.monotonic()
    inputs = {"resolution": arguments.resolution, "style_mask": style_mask, "face_mask": face_mask, "start_row": row}
    key = base.training_key(style, face, kind, config, **inputs)
    elsewhere = rescue_folders()
    with output.Progress("training", config.steps, arguments.quiet) as progress:
        keeper = keeper_of(arguments, path, key, progress, arguments.keep_state)
        if base.device.type != "cpu":
            progress.say(base.computes)

        def on_step(report: StepReport) -> None:
            losses = {"style": report.style_loss, "face": report.face_loss, **report.readouts}
            progress.step(", ".join(f"{name} {value:.4f}" for name, value in losses.items()), report.step)

        adapter = not_yet_written(key, config.steps, elsewhere, progress.say)
        if adapter is None:
            how = {"on_step": on_step, "say": progress.say, "checkpointing": arguments.checkpointing}
            adapter = learned(base.train, keeper, style, face, kind, config, **how, **inputs)
    path = save_or_rescue(adapter, path, key, elsewhere, arguments.overwrite)
    keeper.end()
    record = adapter.record
    notice = notice_of_copies(record)
    if notice:
        logging.warning("ACFun: %s", notice)
    return {
        "adapter": str(path),
        "bytes": path.stat().st_size,
        "steps": len(record.style_loss),
        "resumed_from": keeper.resumed,
        "state": str(keeper.path) if keeper.path.exists() else None,
        "kept_step": record.kept_step,
        "skipped_steps": record.skipped_steps,
        "resolution": list(record.resolution),
        "before": {"style": record.before[0], "face": record.before[1]},
        "after": {"style": record.after[0], "face": record.after[1]},
        "seconds": round(time.monotonic() - start, 1),
    }


def add_going_on(parser: argparse.ArgumentParser, which: str) -> argparse._ArgumentGroup:
    """Options of a training that can be killed.

    Args:
        which: of which trainings ``--resume`` goes on from the state.
    """
    group = parser.add_argument_group(
        "going on",
        "now and then the training's state is written beside --out, as a hidden file that goes at the end",
    )
    group.add_argument(
        "--resume", action="store_true", help=f"go on where a training of the same inputs stopped, {which}"
    )
    group.add_argument(
        "--state-every",
        type=float,
        default=SECONDS_BETWEEN,
        metavar="X",
        help="seconds between two states; fewer are written where they would take more than 2 %% of the time "
        "(default: %(default)g)",
    )
    return group


def check_going_on(arguments: argparse.Namespace) -> None:
    """Raise if they make no sense, before any work."""
    if not arguments.state_every >= 0:
        raise ACFunError(f"--state-every is {arguments.state_every}.", "0 or more seconds", "use 20")


def keeper_of(
    arguments: argparse.Namespace, path: Path, key: str, progress: output.Progress, keep: bool = False
) -> StateKeeper:
    """What keeps the state of a training whose adapter goes to ``path``."""
    return StateKeeper(path.parent, key, arguments.resume, keep, progress.say, arguments.state_every)


def not_yet_written(key: str, steps: int, folders: list[Path], say: Callable[[str], None]) -> StyleAdapter | None:
    """The adapter of the same training, if that is done and its file could not be written."""
    adapter = rescued(key, folders)
    if adapter is None or adapter.record.settings["steps"] != steps:
        return None
    say("This training is done, and its adapter could not be written. It is written now.")
    return adapter


def learned(train: Callable[..., StyleAdapter], keeper: StateKeeper, *given, **further) -> StyleAdapter:
    """Train, and say if there is nothing to go on from; on Ctrl-C, what there is."""
    if keeper.resume and not keeper.path.exists():
        keeper.say("There is nothing to go on from: the training begins.")
    try:
        return train(*given, keeper=keeper, **further)
    except KeyboardInterrupt as interrupt:
        if keeper.written is not None:
            raise KeyboardInterrupt(f"--resume goes on after step {keeper.written}.") from interrupt
        raise


def rescue_folders() -> list[Path]:
    """Where an adapter goes that its own place does not take."""
    # Of one's own: on a shared machine others may not write into the first one's.
    return [Path(tempfile.gettempdir()) / f"acfun-{getpass.getuser()}"]


def read_mask(path: Path | None, role: str) -> Tensor | None:
    """A grey picture as (1, H, W), 0-1; None stays None."""
    from ..backends.pictures import read_picture

    return None if path is None else check_masks(read_picture(path, role).mean(dim=-1), role)

"""``acfun sample``: portraits from pure noise."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import time
from pathlib import Path

from torch import Tensor

from .. import __version__
from ..config import PLACEHOLDER, DrawConfig
from ..demo_base import DEMO_BASE
from ..diffusion.palette import Palette
from ..errors import ACFunError
from ..images import square
from ..masks import notice_of_empty
from ..method.fit import notice_of_prediction
from ..method.pseudo_word import Members, styles_of
from ..storage import adapter_file
from ..strengths import Strengths
from . import output, preset_flags
from .base import add_base, load_base
from .flags import add_flags, add_list_flags, flag_name, given, given_lists
from .train import read_mask

METADATA_KEY = "acfun"

_DESCRIPTION = f"""\
Draw portraits from pure noise with DDIM, the same as ComfyUI's sampler ddim with the scheduler normal (sgm_uniform where the
base's scheduler_config.json says timestep_spacing trailing). Several adapters are
mixed: the changes they make to the UNet add up, and so do their meanings of {PLACEHOLDER}. Without an adapter the base draws
alone.
"""


def add(commands) -> None:
    usage = "[ADAPTER ...] --out FILE.png"
    parser = output.new_parser(commands, "sample", "draw portraits", _DESCRIPTION, usage)
    parser.set_defaults(run=run)
    main = parser.add_argument_group("what to draw")
    main.add_argument("adapters", nargs="*", type=Path, metavar="ADAPTER", help="adapter files (.safetensors)")
    main.add_argument(
        "--prompt",
        metavar="TEXT",
        help=f"what to draw, with {PLACEHOLDER} for the style and weights as (word:1.2) (default: the adapter's description)",
    )
    main.add_argument("--negative", default="", metavar="TEXT", help="what to avoid (default: nothing)")
    output.add_out(main, "the portrait", ".png")
    add_flags(main, DrawConfig, ("seed", "steps", "cfg", "batch"))
    main.add_argument("--width", type=int, metavar="N", help="in pixels, a multiple of 8 (default: the base's own)")
    main.add_argument("--height", type=int, metavar="N", help="in pixels, a multiple of 8 (default: the base's own)")
    photo = parser.add_argument_group(
        "from a photo", "start from a photo's own noise, so that the person stays; good with --cfg 1"
    )
    photo.add_argument("--photo", type=Path, metavar="PICTURE", help="the face; its middle square is used")
    photo.add_argument(
        "--palette", type=Path, metavar="PICTURE", help="the style picture, whose palette noise and portrait take"
    )
    add_flags(photo, DrawConfig, ("palette_hold",))
    preset_flags.add(parser)
    strengths = parser.add_argument_group(
        "strengths", "one value for all adapters, or one an adapter with commas between"
    )
    add_list_flags(strengths, Strengths)
    strengths.add_argument(
        "--mask",
        type=Path,
        action="append",
        metavar="PICTURE",
        help="white where the adapters act in full, black where not at all; given --batch times, one a portrait",
    )
    add_base(parser, training=False)
    output.add_common(parser)


def run(arguments: argparse.Namespace) -> dict:
    way = preset_flags.chosen(arguments)
    drawing, members = way.drawing, way.scaled(read_members(arguments))
    prompt, styles = arguments.prompt, styles_of(members)
    if prompt is None and not styles and way.preset is None:
        raise ACFunError("There is neither a prompt nor the adapter of a style.", "what to draw", "add --prompt TEXT")
    if prompt is None:
        prompt = styles[0][0].config.description if styles else way.preset.prompt
    paths = numbered(arguments.out, drawing.batch)
    for path in paths:
        output.check_out(path, ".png", arguments.overwrite)
    way.check(arguments, members)
    photo, palette = (None, None) if way.preset else read_photo(arguments, drawing.batch)
    base = load_base(arguments)
    height, width = drawn_size(arguments, base.native_side)
    numbers = {"seed": drawing.seed, "steps": drawing.steps, "cfg": drawing.cfg, "batch": drawing.batch}
    settings = {"prompt": prompt, "negative": arguments.negative, **numbers}
    base.check(prompt, members, **numbers)
    for adapter, _ in members:
        notice = notice_of_prediction(adapter, base.prediction)
        if notice:
            logging.warning("ACFun: %s", notice)
    start = time.monotonic()
    if way.preset:
        start_from = way.transfer(base, arguments, width)
    else:
        start_from = photo_start(base, photo, palette, width, drawing, arguments.quiet)
    with output.Progress("sampling", drawing.steps, arguments.quiet) as progress:
        if base.device.type != "cpu":
            progress.say(base.computes)
        latents = base.sample(
            members=members,
            size=(height, width),
            on_sample=lambda step, steps: progress.step(),
            **start_from,
            **settings,
        )
        pictures = base.decode(latents)
    told = {
        **settings,
        "width": width,
        "height": height,
        **(way.told(arguments) if way.preset else told_start(arguments, drawing.palette_hold)),
        "sampler": "ddim",
        "scheduler": base.scheduler,
        "base": (arguments.base or DEMO_BASE).resolve().name,
        "adapters": [
            {"file": path.name, **told_strengths(strengths)}
            for path, (_, strengths) in zip(arguments.adapters, members)
        ],
        "software": f"ACFun {__version__}",
    }
    from ..backends.pictures import to_pil

    written = [
        output.save_png(
            to_pil(picture), path, {METADATA_KEY: json.dumps({**told, "index": index})}, arguments.overwrite
        )
        for index, (path, picture) in enumerate(zip(paths, pictures))
    ]
    return {"portraits": [str(path) for path in written], **told, "seconds": round(time.monotonic() - start, 1)}


def drawn_size(arguments: argparse.Namespace, native: int) -> tuple[int, int]:
    """Height and width of the portraits; with a photo, which makes squares, one of them stands for both."""
    height, width = arguments.height, arguments.width
    if arguments.photo is not None:
        height, width = height if width is None else width, width if height is None else height
    return native if height is None else height, native if width is None else width


def read_photo(arguments: argparse.Namespace, batch: int) -> tuple[Tensor | None, Tensor | None]:
    """The photo whose noise is the start and the picture that lends its palette, each (1, H, W, 3) or None."""
    if arguments.photo is None:
        if arguments.palette is not None:
            raise ACFunError(
                "There is a palette but no photo.", "--palette together with --photo", "add --photo PICTURE"
            )
        return None, None
    if arguments.palette is None and arguments.palette_hold is not None:
        raise ACFunError(
            "--palette-hold has no say without a palette.", "--palette together with it", "add --palette PICTURE"
        )
    sides = [side for side in (arguments.width, arguments.height) if side is not None]
    if batch != 1 or len(set(sides)) > 1:
        size = f" of {arguments.width} x {arguments.height}" if len(sides) == 2 else ""
        raise ACFunError(
            f"A photo's noise makes one square portrait, not {batch}{size}.",
            "--batch 1, and --width and --height alike; one of them or none is enough",
            "leave these flags out",
        )
    from ..backends.pictures import read_picture

    photo = read_picture(arguments.photo, "photo", contrast=True)
    return photo, arguments.palette and read_picture(arguments.palette, "palette", contrast=True)


def photo_start(
    base, photo: Tensor | None, palette: Tensor | None, side: int, drawing: DrawConfig, quiet: bool
) -> dict:
    """What the drawing needs to start from a photo's noise; nothing without a photo."""
    if photo is None:
        return {}
    hold = drawing.palette_hold
    with output.Progress("finding the photo's noise", drawing.steps, quiet) as progress:
        noise = base.photo_noise(photo, palette, drawing.steps, side, lambda step, steps: progress.step(), hold)
    if palette is None or not hold:
        return {"noise": noise}
    return {"noise": noise, "palette": Palette(base.encode(square(palette, side)), hold)}


def told_start(arguments: argparse.Namespace, palette_hold: float) -> dict:
    """What a portrait started from beside chance, for its metadata."""
    if arguments.photo is None:
        return {}
    if arguments.palette is None:
        return {"photo": arguments.photo.name}
    names = {"photo": arguments.photo.name, "palette": arguments.palette.name}
    return {**names, "palette_hold": palette_hold}


def read_members(arguments: argparse.Namespace) -> Members:
    """The adapters of the command line with their strengths.

    Raises:
        ACFunError: there are strengths or a mask and no adapter, or a file or a value that cannot be used.
    """
    if not arguments.adapters:
        flags = [flag_name(field, {}) for field in given(arguments, Strengths)] + ["--mask"] * bool(arguments.mask)
        if flags:
            raise ACFunError(
                f"Nothing for {', '.join(flags)} to act on: no adapter is named.",
                "an adapter file with strengths and masks",
                "name one, or leave the flags out",
            )
        return []
    chosen = given_lists(arguments, Strengths, len(arguments.adapters))
    mask = read_masks(arguments.mask or [])
    notice = mask is not None and notice_of_empty(mask, "mask", "the adapters change nothing")
    if notice:
        logging.warning("ACFun: %s", notice)
    strengths = [Strengths(**values, mask=mask) for values in chosen]
    return [(adapter_file.load(path), strength) for path, strength in zip(arguments.adapters, strengths)]


def read_masks(paths: list[Path]) -> Tensor | None:
    """Masks (N, H, W) of one size, or None if there are none."""
    import torch

    masks = [read_mask(path, f"mask {path.name}") for path in paths]
    sizes = {f"{mask.shape[2]} x {mask.shape[1]}" for mask in masks}
    if len(sizes) > 1:
        raise ACFunError(
            f"The masks have different sizes: {', '.join(sorted(sizes))}.", "masks of one size", "resize some of them"
        )
    return torch.cat(masks) if masks else None


def told_strengths(strengths: Strengths) -> dict:
    """The strengths that are not the default, for the picture's metadata."""
    default = Strengths()
    names = [field.name for field in dataclasses.fields(strengths) if field.name != "mask"]
    told = {name: getattr(strengths, name) for name in names if getattr(strengths, name) != getattr(default, name)}
    return told if strengths.mask is None else {**told, "masked": True}


def numbered(path: Path, count: int) -> list[Path]:
    """``portrait.png`` for one, ``portrait_1.png``, ``portrait_2.png`` ... for more."""
    if count <= 1:
        return [path]
    return [path.with_name(f"{path.stem}_{number}{path.suffix}") for number in range(1, count + 1)]

"""``--preset`` of ``acfun sample``: one of the three ways to draw, beside a photo and a style picture."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ..config import DrawConfig, TransferConfig
from ..errors import ACFunError
from ..method.pseudo_word import Members, scaled_members, styles_of
from ..options import options_of
from ..presets import PRESETS, Preset
from . import output
from .flags import add_flags, given

NOT_CHOSEN = ("calm",)
"""Of films, and the command line draws single photos."""
RENAMED = {name: f"transfer_{name}" for name in options_of(TransferConfig) if name not in NOT_CHOSEN}


def add(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "by a preset",
        "beside the photo and the style picture; strengths are multiplied with the preset's, other flags win over it",
    )
    group.add_argument(
        "--preset",
        choices=list(PRESETS),
        help="; ".join(f"{name}: {one.doc[0].lower()}{one.doc[1:].rstrip('.')}" for name, one in PRESETS.items()),
    )
    group.add_argument("--style", type=Path, metavar="PICTURE", help="the style picture; with --photo")
    group.add_argument(
        "--transfer-strength",
        type=float,
        default=1.0,
        metavar="X",
        help="how much stroke and line beside the colours, 0 to 2 (default: 1)",
    )
    add_flags(group, TransferConfig, tuple(RENAMED), RENAMED)


@dataclass(frozen=True)
class Way:
    """The preset of the command line, or none, with the flags that change it."""

    name: str | None
    drawing: DrawConfig
    config: TransferConfig

    @property
    def preset(self) -> Preset | None:
        return PRESETS.get(self.name)

    def scaled(self, members: Members) -> Members:
        """Adapters at their strengths times the preset's; sliders at their own."""
        return members if self.preset is None else scaled_members(members, self.preset.strengths)

    def check(self, arguments: argparse.Namespace, members: Members) -> None:
        """Raise unless the command line has what the preset needs, and nothing that would have no say."""
        if self.preset is None:
            if arguments.style is not None or arguments.transfer_strength != 1 or given(arguments, TransferConfig):
                raise ACFunError(
                    "--style or a --transfer flag is given without a preset.",
                    "--preset with them",
                    "add --preset instant",
                )
            return
        if self.preset.train is not None and not styles_of(members):
            raise ACFunError(
                f"The preset {self.name} draws with the adapter of a style, and none is named.",
                "an adapter file",
                f"train one with acfun train --preset {self.name}, or use --preset instant",
            )
        if arguments.photo is None or arguments.style is None:
            raise ACFunError(
                f"The preset {self.name} draws beside a photo and a style picture.",
                "--photo PICTURE and --style PICTURE",
                "add them",
            )
        for flag, value in {"--palette": arguments.palette, "--palette-hold": arguments.palette_hold}.items():
            if value is not None:
                raise ACFunError(
                    f"{flag} has no say with a preset, which takes the palette of --style.",
                    f"no {flag}",
                    "leave it out",
                )
        self._check_batch(arguments)
        sides = {side for side in (arguments.width, arguments.height) if side is not None}
        if len(sides) > 1:
            raise ACFunError(
                f"The portrait is {arguments.width} x {arguments.height} pixels.",
                "a square one: a preset reads the middle squares of both pictures",
                "give --width and --height alike, or one of them",
            )

    def _check_batch(self, arguments: argparse.Namespace) -> None:
        """Raise if several portraits would be one and the same: without a turn, the seed has no part in their start."""
        batch = self.drawing.batch
        if batch > 1 and self.config.turn == 0 and len(arguments.mask or []) < 2:
            raise ACFunError(
                f"{self.name} starts from the photo's own noise alone: it makes one portrait, not {batch} different ones.",
                "--batch 1, or a --transfer-turn above 0, which adds the seed's noise",
                "leave --batch out, or add --transfer-turn 0.3",
            )

    def transfer(self, base, arguments: argparse.Namespace, side: int) -> dict:
        """What the drawing needs: both pictures on their way to noise."""
        from ..backends.pictures import read_picture
        from ..backends.transferring import Transfer

        photo = read_picture(arguments.photo, "photo", contrast=True)
        style = read_picture(arguments.style, "style picture", contrast=True)
        with output.Progress("reading both pictures", self.drawing.steps, arguments.quiet) as progress:
            references = base.references(
                photo, style, self.drawing.steps, side, on_sample=lambda step, steps: progress.step()
            )
        return {"transfer": Transfer(references, self.config)}

    def told(self, arguments: argparse.Namespace) -> dict:
        """For the portrait's metadata."""
        names = {"photo": arguments.photo.name, "style": arguments.style.name}
        return {"preset": self.name, **names, "transfer": dataclasses.asdict(self.config)}


def chosen(arguments: argparse.Namespace) -> Way:
    """The preset of the command line with the flags that change it.

    Raises:
        ACFunError: a flag is out of range.
    """
    preset = PRESETS.get(arguments.preset)
    drawing = dataclasses.replace(preset.draw if preset else DrawConfig(), **given(arguments, DrawConfig))
    config = (preset.transfer if preset else TransferConfig()).stronger(arguments.transfer_strength)
    return Way(arguments.preset, drawing, dataclasses.replace(config, **given(arguments, TransferConfig)))

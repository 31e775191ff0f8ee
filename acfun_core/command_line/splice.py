"""``acfun splice``: one face put together from parts of several."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..errors import ACFunError
from ..faces.detector import LARGEST_FIRST, ORDERS, find_faces, nth_face
from ..faces.landmarks import NAMES, check_landmarks
from ..faces.splice import MOST_FACES, PARTS, SEAMS, splice_bands, splice_parts
from ..options import check_range
from . import output

_DESCRIPTION = f"""\
Put one face together from two to four. Part by part, the default: eyes, nose, mouth and the rest come from the faces you
name, moved onto the first face by five landmarks each ({", ".join(NAMES)}, as seen
from the sitter). With --cuts: from horizontal bands, without landmarks.
"""

_MAP_COLOURS = (0, 0, 0, 209, 69, 46, 51, 120, 191, 237, 179, 46, 84, 161, 92)
_DEFAULT_GIVERS = {"eyes": 2, "nose": 1, "mouth": 2, "rest": 1}


def add(commands) -> None:
    usage = "PICTURE PICTURE ... --out FILE.png"
    parser = output.new_parser(commands, "splice", "put one face together from several", _DESCRIPTION, usage)
    parser.set_defaults(run=run)
    parser.add_argument(
        "faces", nargs="+", type=Path, metavar="PICTURE", help=f"2 to {MOST_FACES} pictures, one face each"
    )
    output.add_out(parser, "the spliced face", ".png")
    parser.add_argument(
        "--map",
        type=Path,
        metavar="FILE.png",
        help="also write who gave what: a PNG whose pixel values are face numbers",
    )
    _add_parts(parser.add_argument_group("part by part"))
    bands = parser.add_argument_group("bands")
    bands.add_argument(
        "--cuts", metavar="X[,X...]", help="heights between 0 and 1 where the next face begins, one fewer than faces"
    )
    bands.add_argument(
        "--size", type=int, default=512, metavar="N", help="side of the result with --cuts (default: 512)"
    )
    output.add_common(parser)


def _add_parts(parts) -> None:
    parts.add_argument(
        "--landmarks",
        action="append",
        metavar="X,Y,X,Y,...",
        help="ten numbers in pixels, five points (x, y) in the order above; once a face, in the order of the pictures",
    )
    parts.add_argument(
        "--detector", type=Path, metavar="FILE.onnx", help="find the landmarks with YuNet; needs opencv-python-headless"
    )
    parts.add_argument(
        "--face-number",
        type=int,
        action="append",
        metavar="N",
        help="which face of a picture with several the detector takes; once for all pictures, or once a picture (default: 1)",
    )
    parts.add_argument(
        "--face-order",
        choices=ORDERS,
        default=LARGEST_FIRST,
        help=f"how the faces of a picture are counted (default: {LARGEST_FIRST})",
    )
    for part in PARTS:
        parts.add_argument(
            f"--{part}",
            type=int,
            metavar="N",
            default=_DEFAULT_GIVERS[part],
            help=f"number of the face that gives the {part} (default: {_DEFAULT_GIVERS[part]})",
        )
    parts.add_argument(
        "--seam",
        choices=SEAMS,
        default="hard",
        help="hard as in the paper, soft, or blended over a pyramid (default: hard)",
    )
    parts.add_argument(
        "--softness",
        type=float,
        metavar="X",
        help="width of soft seams: in distances between the eyes (default: 0.15), or with "
        "--cuts as part of the height (default: 0, hard)",
    )
    parts.add_argument("--match-tone", action="store_true", help="give the moved faces the skin tone of the first")


def run(arguments: argparse.Namespace) -> dict:
    from ..backends.pictures import read_picture, to_pil

    path = output.check_out(arguments.out, ".png", arguments.overwrite)
    if arguments.map is not None:
        output.check_out(arguments.map, ".png", arguments.overwrite)
    faces = [read_picture(face, f"face {number}") for number, face in enumerate(arguments.faces, 1)]
    if arguments.cuts is not None:
        return bands(arguments, faces, path)
    landmarks = find_all(arguments, faces)
    givers = {part: getattr(arguments, part) for part in PARTS}
    softness = 0.15 if arguments.softness is None else arguments.softness
    spliced = splice_parts(faces, landmarks, givers, arguments.seam, softness, arguments.match_tone)
    path = output.save_png(to_pil(spliced.picture[0]), path, overwrite=arguments.overwrite)
    who = arguments.map
    if who is not None:
        who = output.save_png(map_picture(spliced.givers), who, overwrite=arguments.overwrite)
    return {
        "face": str(path),
        "map": None if who is None else str(who),
        "givers": givers,
        "landmarks": [[round(value, 2) for value in points.flatten().tolist()] for points in landmarks],
        "shares": [round(share, 4) for share in spliced.shares.mean(dim=(1, 2)).tolist()],
    }


def bands(arguments: argparse.Namespace, faces: list[Tensor], path: Path) -> dict:
    from ..backends.pictures import to_pil

    cuts = numbers(arguments.cuts, "--cuts")
    if arguments.map is not None or arguments.landmarks or arguments.detector is not None:
        raise ACFunError(
            "--cuts goes without landmarks, detector and map.", "either bands or parts", "leave out one of them"
        )
    check_range("size", arguments.size, 64, 4096, good=512)
    spliced = splice_bands(faces, cuts, arguments.softness or 0.0, arguments.size)
    path = output.save_png(to_pil(spliced[0]), path, overwrite=arguments.overwrite)
    return {"face": str(path), "cuts": cuts}


def find_all(arguments: argparse.Namespace, faces: list[Tensor]) -> list[Tensor]:
    """Landmarks of every face, (5, 2) each, from the arguments or the detector."""
    given = arguments.landmarks or []
    if given and arguments.detector is not None:
        raise ACFunError("Both landmarks and a detector were given.", "one of them", "leave out one")
    if not given and arguments.detector is None:
        raise ACFunError(
            "Nothing says where eyes, nose and mouth are.",
            "--landmarks once a face, --detector with YuNet's ONNX file, or --cuts for bands",
            "add one of them",
        )
    if given and len(given) != len(faces):
        raise ACFunError(
            f"There are {len(faces)} faces and landmarks of {len(given)}.",
            "--landmarks once a face",
            "add the missing ones",
        )
    chosen = arguments.face_number or [1]
    if len(chosen) not in (1, len(faces)):
        raise ACFunError(
            f"There are {len(faces)} pictures and {len(chosen)} face numbers.",
            "--face-number once for all pictures, or once a picture",
            "add the missing ones",
        )
    found = []
    for number, face in enumerate(faces, 1):
        role = f"landmarks of face {number}"
        if given:
            points = torch.tensor(numbers(given[number - 1], "--landmarks"))
            points = points.reshape(5, 2) if points.numel() == 10 else points
        else:
            picture, wanted = f"picture of face {number}", chosen[(number - 1) % len(chosen)]
            several = find_faces(face, arguments.detector, picture, arguments.face_order)
            if len(several) > 1:
                logging.warning(
                    "ACFun: %d faces in the %s; number %d, counted %s, is used.",
                    *(len(several), picture, wanted, arguments.face_order),
                )
            points = nth_face(several, wanted, picture)
        found.append(check_landmarks(points, face, role))
    return found


def numbers(text: str, flag: str) -> list[float]:
    """Numbers between commas or spaces."""
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise ACFunError(
            f"{flag} has the value {text[:120]!r}.", "numbers with commas between", "write plain numbers"
        ) from error


def map_picture(givers: Tensor) -> Image.Image:
    """(H, W) face numbers -> a palette picture whose pixel values are these numbers."""
    picture = Image.fromarray(givers.to(torch.uint8).numpy(), "P")
    picture.putpalette(_MAP_COLOURS)
    return picture

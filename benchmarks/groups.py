"""Who is kept how well, and what of the style picture comes along: by sex, age and skin, and by preset.

    python -m benchmarks.groups --data FOLDER      docs/groups.md, which is made on demand
    python -m benchmarks.groups --data FOLDER --presets instant --out out/groups --minutes 20

FOLDER is that of the base's training pictures (``tools/base/pictures/album.py``). The portraits are batches in ``--out``, one a
preset, and go on where they were stopped. A page is written of the presets that are complete; the last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from acfun_core.__main__ import main as acfun
from acfun_core.backends.pictures import read_picture, to_pil
from acfun_core.demo_base import DEMO_BASE, NATIVE_SIDE
from acfun_core.faces.crop import CLOSE_UP, MEAN_FACE, crop_faces
from acfun_core.presets import PRESETS
from acfun_core.transfer.references import oval
from tools.base_key import said_of
from tools.batch.drawn import drawn_in
from tools.measure import style as styles
from tools.measure.faces import Face, FaceFinder, encoders
from tools.measure.pictures import likeness, paired_interval

from .drawing import command
from .measures import SMALLEST_DISTANCE, corners
from .pages import Table, render
from .workbench import ROOT

OUT, PAGE = ROOT / "out" / "groups", ROOT / "docs" / "groups.md"
STYLES = {"style_woodblock.png": "a woodcut print", "style_oil.jpg": "an oil painting"}
"""Example style pictures that show a head, and the words for their media."""
EACH = 5
"""People of each sex and skin in the London set, and of each sex and age among members of Congress."""
YOUNG, OLD = 45, 65
"""Years: younger than the first, or at least as old as the second."""
TAKEN = 2020
"""The year of the portraits of Congress."""
EYES, EYE_SHARE = (0.5, 0.444), 0.176
"""Of the training pictures: where the eyes' middle is, and how far apart they are, in shares of the side."""
DARKER = 28.0
"""Individual typology angle of the cheeks, in degrees, below which skin counts as darker: *tan*, *brown* and *dark* of the
usual six classes. It is taken from the photo, so light and camera have a share in it."""
GROUPS = ("sex", "skin", "age")
COLUMNS = {
    "found": "a face is found",
    "first": "right person of all",
    "margin": "id margin",
    "style": "right style of seven",
    "lightened": "lightened",
}
"""Numbers of a group, and what the page calls them."""


@dataclass(frozen=True)
class Person:
    """A photo cut around the face, uint8 [s, s, 3], and the groups that its sitter belongs to: kind -> group."""

    name: str
    photo: np.ndarray
    groups: dict[str, str]

    @property
    def word(self) -> str:
        return {"female": "woman", "male": "man"}[self.groups["sex"]]


def close_up(path: Path) -> np.ndarray:
    """A training picture cut as **Crop Face** does it for the presets."""
    photo = read_picture(path, "photo")
    side = photo.shape[1]
    landmarks = side * (torch.tensor(EYES) + EYE_SHARE * torch.tensor(MEAN_FACE))
    return np.asarray(to_pil(crop_faces(photo, landmarks[None], NATIVE_SIDE, CLOSE_UP)[0][0]))


def typology_angle(photo: np.ndarray) -> float:
    """Individual typology angle of the cheeks of a cut photo: ``atan((L* - 50) / b*)`` in degrees, high for light skin."""
    side = len(photo)
    rows = slice(int(0.53 * side), int(0.62 * side))
    cheeks = np.concatenate(
        [photo[rows, int(left * side) : int((left + 0.08) * side)] for left in (0.32, 0.60)], axis=1
    )
    lab = cv2.cvtColor(cheeks.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    lightness, _, yellow = np.median(lab, axis=0)
    return float(np.degrees(np.arctan2(lightness - 50, max(yellow, 1e-3))))


def people(data: Path, each: int = EACH) -> list[Person]:
    """So many people of each kind, chosen by a hash of their pictures' names; those whom no training saw come first."""
    records = [json.loads(line) for line in (data / "records.jsonl").read_text().splitlines()]
    photos = [r for r in records if r["kind"] == "photo" and r.get("colour") and r.get("gender") and r.get("mesh")]
    photos.sort(key=lambda r: (not r["heldout"], hashlib.sha256(r["file"].encode()).digest()))
    counts: dict[tuple, int] = {}
    found = []
    for record in photos:
        london = record["file"].startswith("london_smiling")
        age = None if london else age_of(record)
        if not london and age is None:
            continue
        path = data / "img" / f"{record['id']:05}.webp"
        photo = close_up(path)
        skin = "darker" if typology_angle(photo) < DARKER else "lighter"
        kind = (record["gender"], skin) if london else (record["gender"], age)
        if counts.get(kind, 0) < each:
            counts[kind] = counts.get(kind, 0) + 1
            groups = {"sex": record["gender"], "skin": skin} | ({} if age is None else {"age": age})
            found.append(Person(f"person{record['id']:05}", photo, groups))
        if len(counts) == 8 and min(counts.values()) == each:
            break
    return found


def age_of(record: dict) -> str | None:
    """``young`` or ``old``; None between both, or where no year of birth is known."""
    if not record["file"].startswith("portraits/") or "birth_year" not in record:
        return None
    years = TAKEN - record["birth_year"]
    return "young" if years < YOUNG else "old" if years >= OLD else None


def draw(preset: str, faces: list[Person], out: Path) -> dict[tuple[str, str], np.ndarray]:
    """Every face in every style -> (person, style) -> portrait, uint8."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for person in faces:
        Image.fromarray(person.photo).save(out / f"{person.name}.png")
        for style, words in STYLES.items():
            row = {"style": str(ROOT / "pictures" / style), "face": f"{person.name}.png", "preset": preset}
            learns = PRESETS[preset].train is not None
            rows.append(row | ({} if learns else {"prompt": f"{words} of a {person.word}"}))
    plan = out / "plan.yaml"
    plan.write_text(json.dumps(rows), encoding="utf-8")
    if acfun(["batch", str(plan), "--out", str(out), "--quiet"]) != 0:
        raise SystemExit(1)
    tail = "" if preset == "keep_person" else f"_{preset}"
    return {
        (person.name, style): np.asarray(drawn_in(out, f"{person.name}_{Path(style).stem}{tail}"))
        for person in faces
        for style in STYLES
    }


class Measured:
    """The numbers of all portraits of one preset.

    Attributes:
        rows: one a portrait: the person's groups, and ``found``, ``first`` (share of both encoders for which the own photo is
            the nearest), ``margin`` (the mean of both), and the page's other numbers.
    """

    def __init__(self, faces: list[Person], portraits: dict[tuple[str, str], np.ndarray]):
        self._find, self._encoders = FaceFinder(), encoders()
        self._nearest_style = nearest_style()
        known = [self._vectors(person.photo) for person in faces]
        kept = [at for at, vectors in enumerate(known) if vectors is not None]
        self._photos = {name: np.stack([known[at][name] for at in kept]) for name in self._encoders}
        self._at = {faces[at].name: place for place, at in enumerate(kept)}
        sitters = {name: self._of_style(name) for name in STYLES}
        self.rows = [
            {
                **person.groups,
                "person": person.name,
                "style": float(self._nearest_style(portraits[person.name, style]) == style),
                **self._of(person, portraits[person.name, style], *sitters[style]),
            }
            for person in faces
            if person.name in self._at
            for style in STYLES
        ]

    def _vectors(self, picture: np.ndarray) -> dict[str, np.ndarray] | None:
        face = self._find(picture)
        return None if face is None else {name: encode(picture, face) for name, encode in self._encoders.items()}

    def _of_style(self, name: str) -> tuple[np.ndarray, dict[str, np.ndarray] | None]:
        picture = style_picture(name)
        return picture, self._vectors(picture)

    def _of(self, person: Person, drawn: np.ndarray, style: np.ndarray, sitter: dict | None) -> dict[str, float]:
        seen, at = self._vectors(drawn), self._at[person.name]
        told = {"found": float(seen is not None), "first": 0.0, "margin": 0.0}
        around = ~(oval(NATIVE_SIDE, NATIVE_SIDE).numpy() > 0)
        told["ground"] = likeness_around(drawn, style, around) - likeness_around(person.photo, style, around)
        if seen is None:
            return told
        cosines = {name: self._photos[name] @ vector for name, vector in seen.items()}
        told["lightened"] = typology_angle(drawn) - typology_angle(person.photo)
        told["first"] = float(np.mean([values.argmax() == at for values in cosines.values()]))
        told["margin"] = float(np.mean([values[at] - np.delete(values, at).mean() for values in cosines.values()]))
        pose = pose_share(*(self._find(picture) for picture in (drawn, person.photo, style)))
        if pose is not None:
            told["pose"] = pose
        if sitter is not None:
            leaks = [seen[name] @ sitter[name] - self._photos[name][at] @ sitter[name] for name in seen]
            told["leak"] = float(np.mean(leaks))
        return told


def style_picture(name: str) -> np.ndarray:
    """An example picture at the portraits' size, uint8."""
    return np.asarray(Image.open(ROOT / "pictures" / name).convert("RGB").resize((NATIVE_SIDE, NATIVE_SIDE)))


def nearest_style() -> Callable[[np.ndarray], str]:
    """Tells which of the example style pictures a portrait's texture is nearest to."""
    names = sorted(path.name for path in (ROOT / "pictures").glob("style_*"))
    pictures = [style_picture(name) for name in names]
    # So few pictures do not span a space; their parts help.
    spanning = pictures + [part for picture in pictures for part in corners(picture)]
    space = styles.StyleSpace(np.stack([styles.statistics(picture) for picture in spanning]))
    known = space(np.stack([styles.statistics(picture) for picture in pictures]))
    return lambda portrait: names[int((known @ space(styles.statistics(portrait))).argmax())]


def pose_share(drawn: Face | None, photo: Face | None, sitter: Face | None) -> float | None:
    """How far a portrait's landmarks have gone from the photo's to those of the style's sitter: 0 nothing, 1 all the way."""
    if drawn is None or photo is None or sitter is None:
        return None
    far, left = (float(np.linalg.norm(one.landmarks - sitter.landmarks, axis=1).mean()) for one in (photo, drawn))
    return 1 - left / max(far, SMALLEST_DISTANCE)


def likeness_around(picture: np.ndarray, other: np.ndarray, around: np.ndarray) -> float:
    """:func:`likeness` of what lies around the head alone."""
    mean = [each[around].mean(0) for each in (picture, other)]
    cut = [np.where(around[..., None], each, level).astype(np.uint8) for each, level in zip((picture, other), mean)]
    return likeness(*cut)


def told(rows: list[dict], number: str) -> str:
    """Mean and 95 % interval over people: two portraits of one are no two people."""
    by_person: dict[str, list[float]] = {}
    for row in rows:
        if number in row:
            by_person.setdefault(row["person"], []).append(row[number])
    means = np.array([np.mean(values) for values in by_person.values()])
    low, high = paired_interval(means)
    if number in ("found", "first", "style", "pose"):
        return f"{means.mean():.0%} ({low:.0%} to {high:.0%})"
    if number == "lightened":
        return f"{means.mean():+.0f} ({low:+.0f} to {high:+.0f})"
    return f"{means.mean():.2f} ({low:.2f} to {high:.2f})"


def by_group(rows: list[dict]) -> Table:
    """A line a group: how many people, and how well they are kept."""
    lines = []
    for kind in GROUPS:
        for group in sorted({row[kind] for row in rows if kind in row}):
            mine = [row for row in rows if row.get(kind) == group]
            count = len({row["person"] for row in mine})
            lines.append([kind, group, str(count), *(told(mine, number) for number in COLUMNS)])
    return Table(["", "group", "people", *COLUMNS.values()], lines)


def worst(rows: list[dict]) -> dict:
    """For each kind of groups: the group with the lowest margin, and how far it is below the others, with its interval."""
    out = {}
    for kind in GROUPS:
        groups = sorted({row[kind] for row in rows if kind in row})
        if len(groups) < 2:
            continue
        means = {
            group: {
                person: np.mean([row["margin"] for row in rows if row["person"] == person])
                for person in {row["person"] for row in rows if row.get(kind) == group}
            }
            for group in groups
        }
        low = min(groups, key=lambda group: np.mean(list(means[group].values())))
        mine = np.array(list(means[low].values()))
        others = np.array([value for group in groups if group != low for value in means[group].values()])
        rng = np.random.default_rng(0)
        draws = [rng.choice(mine, len(mine)).mean() - rng.choice(others, len(others)).mean() for _ in range(4000)]
        interval = np.quantile(draws, (0.025, 0.975)).round(3).tolist()
        out[kind] = {"group": low, "difference": round(float(mine.mean() - others.mean()), 3), "interval": interval}
    return out


def page(measured: dict[str, list[dict]], arguments: list[str]) -> str:
    presets = [
        [
            f"`{name}`",
            *(told(rows, number) for number in ("found", "first", "margin", "style", "leak", "pose", "ground")),
        ]
        for name, rows in measured.items()
    ]
    whole = [COLUMNS[number] for number in ("found", "first", "margin", "style")]
    head = ["preset", *whole, "style's sitter", "style's pose", "style's ground"]
    lowest = []
    for name, rows in measured.items():
        for kind, found in worst(rows).items():
            low, high = found["interval"]
            settled = "settled" if high < 0 else "not settled"
            lowest.append(
                [f"`{name}`", kind, found["group"], f"{found['difference']:.2f} ({low:.2f} to {high:.2f})", settled]
            )
    first = next(iter(measured.values()))
    skin = [
        f"`{name}`, {group} skin: {told(mine, 'lightened')} degrees"
        for name, rows in measured.items()
        for group in ("darker", "lighter")
        if (mine := [row for row in rows if row["skin"] == group and "lightened" in row])
    ]
    return render(
        "groups.md",
        command=command("groups", arguments),
        people=len({row["person"] for row in first}),
        weights=said_of(DEMO_BASE),
        presets=str(Table(head, presets)),
        tables={name: str(by_group(rows)) for name, rows in measured.items()},
        skin=";\n  ".join(skin),
        worst=str(Table(["preset", "", "group with the lowest id margin", "below the others by", ""], lowest)),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the base's training pictures")
    parser.add_argument("--out", type=Path, default=OUT, help="where the batches lie (default: out/groups)")
    parser.add_argument("--presets", default=",".join(PRESETS), help="which, with commas between them (default: all)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, faces, measured = time.monotonic(), people(options.data), {}
    for preset in options.presets.split(","):
        portraits = draw(preset, faces, options.out / preset)
        measured[preset] = Measured(faces, portraits).rows
        (options.out / f"{preset}.json").write_text(json.dumps(measured[preset]), encoding="utf-8")
        PAGE.write_text(page(measured, sys.argv[1:]), encoding="utf-8")
        print(f"{preset}: {len(measured[preset])} portraits, {time.monotonic() - start:.0f} s", file=sys.stderr)
    print(json.dumps({name: worst(rows) for name, rows in measured.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Sliders measured: how often an edit is seen, and how much of the person stays, by feature and strength.

    python -m benchmarks.edits_of_faces --data FOLDER      docs/edits.md, which is made on demand

FOLDER is that of the base's training pictures (``tools/base/pictures/album.py``). Sliders and portraits are kept in ``--out``,
and a run goes on where it was stopped. The last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from acfun_core.backends.pictures import read_picture, to_pil
from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.backends.transferring import Transfer
from acfun_core.demo_base import DEMO_BASE
from acfun_core.method.adapter import Slider, StyleAdapter
from acfun_core.presets import PRESETS
from acfun_core.storage import adapter_file
from acfun_core.strengths import Strengths
from acfun_core.training.slider import SliderConfig
from tools.base.classifiers import LinearJudge, around, as_it_is
from tools.base.pictures.album import looked_at
from tools.base.traits import DECAY
from tools.base_key import said_of
from tools.comfy.launcher import define_torchvision_operators
from tools.measure.faces import FaceFinder, encoders
from tools.measure.pictures import paired_interval, share

from .drawing import command
from .groups import STYLES, age_of, close_up
from .pages import Table, render
from .workbench import ROOT

OUT, PAGE = ROOT / "out" / "edits", ROOT / "docs" / "edits.md"
PEOPLE, LEARNT_ON, CHECKED, READ = 12, 8, 8, 150
"""How many faces are edited, the sliders learn on, check a judge for each answer, and teach it."""
STEPS = 20
"""Of the drawing. At 40 the swaps of the preset leave less of any edit (benchmarks/settings.md says how steps count)."""
STRENGTHS = (1.0, 2.0)
TEXT = {"female": "woman", "male": "man"}


@dataclass(frozen=True)
class Feature:
    """One feature of a face.

    Attributes:
        slider, push: how it is learned. regions: of a face, which its judge reads.
        has: whether a record's sitter has it; None where nobody knows.
    """

    slider: Slider
    push: float
    regions: tuple[str, ...]
    has: Callable[[dict], bool | None]


def _smiles(record: dict) -> bool | None:
    return {"smiling": True, "serious": False}.get(record.get("mood"))


def _is_old(record: dict) -> bool | None:
    return {"old": True, "young": False}.get(age_of(record))


FEATURES = {
    "smile": Feature(Slider("a photo of a smiling person", "a photo of a serious person"), 10.0, ("mouth",), _smiles),
    "age": Feature(Slider("a photo of an old person", "a photo of a young person"), 10.0, ("eyes", "mouth"), _is_old),
    "glasses": Feature(
        Slider("a photo of a person with glasses", "a photo of a person"),
        10.0,
        ("eyes",),
        lambda record: record.get("glasses"),
    ),
}
UNKNOWN = Slider("a photo of a person with blond hair", "a photo of a person with black hair")
"""Words that no caption of the demo base has."""


def by_hash(records: Sequence[dict]) -> list[dict]:
    return sorted(records, key=lambda record: hashlib.sha256(record["file"].encode()).digest())


class Album:
    """Colour photos of the training pictures, cut around the face."""

    def __init__(self, data: Path):
        self._data = data
        records = [looked_at(json.loads(line)) for line in (data / "records.jsonl").read_text().splitlines()]
        self.photos = by_hash(
            [r for r in records if r["kind"] == "photo" and r.get("colour") and r.get("gender") and r.get("mesh")]
        )
        self.neutral = [r for r in self.photos if r["file"].startswith("london_neutral")]

    def picture(self, record: dict) -> np.ndarray:
        return close_up(self._data / "img" / f"{record['id']:05}.webp")

    def edited(self) -> list[dict]:
        """The people whose portraits are edited: serious ones of the London set, as many of each sex."""
        return [r for sex in TEXT for r in [r for r in self.neutral if r["gender"] == sex][: PEOPLE // 2]]

    def learnt_on(self) -> list[dict]:
        """Others, for the sliders."""
        return [r for sex in TEXT for r in [r for r in self.neutral if r["gender"] == sex][-LEARNT_ON // 2 :]]

    def known(self, feature: Feature) -> dict[bool, list[dict]]:
        """All others of whom it is known, by whether they have the feature."""
        taken = {r["file"].split("/")[-1].split("_")[0] for r in self.edited()}
        others = [r for r in self.photos if r["file"].split("/")[-1].split("_")[0] not in taken]
        return {answer: [r for r in others if feature.has(r) is answer] for answer in (True, False)}


class Judge:
    """Whether a picture shows a feature, read from the regions of its face; learnt from photos."""

    def __init__(self, feature: Feature, album: Album, find: FaceFinder):
        self._regions, self._find = feature.regions, find
        self._judge = LinearJudge(("without", "with"), as_it_is, DECAY)
        rows, labels = [], []
        for answer, records in album.known(feature).items():
            for record in records[CHECKED : CHECKED + READ]:
                row = self._read(album.picture(record))
                if row is not None:
                    rows.append(row)
                    labels.append(int(answer))
        self._judge.fit(np.array(rows), np.array(labels))

    def _read(self, picture: np.ndarray) -> np.ndarray | None:
        face = self._find(picture)
        return None if face is None else np.concatenate([around(region, picture, face) for region in self._regions])

    def __call__(self, picture: np.ndarray) -> bool:
        """Without a face, nothing is seen."""
        row = self._read(picture)
        return row is not None and bool(self._judge(row[None])[0])


class Studio:
    """The base, the sliders, and portraits that are drawn once."""

    def __init__(self, album: Album, out: Path):
        define_torchvision_operators()
        self.base, self.album, self.out = StableDiffusion.load(DEMO_BASE), album, out
        out.mkdir(parents=True, exist_ok=True)
        self._styles = [read_picture(ROOT / "pictures" / name, "style") for name in STYLES]
        self._references: dict[tuple, Transfer] = {}

    def tensor(self, record: dict) -> torch.Tensor:
        return torch.from_numpy(self.album.picture(record).copy()).float()[None] / 255

    def slider(self, name: str) -> StyleAdapter:
        path = self.out / f"{name}.safetensors"
        if not path.exists():
            feature = FEATURES[name]
            photos = [self.tensor(record) for record in self.album.learnt_on()]
            learned = self.base.train_slider(photos, feature.slider, SliderConfig(push=feature.push))
            adapter_file.save(learned, path)
        return adapter_file.load(path)

    def portrait(self, record: dict, style: int, name: str = "", strength: float = 0.0) -> np.ndarray:
        """By the preset instant, with a slider at a strength or without; uint8."""
        path = self.out / f"{record['id']:05}_{style}_{name}_{strength:g}.png"
        if not path.exists():
            if (record["id"], style) not in self._references:
                # Only those of the last face: they are 40 noise levels of two pictures.
                references = self.base.references(self.tensor(record), self._styles[style], STEPS)
                self._references = {(record["id"], style): Transfer(references, PRESETS["instant"].transfer)}
            members = [(self.slider(name), Strengths(encoder=strength, decoder=strength))] if name else []
            words = list(STYLES.values())[style]
            latent = self.base.sample(
                f"{words} of a {TEXT[record['gender']]}",
                members=members,
                steps=STEPS,
                cfg=PRESETS["instant"].draw.cfg,
                transfer=self._references[record["id"], style],
            )
            partial = path.with_suffix(".partial")
            to_pil(self.base.decode(latent)[0]).save(partial, "PNG")
            partial.replace(path)
        return np.asarray(Image.open(path).convert("RGB"))

    @torch.no_grad()
    def heard(self, slider: Slider) -> float:
        """Root mean square of the difference between what the base predicts under both descriptions, on the photos of the
        sliders at five noise levels."""
        latents = torch.cat([self.base.encode(self.tensor(record)) for record in self.album.learnt_on()])
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        squares = []
        for level in (100, 300, 500, 700, 900):
            t = torch.full((len(latents),), level)
            z_t = self.base.schedule.add_noise(latents, noise, t)
            told = [self.base.told(text).context.expand(len(latents), -1, -1) for text in slider]
            more, less = (self.base.predict(z_t, t, context) for context in told)
            squares.append((more - less).square().mean().item())
        return float(np.mean(squares) ** 0.5)


class Likeness:
    """How like the photo a portrait is: the cosine, mean of two face encoders; 0 where no face is found."""

    def __init__(self, find: FaceFinder):
        self._find, self._encoders = find, encoders()

    def __call__(self, photo: np.ndarray, drawn: np.ndarray) -> float:
        faces = [self._find(picture) for picture in (photo, drawn)]
        if None in faces:
            return 0.0
        pairs = [[encode(p, f) for p, f in zip((photo, drawn), faces)] for encode in self._encoders.values()]
        return float(np.mean([one @ other for one, other in pairs]))


def checked(judge: Judge, feature: Feature, studio: Studio) -> dict[str, list[bool]]:
    """What a judge says of unedited portraits of people who have a feature and of those who have not."""
    return {
        str(answer): [judge(studio.portrait(record, at % len(STYLES))) for at, record in enumerate(records[:CHECKED])]
        for answer, records in studio.album.known(feature).items()
    }


def measure(studio: Studio) -> dict[str, dict]:
    """Of each feature: what its judge is worth, and for each strength whether it is seen and how much of the person stays."""
    find, people = FaceFinder(), studio.album.edited()
    likeness, found = Likeness(find), {}
    for name, feature in FEATURES.items():
        judge = Judge(feature, studio.album, find)
        rows = []
        for at, record in enumerate(people):
            photo, style = studio.album.picture(record), at % len(STYLES)
            plain = studio.portrait(record, style)
            row = {"person": record["id"], "before": judge(plain), "like": likeness(photo, plain), "edited": {}}
            for strength in STRENGTHS:
                drawn = studio.portrait(record, style, name, strength)
                row["edited"][f"{strength:g}"] = {"seen": judge(drawn), "like": likeness(photo, drawn)}
            rows.append(row)
        found[name] = {"judge": checked(judge, feature, studio), "rows": rows, "heard": studio.heard(feature.slider)}
        print(f"{name}: done", file=sys.stderr)
    return found


def kept(rows: list[dict], strength: str) -> tuple[float, float, float]:
    """Likeness of the edited portraits as a share of the unedited ones', with its 95 % interval over people."""
    pairs = np.array([[row["edited"][strength]["like"], row["like"]] for row in rows])
    whole = pairs[:, 1].mean()
    low, high = paired_interval(pairs[:, 0] / whole)
    return float(pairs[:, 0].mean() / whole), low, high


def table(found: dict[str, dict]) -> Table:
    rows = []
    for name, one in found.items():
        for strength in one["rows"][0]["edited"]:
            without = [row for row in one["rows"] if not row["before"]]
            seen = share(np.array([row["edited"][strength]["seen"] for row in without], bool))
            value, low, high = kept(one["rows"], strength)
            rows.append(
                [
                    name,
                    strength,
                    f"{seen['value']:.0%} ({seen['low']:.0%} to {seen['high']:.0%}) of {seen['of']}"
                    if seen["of"]
                    else "not judged",
                    f"{value:.0%} ({low:.0%} to {high:.0%})",
                ]
            )
    return Table(["slider", "strength", "the edit is seen", "likeness kept"], rows)


def judges(found: dict[str, dict]) -> Table:
    rows = []
    for name, one in found.items():
        yes, no = (one["judge"][str(answer)] for answer in (True, False))
        rows.append([name, f"{sum(yes)} of {len(yes)}", f"{len(no) - sum(no)} of {len(no)}"])
    return Table(["judge", "right where it is there", "right where it is not"], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the base's training pictures")
    parser.add_argument("--out", type=Path, default=OUT, help="where sliders and portraits lie (default: out/edits)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    studio = Studio(Album(options.data), options.out)
    found, unknown = measure(studio), studio.heard(UNKNOWN)
    text = render(
        "edits.md",
        command=command("edits_of_faces", sys.argv[1:]),
        weights=said_of(DEMO_BASE),
        people=PEOPLE,
        learnt_on=LEARNT_ON,
        steps=STEPS,
        edits=str(table(found)),
        judges=str(judges(found)),
        heard=[[name, f"{one['heard']:.3f}"] for name, one in found.items()] + [["hair", f"{unknown:.3f}"]],
        sliders={name: feature for name, feature in FEATURES.items()},
    )
    PAGE.write_text(text, encoding="utf-8")
    print(json.dumps({"seconds": round(time.monotonic() - start), **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

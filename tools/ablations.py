"""The paper's ablations on the embedded base: train each, draw the same seeds, measure, write docs/ablations.md and a picture.

    python -m tools.ablations --steps 200 --seeds 4
    python -m tools.ablations --steps 200 --seeds 4 --only full,encoder   some of them now, the others in a later run

What is finished is kept in ``out/ablations`` (an adapter a training, a picture a seed) and not made again. The page is written
when all are there. Faces and styles are the example pictures unless named.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from acfun_core.backends.pictures import read_picture, to_pil
from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.config import AdapterConfig, Strengths, TrainConfig
from acfun_core.embedded import NATIVE_SIDE
from acfun_core.images import square
from acfun_core.method.adapter import StyleAdapter
from acfun_core.storage import adapter_file
from tools import ablation_page
from tools.base_key import base_key
from tools.comfy.launcher import define_torchvision_operators
from tools.measure import pictures as measure

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "out" / "ablations"
FACES = [ROOT / "pictures" / "face_astronaut.png"]
STYLES = [ROOT / "pictures" / name for name in ("style_woodblock.png", "style_oil.jpg", "style_pop.png")]
# The embedded base finds its way to a face after "a photo of" far more often than after the paper's "a painting of".
DESCRIPTION = "a photo of a woman in S* style"


@dataclass(frozen=True)
class Ablation:
    """One row of the table.

    Attributes:
        name: in files and claims; title: in the table.
        adapter, train: fields of AdapterConfig and TrainConfig that differ from the defaults.
        strengths: at inference.
        of: name of the row whose adapter it uses; its own by default.
    """

    name: str
    title: str
    adapter: dict = field(default_factory=dict)
    train: dict = field(default_factory=dict)
    strengths: Strengths = Strengths()
    of: str = ""

    @property
    def trained_as(self) -> str:
        return self.of or self.name


ABLATIONS = (
    Ablation("text", "text only (no adapter)", strengths=Strengths(0.0, 0.0, 0.0), of="full"),
    Ablation("abstract", "abstract only", {"blocks": "none"}),
    Ablation("encoder", "abstract + encoder", {"blocks": "encoder"}),
    Ablation("decoder", "abstract + decoder", {"blocks": "decoder"}),
    Ablation("full", "ACFun (abstract + both)"),
    Ablation("pseudo", "pseudo-word in place of the description", {"prompt": "pseudo_word"}),
    Ablation("weight06", "weights 0.6 : 1", train={"style_weight": 0.6}),
    Ablation("weight10", "weights 1 : 1", train={"style_weight": 1.0}),
    Ablation("attention", "CFun in the attention", {"place": "attention"}),
    Ablation("mean_std", "steered by mean and deviation", {"stats": "mean_std"}),
    Ablation("sequence", "e_a as a sequence", {"abstract_mode": "sequence"}),
    Ablation("literal", "e_a as a sequence, to the letter of eq. 2", {"abstract_mode": "sequence_literal"}),
    Ablation("blend", "one noised input, the blend", train={"noisy_source": "blend"}),
    Ablation("low_rank", "CFun of rank 16", {"form": "low_rank"}),
    Ablation("per_channel", "CFun per channel", {"form": "per_channel"}),
    Ablation("split", "face at high noise, style at low (split 0.4)", train={"timestep_split": 0.4}),
    Ablation("half", "all strengths 0.5", strengths=Strengths(0.5, 0.5, 0.5), of="full"),
    Ablation("strong", "all strengths 1.5", strengths=Strengths(1.5, 1.5, 1.5), of="full"),
)


@dataclass(frozen=True)
class Pair:
    """A face and a style, by their files."""

    face: Path
    style: Path

    @property
    def name(self) -> str:
        return f"{self.face.stem}-{self.style.stem}"


class Work:
    """Trains and draws what is not there yet.

    Args:
        folder: of this run's base and settings; pictures of others never mix with it.
    """

    def __init__(self, options: argparse.Namespace):
        self.options = options
        drawing = f"sampler{options.sampler_steps}_cfg{options.cfg:g}"
        key = base_key(options.base, options.description)
        self.folder = OUT / f"{key}_steps{options.steps}_side{options.side}_seed{options.seed}_{drawing}"
        self.folder.mkdir(parents=True, exist_ok=True)
        # diffusers imports torchvision, whose compiled operators may not fit a CPU build of torch.
        define_torchvision_operators()
        self.base = StableDiffusion.load(options.base)
        self._loaded: dict[Path, torch.Tensor] = {}

    def picture(self, path: Path) -> torch.Tensor:
        """(1, H, W, 3)."""
        if path not in self._loaded:
            self._loaded[path] = read_picture(path, "picture")
        return self._loaded[path]

    def drawing(self, ablation: Ablation, pair: Pair, seed: int) -> Path:
        return self.folder / f"{ablation.name}-{pair.name}-{seed}.png"

    def adapter(self, ablation: Ablation, pair: Pair) -> StyleAdapter:
        """Trained now, or read from an earlier run."""
        [trained] = [one for one in ABLATIONS if one.name == ablation.trained_as]
        path = self.folder / f"{trained.name}-{pair.name}.safetensors"
        if not path.exists():
            config = TrainConfig(steps=self.options.steps, seed=self.options.seed, **trained.train)
            adapter_config = AdapterConfig(self.options.description, **trained.adapter)
            style, face = self.picture(pair.style), self.picture(pair.face)
            adapter = self.base.train(style, face, adapter_config, config, self.options.side)
            adapter_file.save(adapter, path, overwrite=True)
        return adapter_file.load(path)

    def draw(self, ablation: Ablation, pair: Pair) -> None:
        """All seeds of one row and pair; a file appears when its picture is whole."""
        seeds = [seed for seed in range(self.options.seeds) if not self.drawing(ablation, pair, seed).exists()]
        if not seeds:
            return
        members = [(self.adapter(ablation, pair), ablation.strengths)]
        side = self.options.side
        for seed in seeds:
            latents = self.base.sample(
                self.options.description,
                members=members,
                seed=seed,
                steps=self.options.sampler_steps,
                cfg=self.options.cfg,
                size=(side, side),
            )
            path = self.drawing(ablation, pair, seed)
            partial = path.with_suffix(".partial")
            to_pil(self.base.decode(latents)[0]).save(partial, "PNG")
            partial.replace(path)


class Judges:
    """The numbers of one drawn picture."""

    def __init__(self, work: Work, pairs: list[Pair], with_faces: bool):
        self.work, self.side = work, work.options.side
        self.styles = sorted({pair.style for pair in pairs})
        self.faces = with_faces
        if with_faces:
            from tools.measure.faces import FaceFinder, encoders

            self.find, self.encoders = FaceFinder(), encoders()

    def training_picture(self, path: Path) -> np.ndarray:
        """What the training saw of a file, uint8 [side, side, 3]."""
        return np.asarray(to_pil(square(self.work.picture(path), self.side)[0]))

    def statistics(self, picture: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(picture.astype(np.float32) / 255)[None]
        return measure.token_statistics(self.work.base.style_tokens(pixels).numpy())

    def identity(self, picture: np.ndarray, sitter: np.ndarray) -> dict[str, float]:
        """Cosine of both faces by each encoder; a picture without a face counts 0."""
        drawn, own = self.find(picture), self.find(sitter)
        if own is None:
            raise SystemExit("No face was found in a training photo; choose another.")
        return {
            f"identity_{name}": 0.0 if drawn is None else float(encode(picture, drawn) @ encode(sitter, own))
            for name, encode in self.encoders.items()
        } | {"face_found": float(drawn is not None)}

    def numbers(self, picture: np.ndarray, plain: np.ndarray, pair: Pair) -> dict[str, float]:
        """All but the style margin, which needs all pictures at once.

        Args:
            plain: what the base draws from the same noise without an adapter.
        """
        style, face = self.training_picture(pair.style), self.training_picture(pair.face)
        found = {
            "copy_style": measure.likeness(picture, style),
            "copy_face": measure.likeness(picture, face),
            "ghost": measure.explained(picture, [style, face]),
            "structure": measure.explained(picture, [style, face], measure.COARSE),
            "texture": measure.texture(picture),
            "change": float(np.abs(picture.astype(float) - plain).mean() / 255),
        }
        return {**found, **(self.identity(picture, face) if self.faces else {})}


def measured(work: Work, pairs: list[Pair], judges: Judges) -> dict[str, dict[str, np.ndarray]]:
    """Row name -> number -> values over pairs and seeds, in the same order for every row."""
    statistics = np.stack([judges.statistics(judges.training_picture(path)) for path in judges.styles])
    rows: dict[str, dict[str, np.ndarray]] = {}
    for ablation in ABLATIONS:
        found, drawn, own = [], [], []
        for pair in pairs:
            for seed in range(work.options.seeds):
                picture = np.asarray(Image.open(work.drawing(ablation, pair, seed)))
                plain = np.asarray(Image.open(work.drawing(ABLATIONS[0], pair, seed)))
                found.append(judges.numbers(picture, plain, pair))
                drawn.append(judges.statistics(picture))
                own.append(judges.styles.index(pair.style))
        margins, firsts = measure.style_margins(np.stack(drawn), statistics, np.array(own))
        rows[ablation.name] = {name: np.array([one[name] for one in found]) for name in found[0]}
        rows[ablation.name] |= {"style": margins, "style_first": firsts.astype(float)}
    return rows


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--base", type=Path, default=ROOT / "base", help="diffusers folder of the base (the embedded one)"
    )
    parser.add_argument("--faces", type=Path, nargs="+", default=FACES, help="photos")
    parser.add_argument("--styles", type=Path, nargs="+", default=STYLES, help="style pictures, at least two")
    parser.add_argument("--description", default=DESCRIPTION, help=f"face description ({DESCRIPTION})")
    parser.add_argument("--steps", type=int, default=200, help="training steps (200)")
    parser.add_argument("--seeds", type=int, default=4, help="pictures a pair (4)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all trainings (0)")
    parser.add_argument("--side", type=int, default=NATIVE_SIDE, help=f"side in pixels ({NATIVE_SIDE})")
    parser.add_argument("--sampler-steps", type=int, default=40, help="sampling steps (40)")
    parser.add_argument("--cfg", type=float, default=3.0, help="guidance (3)")
    parser.add_argument("--only", default="", help="names of rows, with commas: draw these and write no page")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page and its picture (docs)")
    parser.add_argument("--without-faces", action="store_true", help="leave the face encoders out; the page says so")
    options = parser.parse_args(arguments)
    unknown = set(filter(None, options.only.split(","))) - {ablation.name for ablation in ABLATIONS}
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(a.name for a in ABLATIONS)}")
    if len(options.styles) < 2:
        parser.error("a style margin needs at least two styles")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    work = Work(options)
    pairs = [Pair(face, style) for face in options.faces for style in options.styles]
    only = set(filter(None, options.only.split(",")))
    wanted = [ablation for ablation in ABLATIONS if not only or ablation.name in only]
    # A missing face encoder is said now, not after hours of training.
    judges = None if only else Judges(work, pairs, not options.without_faces)
    for number, ablation in enumerate(wanted, 1):
        for pair in pairs:
            print(f"[{number}/{len(wanted)}] {ablation.title}: {pair.name}", flush=True)
            work.draw(ablation, pair)
    if judges is None:
        return 0
    rows = measured(work, pairs, judges)
    options.docs.mkdir(parents=True, exist_ok=True)
    ablation_page.write(options.docs, work, pairs, ABLATIONS, rows, judges)
    print(options.docs / "ablations.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A plan as jobs: each training and each drawing once, under a key made of all that decides its result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..config import AdapterConfig, DrawConfig, TrainConfig, TransferConfig
from ..strengths import Strengths
from .keys import key_of
from .plan import Row
from .ways import Way


@dataclass(frozen=True)
class Source:
    """A picture: where it is and which bytes it had when the plan was made."""

    address: str
    digest: str


@dataclass(frozen=True)
class Training:
    """One style to learn, and one face with it or the style itself."""

    key: str
    style: Source
    face: Source
    kind: AdapterConfig
    config: TrainConfig
    resolution: int | None

    @property
    def file(self) -> str:
        return f"adapters/{self.key}.safetensors"


@dataclass(frozen=True)
class Drawing:
    """One portrait to draw.

    Attributes:
        training: key of the training whose adapter it needs; empty if none.
        name: of the picture's file, before the digits that tell its content; it does not count in the key.
    """

    key: str
    training: str
    style: Source
    face: Source
    strengths: Strengths
    drawing: DrawConfig
    transfer: TransferConfig
    prompt: str
    negative: str
    resolution: int | None
    name: str = field(compare=False)

    @property
    def file(self) -> str:
        return f"pictures/{self.name}_{self.key[:8]}.png"

    @property
    def adapter_file(self) -> str:
        return f"adapters/{self.training}.safetensors"


Job = Training | Drawing


@dataclass(frozen=True)
class Work:
    """Everything that a plan asks for.

    Attributes:
        trainings, drawings: key -> job, in the order of the plan.
        rows: each row with the key of its drawing; rows that ask for the same picture share one.
    """

    trainings: dict[str, Training]
    drawings: dict[str, Drawing]
    rows: list[tuple[Row, str]]


def work_of(rows: Sequence[Row], sources: Mapping[str, Source], base: str) -> Work:
    """The jobs of a plan.

    Args:
        sources: address -> the picture there, of every picture.
        base: from :func:`~acfun_core.batch.keys.identity_of`.
    """
    work = Work({}, {}, [])
    described: dict[Way, dict] = {}
    for row in rows:
        style, face = sources[row.style], sources[row.face]
        # Of thousands of rows most go the same few ways.
        told = described.get(row.way) or described.setdefault(row.way, _described(row.way))
        training = ""
        if row.way.learns:
            learned = style if row.way.learns == "style" else face
            training = key_of(base=base, style=style.digest, face=learned.digest, **told["training"])
            if training not in work.trainings:
                way = row.way
                job = Training(training, style, learned, way.kind, way.training, way.resolution)
                work.trainings[training] = job
        key = key_of(base=base, training=training, style=style.digest, face=face.digest, **told["drawing"])
        if key not in work.drawings:
            work.drawings[key] = _drawing(row, key, training, style, face)
        work.rows.append((row, key))
    return work


def _drawing(row: Row, key: str, training: str, style: Source, face: Source) -> Drawing:
    way = row.way
    how = way.strengths, way.drawing, way.transfer
    return Drawing(key, training, style, face, *how, way.prompt, way.negative, way.resolution, row.name)


def _described(way: Way) -> dict[str, dict]:
    """What of a way decides a training, and what a drawing beyond it."""
    training = {
        "adapter": dataclasses.asdict(way.kind),
        "train": way.training.as_dict(),
        "resolution": way.resolution,
    }
    strengths = {name: value for name, value in dataclasses.asdict(way.strengths).items() if name != "mask"}
    drawing = {
        "strengths": strengths,
        "draw": dataclasses.asdict(way.drawing),
        "transfer": dataclasses.asdict(way.transfer),
        "prompt": way.prompt,
        "negative": way.negative,
        "resolution": way.resolution,
    }
    return {"training": training, "drawing": drawing}

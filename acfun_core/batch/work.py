"""One training and one drawing. Every engine calls these, each with the same number of threads, so that the bits are the same.

On a CPU the number of threads decides the order in which sums are added, and so the last bits of a picture; another kind of
processor does, too. On a GPU, cuDNN and cuBLAS choose.
"""

from __future__ import annotations

import getpass
import io
import json
import platform
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from .. import __version__
from ..backends.pictures import read_picture, seen_by, to_pil
from ..backends.stable_diffusion import StableDiffusion
from ..backends.transferring import Transfer
from ..errors import ACFunError
from ..faces.score import LikenessByCLIP, copied_share
from ..method.adapter import StyleAdapter
from ..storage import adapter_file
from ..training.keeper import StateKeeper
from ..transfer.references import References
from .folders import read_file
from .jobs import Drawing, Job, Source, Training
from .keys import digest_of
from .results import Results

BYTES_OF_WAYS, ADAPTERS_KEPT = 256 * 2**20, 4
"""In a worker's memory. A picture's way to noise takes 2.7 MB at 512 px and 40 steps; a photo's serves every style."""
METADATA_KEY = "acfun"
Value = TypeVar("Value")


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        record: of a drawing that is done, as :mod:`~acfun_core.batch.results` keeps it; of a training its seconds.
        reason: why it failed; empty if it did not.
        stop: what, expected and fix of an error that is not the job's own, on which the whole batch ends.
    """

    key: str
    record: dict[str, Any] | None = None
    reason: str = ""
    stop: tuple[str, str, str] | None = None


class Workshop:
    """A base, and what is done with it.

    Args:
        base: is only read.
        results: where adapters and pictures go.
        threads: of torch, for each job.
        states: a folder of this machine for the states of trainings, from which a killed one goes on.
    """

    def __init__(self, base: StableDiffusion, results: Results, threads: int, states: Path | None = None):
        self._base, self._results, self._threads = base, results, threads
        self._states = states or state_folder()
        self._ways: Kept[Tensor] = Kept(BYTES_OF_WAYS, weight=lambda way: way.nbytes)
        self._adapters: Kept[StyleAdapter] = Kept(ADAPTERS_KEPT)

    def do(self, job: Job) -> Outcome:
        """Do a job and keep its result; a job that cannot be done is an outcome, too.

        Raises:
            ACFunError: the results cannot be written, which is no fault of the job.
        """
        start = time.monotonic()
        with threads_of(self._threads):
            try:
                content, told = self._train(job) if isinstance(job, Training) else self._draw(job)
            # Whatever one picture does to the libraries costs its row and no other, and the row says what it was.
            except Exception as error:
                reason = _reason(error)
                self._results.keep_failure(job.key, reason)
                return Outcome(job.key, reason=reason)
        told = {"seconds": round(time.monotonic() - start, 3), **told, "machine": platform.node()}
        if isinstance(job, Training):
            self._results.keep_adapter(job.key, content)
            return Outcome(job.key, told)
        return Outcome(job.key, self._results.keep_picture(job, content, told))

    # -- training -----------------------------------------------------------------------

    def _train(self, job: Training) -> tuple[bytes, dict[str, Any]]:
        style = picture_of(job.style, "style picture")
        face = style if job.face.digest == job.style.digest else picture_of(job.face, "face photo")
        key = self._base.training_key(style, face, job.kind, job.config, job.resolution)
        self._states.mkdir(parents=True, exist_ok=True)
        keeper = StateKeeper(self._states, key)
        said: list[str] = []
        adapter = self._base.train(style, face, job.kind, job.config, job.resolution, keeper=keeper, say=said.append)
        with tempfile.TemporaryDirectory() as folder:
            content = adapter_file.save(adapter, Path(folder) / "adapter.safetensors").read_bytes()
        keeper.end()
        return content, {"resumed_from": keeper.resumed, "notices": said}

    # -- drawing ------------------------------------------------------------------------

    def _draw(self, job: Drawing) -> tuple[bytes, dict[str, Any]]:
        style, face = picture_of(job.style, "style picture"), picture_of(job.face, "face photo")
        members = [(self._adapter(job), job.strengths)] if job.training else []
        settings = job.drawing
        latents = self._base.sample(
            job.prompt,
            job.negative,
            members,
            settings.seed,
            settings.steps,
            settings.cfg,
            transfer=Transfer(self._references(job, style, face), job.transfer),
        )
        picture = self._base.decode(latents)
        return png_of(picture[0], job), self._scores(picture, style, face)

    def _adapter(self, job: Drawing) -> StyleAdapter:
        def load() -> StyleAdapter:
            content = self._results.folder.read(job.adapter_file)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "adapter.safetensors"
                path.write_bytes(content)
                return adapter_file.load(path, self._base.device)

        return self._adapters.get((job.training,), load)

    def _references(self, job: Drawing, style: Tensor, face: Tensor) -> References:
        """Both pictures on their ways to noise. Each goes alone, so that the way found once serves wherever it is in a plan."""
        steps, side = job.drawing.steps, job.resolution or self._base.native_side

        def way(source: Source, picture: Tensor) -> Tensor:
            found = partial(self._base.way_to_noise, picture, steps, side)
            return self._ways.get((source.digest, steps, side), found)

        ways = torch.cat([way(job.face, face), way(job.style, style)], dim=1)
        return References(self._base.levels(steps).sigmas, ways)

    def _scores(self, picture: Tensor, style: Tensor, face: Tensor) -> dict[str, float | None]:
        """Identity and style by CLIP vision, None without it or where both pictures are one to it, and the copied share."""
        told: dict[str, float | None] = {"identity": None, "style": None}
        told["copy"] = round(copied_share(picture, [style, face]), 4)
        if self._base.has_image_encoder:
            try:
                likeness = LikenessByCLIP(partial(seen_by, self._base.image_encoder), picture, style, face)
                told |= {"identity": round(likeness.to_face()[0], 4), "style": round(likeness.to_style()[0], 4)}
            except ACFunError:
                # The photo and the style picture are the same to it: there is no scale between them.
                pass
        return told


class Kept(Generic[Value]):
    """The values that were used last, each under what it was made from.

    Args:
        most: how much of them.
        weight: how much one is.
    """

    def __init__(self, most: int, weight: Callable[[Value], int] = lambda value: 1):
        self._most, self._weight = most, weight
        self._values: OrderedDict[tuple, Value] = OrderedDict()

    def get(self, key: tuple, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it is not there."""
        value = self._values.pop(key) if key in self._values else make()
        self._values[key] = value
        while len(self._values) > 1 and sum(map(self._weight, self._values.values())) > self._most:
            self._values.popitem(last=False)
        return value


def picture_of(source: Source, role: str) -> Tensor:
    """(1, H, W, 3), values 0-1.

    Raises:
        ACFunError: it is no picture that can be used, or it is another than when the plan was made.
        OSError: it cannot be read.
    """
    content = read_file(source.address)
    if digest_of(content) != source.digest:
        raise ACFunError(
            f"The {role} {source.address} is another than when the batch began.",
            "pictures that stay as they are while a batch runs",
            "start the same command again",
        )
    return read_picture(source.address, role, contrast=True, content=content)


def png_of(picture: Tensor, job: Drawing) -> bytes:
    """A portrait (H, W, 3), values 0-1, as a PNG file with its settings: nothing that another machine would say otherwise."""
    strengths = {name: value for name, value in asdict(job.strengths).items() if name != "mask"}
    told = {
        "prompt": job.prompt,
        "negative": job.negative,
        **asdict(job.drawing),
        "strengths": strengths,
        "transfer": asdict(job.transfer),
        "style": job.style.digest,
        "face": job.face.digest,
        "training": job.training,
        "key": job.key,
        "software": f"ACFun {__version__}",
    }
    entries, written = PngInfo(), io.BytesIO()
    entries.add_text(METADATA_KEY, json.dumps(told))
    to_pil(picture).save(written, "PNG", pnginfo=entries)
    return written.getvalue()


def state_folder() -> Path:
    """Where trainings of batches keep their states on this machine: of one's own, since others may not write into it."""
    return Path(tempfile.gettempdir()) / f"acfun-batch-{getpass.getuser()}"


@contextmanager
def threads_of(count: int) -> Iterator[None]:
    """torch computes with so many threads while this lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no message"
    return text[:500] if isinstance(error, ACFunError) else f"{type(error).__name__}: {text[:500]}"

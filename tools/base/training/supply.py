"""Pictures that arrive while a stage trains: processes draw them, a ring on the device keeps the newest.

Processes wait while what they have drawn is not wanted. A ring wants more until it is full, and then as often as its pictures
have been used `uses` times on average: so producers do not take cores from the trainer for nothing.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from .. import media
from ..pictures.album import Album
from ..pictures.stream import Stream

MEDIA = ("photo", *media.MEDIA)
AHEAD = 2
"""Chunks that wait for the trainer; each process holds two more."""


class Chunk(NamedTuple):
    """Pictures, uint8 [n, 3, s, s], or their latents, half [n, 4, s / 8, s / 8]; token ids of some captions of each,
    [n, captions, 77]; index in MEDIA, -1 for real art, [n]."""

    images: Tensor
    words: Tensor
    media: Tensor

    def to(self, device: str) -> Chunk:
        return Chunk(*(part.to(device, non_blocking=True) for part in self))


def normal(images: Tensor) -> Tensor:
    """uint8 -> float in -1..1, channels last."""
    return images.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def encoded(encoder: nn.Module, images: Tensor, part: int = 8) -> Tensor:
    """Latents, half, of pictures uint8 [n, 3, s, s]."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
        return torch.cat([encoder(normal(x)).half() for x in images.split(part)])


class Drawn(IterableDataset):
    """Endless chunks of fresh pictures with captions, other ones in each process; as latents where there is an encoder."""

    def __init__(self, data: Path, cfg, seed: int, encoder: nn.Module | None = None) -> None:
        self.data, self.cfg, self.seed, self.encoder = data, cfg, seed, encoder

    def __iter__(self) -> Iterator[tuple[Tensor, list[list[str]], Tensor]]:
        process = get_worker_info()
        if process is not None:
            os.nice(5)
            cv2.setNumThreads(1)
            torch.set_flush_denormal(True)
        stream = Stream(Album(self.data), self.cfg.pictures, self.seed + (process.id if process else 0))
        while True:
            drawn = [next(stream) for _ in range(self.cfg.supply.chunk)]
            images = torch.from_numpy(np.stack([p.image for p in drawn])).permute(0, 3, 1, 2).contiguous()
            texts = [[stream.caption(p.record) for _ in range(self.cfg.supply.captions)] for p in drawn]
            named = torch.tensor([MEDIA.index(m) if (m := p.record["medium"]) in MEDIA else -1 for p in drawn])
            yield images if self.encoder is None else encoded(self.encoder, images), texts, named


class Supply:
    """Chunks from `producers` processes, or from a thread where that is 0. `words` makes token ids [n, 77] of n texts."""

    def __init__(self, drawn: Drawn, producers: int, words: Callable[[list[str]], Tensor]) -> None:
        loader = DataLoader(
            drawn,
            batch_size=None,
            num_workers=producers,
            prefetch_factor=2 if producers else None,
            multiprocessing_context="spawn" if producers else None,
        )
        self.chunks, self.words = iter(loader), words
        self.ready: queue.Queue = queue.Queue(maxsize=AHEAD)
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._fetch, daemon=True)
        self.thread.start()

    def _fetch(self) -> None:
        try:
            for images, texts, named in self.chunks:
                ids = self.words([text for row in texts for text in row]).to(torch.int16)
                if not self._put(Chunk(images, ids.unflatten(0, (len(texts), -1)), named)):
                    return
        except BaseException as error:  # a thread's error is seen by nobody: the trainer raises it
            self._put(error)

    def _put(self, item) -> bool:
        while not self.closed.is_set():
            try:
                self.ready.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def take(self, wait: bool = False) -> Chunk | None:
        """The next chunk, or None where none is ready and the caller does not wait."""
        try:
            item = self.ready.get(block=wait)
        except queue.Empty:
            return None
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """End the thread and the processes."""
        self.closed.set()
        self.thread.join()
        del self.chunks


class Ring:
    """The newest `capacity` examples, on the device."""

    def __init__(self, capacity: int, uses: float) -> None:
        self.capacity, self.uses = capacity, uses
        self.parts: Chunk | None = None
        self.added = self.drawn = 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    @property
    def hungry(self) -> bool:
        return self.added < self.capacity or self.drawn >= self.uses * self.added

    def add(self, chunk: Chunk) -> None:
        if self.parts is None:
            self.parts = Chunk(*(part.new_zeros(self.capacity, *part.shape[1:]) for part in chunk))
        count = len(chunk.images)
        places = torch.arange(self.added, self.added + count, device=chunk.images.device) % self.capacity
        for kept, new in zip(self.parts, chunk):
            kept[places] = new
        self.added += count

    def draw(self, count: int) -> Chunk:
        """Examples with one caption each: token ids [n, 77]."""
        device = self.parts.images.device
        chosen = torch.randint(len(self), (count,), device=device)
        images, words, named = (part[chosen] for part in self.parts)
        said = torch.randint(words.shape[1], (count,), device=device)
        self.drawn += count
        return Chunk(images, words[torch.arange(count, device=device), said].long(), named)

    def state_dict(self) -> dict:
        return {"parts": [part[: len(self)] for part in self.parts], "drawn": self.drawn}

    def load_state_dict(self, state: dict) -> None:
        self.add(Chunk(*state["parts"]))
        self.drawn = state["drawn"]


class Feed:
    """A ring that a supply fills while it is drawn from. `change` is done to each chunk on its way."""

    def __init__(
        self, supply: Supply, ring: Ring, device: str, change: Callable[[Chunk], Chunk] = lambda chunk: chunk
    ) -> None:
        self.supply, self.ring, self.device, self.change = supply, ring, device, change

    def fill(self, count: int) -> None:
        """Wait until the ring holds so many examples."""
        while len(self.ring) < min(count, self.ring.capacity):
            self.ring.add(self.change(self.supply.take(wait=True).to(self.device)))

    def draw(self, count: int) -> Chunk:
        if self.ring.hungry and (chunk := self.supply.take()) is not None:
            self.ring.add(self.change(chunk.to(self.device)))
        return self.ring.draw(count)

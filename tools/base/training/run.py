"""What the stages work on: the four networks, the pictures that arrive, and the time."""

from __future__ import annotations

import json
import os
import time
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from ..common import status
from ..export import fresh, load_given, load_run, save_run
from ..pictures.album import Album
from ..tokenizer import CLIPTokenizer, encode
from .loop import Loop
from .supply import Chunk, Drawn, Feed, Ring, Supply, encoded

CHANGED = {
    "encoders": ("text_encoder", "image_encoder"),
    "words": ("text_encoder",),
    "autoencoder": ("vae",),
    "decoder": ("vae",),
    "unet": ("unet",),
    "plain": ("unet",),
    "image_encoder": ("text_encoder", "image_encoder"),
}
"""Which networks a stage trains."""
RESERVE = 0.04
"""Part of the time, at most 20 s, that is left for the export and the sheet of samples."""


class Run:
    """One training in a folder of its own, which it goes on from after a kill.

    Args:
        args: `data`, `run`, `given` (folder of weights to start from, or None), `device`, `minutes`, `producers`, `cfg`.
        stages: what is to be done, in order.
        began: `time.monotonic()` at the start of the command.
    """

    def __init__(self, args, stages: list[str], began: float) -> None:
        self.cfg, self.folder, self.device, self.stages = args.cfg, args.run, args.device, stages
        self.cuda = self.device.startswith("cuda")
        self.data, self.album = args.data, Album(args.data)
        self.producers = self.cfg.supply.producers if args.producers is None else args.producers
        self.progress = self.folder / "progress.json"
        self.done: dict[str, float] = json.loads(self.progress.read_text()) if self.progress.exists() else {}
        before = sum(self.done.values()) + sum(_spent(p) for p in self.folder.glob("state_*.pt"))
        total = args.minutes * 60
        self.deadline = began + total - min(20.0, RESERVE * total) - before
        self.tokenizer = CLIPTokenizer.from_pretrained(self.folder / "tokenizer")
        self.networks = fresh(self.cfg, self.tokenizer)
        self.known = load_given(args.given, self.networks) if args.given else set()
        self.known |= load_run(self.folder, self.networks)
        for network in self.networks.values():
            network.to(self.device).eval().requires_grad_(False)
        for name in ("vae", "unet"):
            self.networks[name].to(memory_format=torch.channels_last)
        self._supplies: dict[bool, Supply] = {}

    def seconds(self, stage: str) -> float:
        """Time for a stage: its share of what is left for it and those after it."""
        later = self.stages[self.stages.index(stage) :]
        weights = {name: getattr(self.cfg.time, name, 0.0) for name in later}
        return max(0.0, self.deadline - time.monotonic()) * weights[stage] / (sum(weights.values()) or 1.0)

    def loop(self, stage: str, model: nn.Module, optimizer: torch.optim.Optimizer, cfg, **more) -> Loop:
        """The stage's loop; what is drawn at random from here on depends on the seed and the step."""
        loop = Loop(
            self.folder, stage, self.seconds(stage), model, optimizer, cfg, save_every=self.cfg.save_every, **more
        )
        torch.manual_seed(self.cfg.seed + loop.step)
        return loop

    def autocast(self):
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.cuda)

    def words(self, texts: list[str]) -> torch.Tensor:
        """Token ids [n, 77]."""
        return encode(self.tokenizer, texts)

    @cached_property
    def pictures(self) -> Feed:
        """Pictures for the autoencoder and the encoders of text and image."""
        return Feed(self._supply(latents=False), Ring(self.cfg.supply.pictures, self.cfg.supply.uses), self.device)

    def latents(self) -> Feed:
        """Latents for the UNet. On a CPU the producers encode, since that takes them twelve times as long as to draw; a GPU
        takes the pictures that are there and encodes what comes."""
        ring, encoder = Ring(self.cfg.supply.latents, self.cfg.supply.uses), self.networks["vae"].encoder
        if not self.cuda:
            return Feed(self._supply(latents=True), ring, self.device)

        def change(chunk: Chunk) -> Chunk:
            return chunk._replace(images=encoded(encoder, chunk.images, part=256))

        if "pictures" in self.__dict__:
            kept = self.pictures.ring
            for start in range(0, len(kept), 256):
                stop = min(start + 256, len(kept))
                ring.add(change(Chunk(*(part[start:stop] for part in kept.parts))))
            del self.__dict__["pictures"]
        return Feed(self._supply(latents=False), ring, self.device, change)

    def _supply(self, latents: bool) -> Supply:
        if latents not in self._supplies:
            self.close()
            encoder = self.networks["vae"].encoder if latents else None
            # Other pictures after a kill than before it.
            seed = self.cfg.seed + 1000 * (int(time.time()) % 100_000)
            drawn = Drawn(self.data, self.cfg, seed, encoder)
            self._supplies[latents] = Supply(drawn, self.producers, self.words)
        return self._supplies[latents]

    def finish(self, stage: str, loop: Loop | None = None) -> None:
        """Keep the networks, note that the stage is done, and drop its state."""
        save_run(self.folder, {name: self.networks[name] for name in CHANGED[stage]})
        self.known |= set(CHANGED[stage])
        self.done[stage] = loop.spent if loop else 0.0
        temporary = self.progress.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.done))
        os.replace(temporary, self.progress)
        if loop:
            loop.path.unlink(missing_ok=True)

    def say(self, line: str) -> None:
        status(self.folder, line)

    def close(self) -> None:
        """End the producers."""
        while self._supplies:
            self._supplies.popitem()[1].close()


def _spent(path: Path) -> float:
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)["spent"]

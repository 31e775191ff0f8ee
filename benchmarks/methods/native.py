"""DreamBooth LoRA by ComfyUI's own TrainLoraNode, trained and drawn in a real ComfyUI server on the same base."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from acfun_core.backends.pictures import to_pil
from acfun_core.errors import ACFunError
from tools.comfy.graphs import node

from ..lists import Pair
from ..workbench import ROOT, Workbench, base_folder
from .base import Method, State

MODEL, CLIP, VAE = (["base", index] for index in range(3))
BATCH = 2
"""Style and photo in every step, as in ACFun."""
TRIAL_STEPS = 10


def training_graph(style: str, face: str, prompt: str, steps: int, rank: int, learning_rate: float, seed: int) -> dict:
    """Both pictures under one prompt, TrainLoraNode with its defaults but for float32; saves the LoRA."""
    fixed = {"optimizer": "AdamW", "loss_function": "MSE", "training_dtype": "fp32", "lora_dtype": "fp32"}
    fixed |= {"algorithm": "LoRA", "gradient_checkpointing": False, "existing_lora": "[None]"}
    return {
        "base": node("ACFunLoadDemoBase"),
        "style": node("LoadImage", image=style),
        "face": node("LoadImage", image=face),
        "both": node("ImageBatch", image1=["style", 0], image2=["face", 0]),
        "latents": node("VAEEncode", pixels=["both", 0], vae=VAE),
        # TrainLoraNode 0.3.75 crashes on a single latent of any size and takes a list of them.
        "list": node("RebatchLatents", latents=["latents", 0], batch_size=1),
        "text": node("CLIPTextEncode", text=prompt, clip=CLIP),
        "train": node(
            "TrainLoraNode",
            model=MODEL,
            latents=["list", 0],
            positive=["text", 0],
            batch_size=BATCH,
            grad_accumulation_steps=1,
            steps=steps,
            learning_rate=learning_rate,
            rank=rank,
            seed=seed,
            **fixed,
        ),
        "save": node("SaveLoRA", lora=["train", 1], prefix=f"judge/{uuid.uuid4().hex}", steps=["train", 3]),
    }


def drawing_graph(lora: str, prompt: str, seed: int, settings) -> dict:
    """The saved LoRA from models/loras, the sampler of all methods, one picture."""
    return {
        "base": node("ACFunLoadDemoBase"),
        "lora": node("LoraLoaderModelOnly", model=MODEL, lora_name=lora, strength_model=1.0),
        "text": node("CLIPTextEncode", text=prompt, clip=CLIP),
        "empty": node("CLIPTextEncode", text="", clip=CLIP),
        "latent": node("EmptyLatentImage", width=settings.side, height=settings.side, batch_size=1),
        "draw": node(
            "KSampler",
            model=["lora", 0],
            positive=["text", 0],
            negative=["empty", 0],
            latent_image=["latent", 0],
            seed=seed,
            steps=settings.sampler_steps,
            cfg=settings.cfg,
            sampler_name="ddim",
            scheduler="normal",
            denoise=1.0,
        ),
        "picture": node("VAEDecode", samples=["draw", 0], vae=VAE),
        "save": node("SaveImage", images=["picture", 0], filename_prefix="judge"),
    }


class NativeLoRA(Method):
    """DreamBooth as the host offers it: a rare word for the style, both pictures, from pure noise."""

    trained = True
    name, title = "native_lora", "DreamBooth LoRA (ComfyUI's TrainLoraNode)"

    def __init__(self, rank: int = 8, learning_rate: float = 5e-4):
        self.rank, self.learning_rate = rank, learning_rate
        self._server = self._client = None
        self._seconds_a_step = 0.0

    @staticmethod
    def prompt(pair: Pair) -> str:
        return pair.description.replace("S*", "sks")

    def _start(self, bench: Workbench) -> None:
        if self._server is not None:
            return
        if base_folder(bench.settings.base) != ROOT / "base":
            raise ACFunError(
                f"native_lora draws on the embedded base alone, not on {bench.settings.base}.",
                "the embedded base",
                "leave native_lora out with --methods",
            )
        from tools.comfy.server import ComfyServer

        self._server = ComfyServer().start()
        self._client = self._server.client()

    def train(self, bench: Workbench, pair: Pair) -> State:
        self._start(bench)
        steps = bench.planned_steps(BATCH)
        if bench.settings.train_seconds:
            steps = max(1, int(bench.settings.train_seconds / self._time_of_a_step(bench, pair)))
        state = self._trained(bench, pair, steps)
        # The passes of another process are not seen by the count.
        bench.training_passes += BATCH * steps
        return state

    def _time_of_a_step(self, bench: Workbench, pair: Pair) -> float:
        """TrainLoraNode cannot be told a time: a short training says how long a step takes."""
        if not self._seconds_a_step:
            start = time.monotonic()
            self._trained(bench, pair, TRIAL_STEPS)
            self._seconds_a_step = (time.monotonic() - start) / TRIAL_STEPS
        return self._seconds_a_step

    def _trained(self, bench: Workbench, pair: Pair, steps: int) -> State:
        names = [
            self._client.upload_image(to_pil(bench.square(image)[0]), f"{image.id}.png")
            for image in (pair.style, pair.face)
        ]
        seed = bench.settings.seed
        graph = training_graph(*names, self.prompt(pair), steps, self.rank, self.learning_rate, seed)
        folder = self._server.folder("output") / "judge"
        known = set(folder.glob("*.safetensors")) if folder.is_dir() else set()
        self._client.run(graph, timeout=4 * 3600)
        [path] = set(folder.glob("*.safetensors")) - known
        return load_file(path)

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        self._start(bench)
        # The host lists the folder again for every prompt, and knows files by their name.
        path: Path = self._server.folder("models") / "loras" / f"{uuid.uuid4().hex}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, path)
        try:
            run = self._client.run(drawing_graph(path.name, self.prompt(pair), seed, bench.settings), timeout=3600)
        finally:
            path.unlink()
        bench.other_passes += 2 * bench.settings.sampler_steps
        pixels = np.asarray(run.images("save")[0].convert("RGB"), np.float32) / 255
        return torch.from_numpy(pixels)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        if self._server is not None:
            self._server.stop()
        self._server = self._client = None

"""The pack's workflows as files, and made quick for runs in tests."""

from __future__ import annotations

import json

from PIL import Image, ImageChops, ImageStat

from acfun_core.demo_base import NATIVE_SIDE
from acfun_core.presets import CUSTOM
from tools.comfy.install import host_version
from tools.workflows import WORKFLOWS, api
from tools.workflows.stand_in import on_demo_base

TRAIN_STEPS, LEARNING_RATE, PREVIEW_EVERY, SAMPLER_STEPS = 4, 3e-3, 2, 4
SIDES = ("width", "height", "resolution", "size")


def load_ui(name: str) -> dict:
    """The workflow of this name as the editor saves it."""
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def quick(name: str, adapter_name: str = "workflow_test", side: int = NATIVE_SIDE, **files: str) -> dict:
    """The workflow with few and steep steps, everywhere the same number, on the demo base.

    Args:
        side: of its pictures, in pixels.
        adapter_name: of all its trainings. Trainings with the same pictures, settings and name run once on a server.
        files: ``lora``, ``control_net``: what to load instead of the files that only a user has.
    """
    workflow = on_demo_base(api.load(name))
    for node in workflow.values():
        kind, inputs = node["class_type"], node["inputs"]
        inputs.update({key: side for key in SIDES if inputs.get(key) == NATIVE_SIDE})
        if kind in ("ACFunSampler", "KSampler", "ACFunPhotoNoise", "ACFunStyleTransfer"):
            inputs["steps"] = SAMPLER_STEPS
        elif kind == "ACFunTrainStyle":
            # A preset has steps of its own.
            inputs.update(preset=CUSTOM, steps=TRAIN_STEPS, learning_rate=LEARNING_RATE, name=adapter_name)
            inputs.update(preview_every=PREVIEW_EVERY, face_weight=float("face_image" in inputs))
        elif kind == "ACFunTrainSlider":
            inputs.update(steps=TRAIN_STEPS, learning_rate=LEARNING_RATE, name=adapter_name)
        elif kind == "LoraLoader":
            inputs["lora_name"] = files["lora"]
        elif kind == "ControlNetLoader":
            inputs["control_net_name"] = files["control_net"]
    return workflow


def tells_its_steps(progress: list[tuple[int, int]], total: int) -> bool:
    """Whether a node's reports, (step, of), rise to the last step, one a step.

    ComfyUI 0.33 leaves out reports within 0.1 s or half a percent of the one before.
    """
    steps = [step for step, of in progress if of == total]
    if host_version() > (0, 3, 75):
        return len(steps) == len(progress) >= 2 and steps == sorted(set(steps)) and steps[-1] == total
    return progress == [(step, total) for step in range(1, total + 1)]


def differ(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures, 0-255."""
    return sum(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean) / 3

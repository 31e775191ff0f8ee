"""The pack's workflows made quick, for runs in tests."""

from __future__ import annotations

from PIL import Image, ImageChops, ImageStat

from tools.workflows import api
from tools.workflows.stand_in import on_demo_base

TRAIN_STEPS, PREVIEW_EVERY, SAMPLER_STEPS = 30, 10, 8


def quick(name: str, adapter_name: str = "workflow_test", **files: str) -> dict:
    """The workflow with few steps, everywhere the same number, on the demo base.

    Args:
        adapter_name: of all its trainings. Trainings with the same pictures, settings and name run once on a server.
        files: ``lora``, ``control_net``: what to load instead of the files that only a user has.
    """
    workflow = on_demo_base(api.load(name))
    for node in workflow.values():
        kind, inputs = node["class_type"], node["inputs"]
        if kind in ("ACFunSampler", "KSampler"):
            inputs["steps"] = SAMPLER_STEPS
        elif kind == "ACFunTrainStyle":
            inputs.update(steps=TRAIN_STEPS, preview_every=PREVIEW_EVERY, name=adapter_name)
        elif kind == "LoraLoader":
            inputs["lora_name"] = files["lora"]
        elif kind == "ControlNetLoader":
            inputs["control_net_name"] = files["control_net"]
    return workflow


def differ(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures, 0-255."""
    return sum(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean) / 3

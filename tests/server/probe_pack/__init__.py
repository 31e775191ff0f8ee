"""A small node pack that makes a server do what the client must be able to see: progress, failure, long work."""

import time

import comfy.utils
import torch
from PIL import Image


class ProbeProgress:
    """Counts to ``steps`` with a preview picture per step, then returns a grey image."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probe", "run", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"steps": ("INT", {"default": 3}), "seconds": ("FLOAT", {"default": 0.0})}}

    def run(self, steps, seconds):
        bar = comfy.utils.ProgressBar(steps)
        for step in range(1, steps + 1):
            time.sleep(seconds / steps)
            bar.update_absolute(step, steps, ("JPEG", Image.new("RGB", (32, 16), (step, 0, 0)), 64))
        return (torch.full((1, 16, 32, 3), 0.5),)


class ProbeFailure:
    """Raises what it is told to."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probe", "run", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"message": ("STRING", {"default": "broken"})}}

    def run(self, message):
        raise ValueError(message)


NODE_CLASS_MAPPINGS = {"ProbeProgress": ProbeProgress, "ProbeFailure": ProbeFailure}

"""Nodes that change what the server's process believes, or how it works, until it is told otherwise."""

import math
import shutil
import sys
from functools import partial


class Setting:
    """An output node that answers with what was set; it runs each time."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "probe", "run", (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": cls.INPUT}

    @classmethod
    def IS_CHANGED(cls, **inputs):
        return math.nan

    def run(self, **inputs):
        self.put(**inputs)
        return {"ui": {"text": [str(inputs)]}, "result": ()}


def parts_of_the_core(name):
    """The module ``acfun_core.<name>`` of every copy of the pack that this server has loaded; there is one at least."""
    found = [module for full, module in list(sys.modules.items()) if full.endswith(f".acfun_core.{name}")]
    if not found:
        raise RuntimeError(f"acfun_core.{name} is not loaded")
    return found


class ProbeDiskSpace(Setting):
    """Makes the process believe that this many bytes are free on every disk; -1 tells the truth again."""

    INPUT = {"free": ("INT", {"default": -1, "min": -1})}
    truth = staticmethod(shutil.disk_usage)

    def put(self, free):
        shutil.disk_usage = self.truth if free < 0 else lambda path: self.truth(path)._replace(free=free)


class ProbeMeasuredOn(Setting):
    """On how many noises all later trainings measure their loss, before the first step and after the last."""

    INPUT = {"noises": ("INT", {"default": 10, "min": 1})}

    def put(self, noises):
        for loop, loss in zip(parts_of_the_core("training.loop"), parts_of_the_core("training.alignment_loss")):
            loop.measure_adapter = partial(loss.measure_adapter, draws=noises)
        for slider in parts_of_the_core("training.slider"):
            slider.MEASURED = noises


class ProbeStateEvery(Setting):
    """After how many seconds all later trainings keep their state."""

    INPUT = {"seconds": ("FLOAT", {"default": 20.0, "min": 0.0})}

    def put(self, seconds):
        for keeper in parts_of_the_core("training.keeper"):
            keeper.SECONDS_BETWEEN = seconds


NODE_CLASS_MAPPINGS = {kind.__name__: kind for kind in (ProbeDiskSpace, ProbeMeasuredOn, ProbeStateEvery)}

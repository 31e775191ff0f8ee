"""Weights as hosts keep them: streamed through a shared buffer, quantised in files.

``StreamedPatcher`` stands for ComfyUI's dynamic VRAM (0.16 and later, on NVIDIA). It keeps what training has to do with:
a layer's weights appear only while it computes; those with a place on the device are kept as they first appeared; all others
share one buffer, on which tensors are built from its address, so that autograd does not see that it was overwritten;
layers want the notes that the host made on their parameters; ``clone(disable_dynamic=True)`` is another model without all this.
"""

from __future__ import annotations

import copy
import ctypes

import comfy.model_management
import comfy.model_patcher
import torch

from .checkpoints import ProbeCheckpoint, ProbeTextEncoder


class Memory:
    """The buffer that all layers without a place share."""

    def __init__(self, size: int):
        self._bytes = bytearray(size)
        self._address = ctypes.addressof((ctypes.c_uint8 * size).from_buffer(self._bytes))

    def holding(self, weight: torch.Tensor) -> torch.Tensor:
        """A tensor on the buffer with these values, until the next one comes."""
        memory = (ctypes.c_uint8 * weight.nbytes).from_address(self._address)
        return torch.frombuffer(memory, dtype=weight.dtype).view(weight.shape).copy_(weight)


class Streamed:
    """What a layer computes with instead of its own weight; a weight wrapper of ComfyUI."""

    def __init__(self, layer: torch.nn.Module, memory: Memory, has_place: bool, dynamic: bool):
        self.layer, self.memory, self.has_place, self.dynamic = layer, memory, has_place, dynamic
        self.kept: torch.Tensor | None = None

    def __call__(self, weight: torch.Tensor) -> torch.Tensor:
        if not self.dynamic:
            return self.memory.holding(weight) if comfy.model_management.NUM_STREAMS else weight
        if not hasattr(self.layer.weight, "_model_dtype"):
            raise RuntimeError("Buffer too small")
        if not self.has_place:
            return self.memory.holding(weight)
        if self.kept is None:
            self.kept = weight.clone()
        return self.kept


class StreamedPatcher(comfy.model_patcher.ModelPatcher):
    """See the module. What it was made from, and whether it can be had without, stands on the model that its clones share."""

    def is_dynamic(self):
        return True

    def set_in_use_by_current_prompt(self, in_use):
        """What 0.33 tells such a model at the end of a prompt, for the memory it has pinned: here none."""

    def loaded_ram_size(self):
        return 0

    def pinned_memory_size(self):
        return 0

    def partially_unload_ram(self, ram_to_unload, subsets=()):
        return 0

    def unregister_inactive_pins(self, ram_to_unload, subsets=()):
        return 0

    def clone(self, disable_dynamic=False):
        if not disable_dynamic or self.model.reload == "streamed":
            return super().clone()
        if self.model.reload == "unknown":
            raise RuntimeError("Cannot create non-dynamic delegate: cached_patcher_init is not initialized.")
        plain = self.model.plain.clone()
        plain.patches = {key: list(patches) for key, patches in self.patches.items()}
        return plain


def streamed(patcher, share: float, reload: str, dynamic: bool):
    """A patcher like this one on a copy of its model, whose layers stream their weights but for a share of them."""
    # Its config answers every name, __setstate__ too, so that it cannot be copied.
    config = vars(patcher.model).get("model_config")
    model = copy.deepcopy(patcher.model, {id(config): config})
    model.plain, model.reload = patcher, reload
    kind = StreamedPatcher if dynamic else comfy.model_patcher.ModelPatcher
    new = kind(model, patcher.load_device, patcher.offload_device)
    layers = {name: part for name, part in model.named_modules() if getattr(part, "weight_function", None) is not None}
    layers = {name: part for name, part in layers.items() if getattr(part, "weight", None) is not None}
    memory = Memory(max(4 * part.weight.numel() for part in layers.values()))
    for number, (name, part) in enumerate(layers.items()):
        part.weight._model_dtype = part.weight.dtype
        new.add_weight_wrapper(f"{name}.weight", Streamed(part, memory, number < share * len(layers), dynamic))
    return new


class ProbeStreamed:
    """MODEL and CLIP with streamed weights.

    ``reload`` is what ``clone(disable_dynamic=True)`` does: *plain*, as it should; *unknown*, as without a known loader;
    *streamed*: it has no effect, which shows what streamed weights do to a training.
    """

    CATEGORY, FUNCTION, RETURN_TYPES = "probe", "run", ("MODEL", "CLIP")

    @classmethod
    def INPUT_TYPES(cls):
        wires = {"model": ("MODEL",), "clip": ("CLIP",)}
        settings = {
            "share": ("FLOAT", {"default": 0.3}),
            "reload": ("STRING", {"default": "plain"}),
            "dynamic": ("BOOLEAN", {"default": True}),
        }
        return {"required": {**wires, **settings}}

    def run(self, model, clip, share, reload, dynamic):
        text = clip.clone()
        text.patcher = streamed(clip.patcher, share, reload, dynamic)
        text.cond_stage_model = text.patcher.model
        return streamed(model, share, reload, dynamic), text


class ProbeStreams:
    """Sets how many streams load weights ahead, and says how many there were."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "probe", "run", (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"count": ("INT", {"default": 0}), "turn": ("INT", {"default": 0})}}

    def run(self, count, turn):
        before, comfy.model_management.NUM_STREAMS = comfy.model_management.NUM_STREAMS, count
        return {"ui": {"text": [str(before)]}, "result": ()}


class ProbeListening:
    """A CLIP whose text encoder writes down the options that it is told, until ProbeTold has read them."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probe", "run", ("CLIP",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"clip": ("CLIP",)}}

    def run(self, clip):
        encoder = clip.cond_stage_model
        encoder.told = []

        def listen(options):
            encoder.told.append(options)
            type(encoder).set_clip_options(encoder, options)

        encoder.set_clip_options = listen
        return (clip,)


class ProbeTold:
    """Whether the device of a CLIP was among what its text encoder was told; a second input makes it wait."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "probe", "run", (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"clip": ("CLIP",), "after": ("STRING", {"forceInput": True})}}

    def run(self, clip, after):
        encoder, device = clip.cond_stage_model, clip.patcher.load_device
        told = [options["execution_device"] == device for options in encoder.told if "execution_device" in options]
        del encoder.told, encoder.set_clip_options
        return {"ui": {"text": [f"{bool(told)} {all(told)}"]}, "result": ()}


class ProbeLoadedAgain:
    """Loads MODEL and CLIP once more as ComfyUI's trainers do, and says whether they have the same weights, unstreamed."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "probe", "run", (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "clip": ("CLIP",)}}

    def run(self, model, clip):
        same = []
        for patcher in (model, clip.patcher):
            load, arguments = patcher.cached_patcher_init
            # What hosts with dynamic VRAM ask for; others have no such argument anywhere.
            again = load(*arguments, **({"disable_dynamic": True} if hasattr(patcher, "is_dynamic") else {}))
            weights, other = patcher.model.state_dict(), again.model.state_dict()
            same.append(type(again) is comfy.model_patcher.ModelPatcher and again.model is not patcher.model)
            same.append(
                weights.keys() == other.keys() and all(torch.equal(weights[key], other[key]) for key in weights)
            )
        return {"ui": {"text": [str(same)]}, "result": ()}


PROBES = (ProbeLoadedAgain, ProbeStreamed, ProbeStreams, ProbeListening, ProbeTold, ProbeCheckpoint, ProbeTextEncoder)
NODE_CLASS_MAPPINGS = {kind.__name__: kind for kind in PROBES}

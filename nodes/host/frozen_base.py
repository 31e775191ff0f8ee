"""A graph's MODEL and CLIP as the frozen base that the core trains on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import comfy.model_management
from torch import Tensor

from ...acfun_core.errors import ACFunError
from ...acfun_core.host import Base
from ...acfun_core.unet.blocks import find_sites
from .at_home import not_as_a_graph, tables_at_home
from .bypass import ordinary_bypass_loras
from .dtypes import in_declared_dtypes
from .gradients import differentiable, patches_let_through
from .text import DescriptionSide
from .unet import BeforePass, NoisePredictor, acting_in_sampling_alone, applied, base_key_of, schedule_of


def load_for_training(model, clip, latents: Tensor, say: Callable[[str], None]) -> tuple:
    """Bring the UNet and the text encoder onto the device, with room for gradients of latents (2, 4, h, w).

    Args:
        say: is told what of the MODEL a training leaves out.

    Returns:
        MODEL and CLIP to train on: those given, or where these stream their weights, clones that do not.

    Raises:
        ACFunError: they stream their weights and cannot be had without, or the MODEL draws beside a photo.
    """
    if applied(model)[1] is not None:
        # A transfer acts in a sampling alone; whoever connects it here expects something else.
        raise ACFunError(
            "This MODEL draws beside a photo and a style picture.",
            "the MODEL as it was before ACFun Style Transfer",
            "connect the MODEL from before that node",
        )
    if left_out := acting_in_sampling_alone(model):
        say(f"The training leaves out {left_out}: on this MODEL, they act while it samples and at no other time.")
    model, text = without_streaming(model, "MODEL"), without_streaming(clip.patcher, "CLIP")
    if text is not clip.patcher:
        clip = clip.clone()
        clip.patcher, clip.cond_stage_model = text, text.model
    comfy.model_management.load_models_gpu(
        [model, text], memory_required=4 * model.memory_required(list(latents.shape))
    )
    return model, clip


def without_streaming(patcher, what: str):
    """A clone of a model that does not use ComfyUI's dynamic VRAM, with the same patches; the model itself where it does not.

    Under dynamic VRAM, layers without a place on the device share one buffer, into which each streams its weights when it
    computes. Backward would find the weights of other layers there, and autograd does not see it.

    Args:
        what: MODEL or CLIP, for the message.
    """
    # Hosts before 0.16 do not have it.
    if not hasattr(patcher, "is_dynamic") or not patcher.is_dynamic():
        return patcher
    try:
        clone = patcher.clone(disable_dynamic=True)
    except RuntimeError as error:
        raise ACFunError(
            f"This {what} streams its weights to the device (dynamic VRAM), and its loader did not say how to load it without.",
            "weights that stay where they are while an adapter learns",
            f"load the {what} with Load Checkpoint or Load Diffusion Model, or start ComfyUI with --disable-dynamic-vram",
        ) from error
    in_declared_dtypes(clone.model)
    return clone


@contextmanager
def trainable(model, clip, text: str, before_pass: BeforePass = lambda: None) -> Iterator[Base]:
    """While active, MODEL and CLIP, which are loaded, let gradients through; then they are as they were.

    Args:
        text: what the training encodes, with S* in it once.
        before_pass: see :data:`~.unet.BeforePass`.
    """
    schedule = schedule_of(model)
    modules = model.model, clip.cond_stage_model
    with (
        ordinary_bypass_loras(*modules),
        differentiable(*modules),
        tables_at_home(model),
        patches_let_through(model),
    ):
        side = DescriptionSide(clip, text)
        sites = find_sites(model.model.diffusion_model)
        predict_noise = NoisePredictor(model, schedule, side, before_pass)
        kind = side.family.name, base_key_of(model), predict_noise.own_velocity
        dtype = model.model.manual_cast_dtype or model.model.get_dtype()
        further = {"dtype": dtype, "not_as_a_graph": not_as_a_graph(model, clip)}
        yield Base(predict_noise, sites, side, schedule, model.load_device, *kind, **further)

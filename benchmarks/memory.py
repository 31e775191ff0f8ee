"""What a training of SDXL at its full size needs of a GPU's memory, added up from its parts; nothing of that size is allocated.

The modules are built of tensors without numbers, which know their sizes (torch's FakeTensorMode). So each part is counted as
autograd would keep it, and only the GPU's own overhead is not in the sum.

    python -m benchmarks.memory [--family sdxl] [--side 1024] [--pictures 2] [--dtype float16]

With ``--run``, the UNet is built with random numbers on the CPU, and the process's own peak over one pass there and back is
told. Take a small side: SDXL at 1024 pixels keeps more than most machines have.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from acfun_core.backends.families import KNOWN, Family
from acfun_core.config import AdapterConfig
from acfun_core.method.adapter import StyleAdapter
from acfun_core.method.applied import block_transforms
from acfun_core.strengths import Strengths
from acfun_core.unet.blocks import channels_to_train, find_sites
from acfun_core.unet.injection import injected
from acfun_core.unet.recomputing import blocks_of, recomputed
from tools.comfy.launcher import define_torchvision_operators

from .random_bases import random_part, settings_of, text_dtype

WITH_ADAMW = 16
"""Bytes a weight of the adapter: itself, its gradient and AdamW's two moments, in float32."""
GIB = 2**30


def nbytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def kept(run: Callable[[], object], weights: set[int]) -> int:
    """As :func:`~acfun_core.training.memory.saved_bytes`, for tensors that have no address."""
    found: dict[int, int] = {}
    held = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            found[storage._cdata] = storage.nbytes()
            held.append(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        answer = run()
    del answer
    return sum(found.values())


@contextmanager
def inputs_of(sites) -> Iterator[dict[int, int]]:
    """While active, bytes of what the blocks are given, each memory once: torch's checkpoint holds it outside of autograd."""
    found: dict[int, int] = {}
    held = []

    def note(module, positional, named):
        for value in (*positional, *named.values()):
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                found[storage._cdata] = storage.nbytes()
                held.append(storage)

    handles = [block.register_forward_pre_hook(note, with_kwargs=True) for block in blocks_of(sites)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def largest_block(sites, run: Callable[[], object], weights: set[int]) -> int:
    """What the one block keeps that keeps most: it is computed again while the others wait."""
    most, handles = [0], []

    def watched(forward: Callable) -> Callable:
        def measured(*given, **named):
            most[0] = max(most[0], kept(lambda: forward(*given, **named), weights))
            return forward(*given, **named)

        return measured

    blocks = blocks_of(sites)
    for block in blocks:
        block.forward = watched(block.forward)
        handles.append(block)
    try:
        run()
    finally:
        for block in handles:
            del block.forward
    return most[0]


def kept_by_text(text: nn.Module, dtype: torch.dtype, weights: set[int]) -> int:
    """By one pass of a text encoder that is asked for the gradient of its embeddings."""
    ids = torch.zeros(1, 77, dtype=torch.long)
    row = torch.zeros(1, 77, text.config.hidden_size, dtype=dtype, requires_grad=True)
    handle = text.get_input_embeddings().register_forward_hook(lambda module, given, out: out + row)
    found = kept(lambda: text(input_ids=ids, output_hidden_states=True).text_embeds, weights)
    handle.remove()
    return found


def tokens_of(vision: dict) -> tuple[int, int]:
    """Number and width of the tokens of a CLIP vision model by transformers' settings."""
    return 1 + (vision["image_size"] // vision["patch_size"]) ** 2, vision["hidden_size"]


def parts(
    family: Family, side: int, pictures: int, dtype: torch.dtype, settings: dict[str, dict] | None = None
) -> dict[str, int]:
    """Bytes of each part.

    Args:
        settings: as :func:`~benchmarks.random_bases.settings_of`, for another size than the full one.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    settings = settings or settings_of(family)
    here = torch.device("cpu")
    of_texts = text_dtype(family, torch.device("cuda"), dtype)
    with FakeTensorMode():
        unet = random_part("unet", settings["unet"], here, dtype)
        vae = random_part("vae", settings["vae"], here, torch.float32)
        texts = [random_part(one.part, settings[one.part], here, of_texts) for one in family.readings]
        sites = find_sites(unet)
        config = AdapterConfig("a painting in S* style")
        channels = channels_to_train(sites, config.blocks, config.place)
        width, seen = unet.config.cross_attention_dim, torch.zeros(tokens_of(settings["image_encoder"]))
        adapter = StyleAdapter(config, torch.zeros(width), seen, channels, family.name)
        weights = {p.untyped_storage()._cdata for module in (unet, *texts, adapter) for p in module.parameters()}
        z_t = torch.zeros(pictures, 4, side // 8, side // 8, dtype=dtype, requires_grad=True)
        context = torch.zeros(pictures, 77, width, dtype=dtype, requires_grad=True)
        told = {}
        if family.name == "sdxl":
            pooled = torch.zeros(pictures, texts[-1].config.projection_dim, dtype=dtype)
            told = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": torch.zeros(pictures, 6, dtype=dtype)}}

        def passed():
            transforms = block_transforms([(adapter, Strengths())])
            with injected(sites, transforms):
                return unet(z_t, torch.zeros(pictures), encoder_hidden_states=context, **told).sample

        whole = kept(passed, weights)
        with recomputed(sites), inputs_of(sites) as given:
            forgetful = kept(passed, weights)
        forgetful += sum(given.values())
        once = largest_block(sites, passed, weights)
        # The description with the row, and once more with what AFun made of it.
        words = 2 * sum(kept_by_text(text, of_texts, weights) for text in texts)
        size = {
            "UNet": nbytes(unet),
            "text encoders": sum(map(nbytes, texts)),
            "VAE": nbytes(vae),
            "adapter, gradient, AdamW": WITH_ADAMW * sum(p.numel() for p in adapter.parameters()),
            "text passes": words,
            "kept without checkpointing": whole,
            "kept with checkpointing": forgetful,
            "largest block, computed again": once,
        }
    fixed = sum(list(size.values())[:5])
    size["sum without checkpointing"] = fixed + size["kept without checkpointing"]
    size["sum with checkpointing"] = fixed + size["kept with checkpointing"] + 2 * size["largest block, computed again"]
    return size


def gib(sizes: Mapping[str, int]) -> dict[str, float]:
    """Bytes as gigabytes (2^30 bytes), two digits behind the point."""
    return {name: round(count / GIB, 2) for name, count in sizes.items()}


def run(family: Family, side: int, pictures: int, dtype: torch.dtype) -> dict[str, float]:
    """A pass of the UNet with CFun on the CPU, checkpointed and then whole: seconds, and gigabytes above what was there before.

    In this order, since a process's peak never falls.
    """
    settings = settings_of(family)
    unet = random_part("unet", settings["unet"], torch.device("cpu"), dtype)
    sites = find_sites(unet)
    kind, seen = AdapterConfig("a painting in S* style"), torch.zeros(tokens_of(settings["image_encoder"]))
    adapter = StyleAdapter(kind, torch.randn(family.width), seen, channels_to_train(sites, kind.blocks), family.name)
    context = torch.randn(pictures, 77, family.width, dtype=dtype, requires_grad=True)
    z_t, told = torch.randn(pictures, 4, side // 8, side // 8, dtype=dtype), {}
    if family.name == "sdxl":
        # 1280: the pooled embedding of OpenCLIP's ViT-bigG.
        added = torch.randn(pictures, 1280, dtype=dtype), torch.zeros(pictures, 6, dtype=dtype)
        told = {"added_cond_kwargs": dict(zip(("text_embeds", "time_ids"), added))}
    found = {}
    for name, how in (("with checkpointing", recomputed(sites)), ("without checkpointing", nullcontext())):
        before, start = held(), time.monotonic()
        with how, injected(sites, block_transforms([(adapter, Strengths())])):
            answer = unet(z_t, torch.full((pictures,), 500), encoder_hidden_states=context, **told).sample
            answer.float().square().mean().backward()
        found[f"seconds {name}"] = round(time.monotonic() - start, 1)
        found[f"peak {name}"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB - before, 2)
    return found


def held() -> float:
    """Gigabytes that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / GIB


def main() -> None:
    parser = argparse.ArgumentParser(description=Path(__file__).stem)
    parser.add_argument("--family", choices=[one.name for one in KNOWN], default="sdxl")
    parser.add_argument("--side", type=int, default=1024, help="in pixels")
    parser.add_argument(
        "--pictures", type=int, default=2, choices=(1, 2), help="a pass: 1 where the style is learned alone"
    )
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16")
    parser.add_argument("--run", action="store_true", help="one real pass of the UNet on the CPU")
    chosen = parser.parse_args()
    define_torchvision_operators()
    family = next(one for one in KNOWN if one.name == chosen.family)
    given = family, chosen.side, chosen.pictures, getattr(torch, chosen.dtype)
    print(json.dumps({**vars(chosen), "gib": run(*given) if chosen.run else gib(parts(*given))}))


if __name__ == "__main__":
    main()

"""What a seed gave once, it gives again: an adapter, its pictures and a photo's noise on a tiny base, against recorded numbers.

The base is small and random; its weights come from a fixed generator name by name, so that no library's own initialisation
matters. ``recorded.safetensors`` holds a hash of every bit and some of the numbers. On the processor and the versions it was
recorded with, every bit must be the same. Elsewhere the last bits of a convolution differ, and AdamW's first steps, as long for
a tiny gradient as for a large one, carry that on: there, each tensor may be :data:`ELSEWHERE` of its own length apart.
Without oneDNN's convolutions it is at most an eighth of that; a learning rate 2% higher moves adapters by twenty times and
pictures by at least the whole of it, one more random draw by a hundred times.

Record anew, only after a change that is meant to change pictures: ``python -m tests.backends.test_recorded``.
"""

from __future__ import annotations

import hashlib
import json
import platform
import zlib
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from acfun_core.backends.families import Parts
from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.diffusion.palette import Palette
from acfun_core.diffusion.schedule import NoiseSchedule
from acfun_core.storage.adapter_file import to_tensors
from acfun_core.strengths import Strengths
from acfun_core.training.loop import train_adapter
from acfun_core.training.material import encode_pair

from .conftest import PROMPT

RECORDED = Path(__file__).with_name("recorded.safetensors")
ELSEWHERE = 2e-3
SIDE, TEXT_WIDTH, IMAGE_WIDTH = 64, 32, 48
START, END = 60, 61


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filled(module: torch.nn.Module) -> torch.nn.Module:
    """The module with random weights that depend on nothing but the names and shapes of its parameters."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = random(*parameter.shape, seed=zlib.crc32(name.encode()))
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
            parameter.copy_(values / fan_in**0.5 + (1 if parameter.ndim == 1 and name.endswith("weight") else 0))
    return module.eval().requires_grad_(False)


def words_to_numbers(text: str) -> dict[str, list[int]]:
    """A tokenizer of sixty words."""
    return {"input_ids": [START, *(zlib.crc32(word.encode()) % START for word in text.split()), END]}


def tiny_base() -> StableDiffusion:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        sample_size=SIDE // 8,
        # With one channel a group the last normalisation would take beta out again, and leave chance for its gradient.
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
    )
    text = CLIPTextConfig(
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=62,
        bos_token_id=START,
        eos_token_id=END,
        projection_dim=TEXT_WIDTH,
    )
    unet, vae, words = (filled(module) for module in (unet, vae, CLIPTextModelWithProjection(text)))
    # A random network is no denoiser: weaker, it does not carry small differences on to large ones.
    unet.conv_out.weight.mul_(0.3)
    return StableDiffusion(Parts(unet, vae, (words,), (words_to_numbers,), NoiseSchedule.stable_diffusion()))


@contextmanager
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def made() -> dict[str, dict[str, torch.Tensor]]:
    """What is compared, by topic: tensors by name."""
    base = tiny_base()
    style, face = (random(1, SIDE, SIDE, 3, seed=seed).mul(0.2).add(0.5).clamp(0, 1) for seed in (1, 2))
    latents, tokens = encode_pair(base.encode, style, face, SIDE), random(17, IMAGE_WIDTH, seed=3)

    def learned(**settings):
        config = TrainConfig(**{"steps": 12, "learning_rate": 1e-3, "warmup_steps": 3, **settings})
        return train_adapter(base.core_base(PROMPT), latents, tokens, AdapterConfig(PROMPT), config)

    adapter, guarded = learned(seed=5), learned(seed=6, steps=6, copy_guard_every=3, copy_limit=1.0)
    record = adapter.record
    losses = (record.style_loss, record.face_loss, record.before, record.after)
    settings = {"seed": 4, "steps": 5, "cfg": 2.0}
    members = [(adapter, Strengths())]
    mask = torch.ones(8, 8).tril()
    late = Strengths(0.5, 0.8, 1.5, abstract_start=0.3, decoder_end=0.6, guidance="cond", weight=0.5, mask=mask)
    both = [(adapter, Strengths(0.4, 0.5, 0.5)), (guarded, late)]
    palette = Palette(base.encode(style), 0.5)
    noise, toned = base.photo_noise(face, steps=5), base.photo_noise(face, style, steps=5, hold=0.7)
    drawn = base.sample(PROMPT, members=members, **settings)
    return {
        "adapter": {**to_tensors(adapter), **{f"loss.{at}": torch.tensor(loss) for at, loss in enumerate(losses)}},
        "copy guard": to_tensors(guarded),
        "looks": {"copy and loss": torch.tensor(guarded.record.looks)},
        "picture": {"latent": drawn, "pixels": base.decode(drawn)},
        "two adapters with windows": {"latent": base.sample(PROMPT, "a photo", both, batch=2, **settings)},
        "no adapter": {"latent": base.sample("a photo of a man", **settings)},
        "photo noise": {
            "noise": noise,
            "toned": toned,
            "drawn": base.sample(PROMPT, members=members, noise=noise, steps=5, cfg=1.0),
            "held": base.sample(PROMPT, members=members, noise=toned, palette=palette, steps=5, cfg=1.0),
        },
    }


def digest(tensors: dict[str, torch.Tensor]) -> str:
    whole = hashlib.sha256()
    for name in sorted(tensors):
        whole.update(name.encode() + tensors[name].detach().contiguous().numpy().tobytes())
    return whole.hexdigest()


def some(tensor: torch.Tensor) -> torch.Tensor:
    """At most about two hundred of its numbers, spread evenly."""
    numbers = tensor.detach().float().flatten()
    return numbers[:: max(1, len(numbers) // 200)].clone()


def here() -> dict[str, str]:
    """What decides the last bits."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [
        line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "cpu family", "model\t"))
    ]
    processor = " ".join(names[:3]) or platform.processor()
    versions = {library: version(library) for library in ("torch", "diffusers", "transformers")}
    return {"processor": processor, "vectors": torch.backends.cpu.get_cpu_capability(), **versions}


@pytest.fixture(scope="module")
def now(users_noises_for_all) -> dict[str, dict[str, torch.Tensor]]:
    with one_thread():
        return made()


@pytest.fixture(scope="module")
def then() -> SimpleNamespace:
    with safe_open(str(RECORDED), framework="pt") as file:
        metadata = {name: json.loads(text) for name, text in file.metadata().items()}
        return SimpleNamespace(numbers={key: file.get_tensor(key) for key in file.keys()}, **metadata)


TOPICS = ("adapter", "copy guard", "looks", "picture", "two adapters with windows", "no adapter", "photo noise")


@pytest.mark.parametrize("topic", TOPICS)
def test_the_same_seed_gives_what_it_gave(now, then, topic):
    tensors = now[topic]
    numbers = {f"{topic}/{name}": some(tensor) for name, tensor in tensors.items()}
    assert set(numbers) == {key for key in then.numbers if key.startswith(f"{topic}/")}
    for key, value in numbers.items():
        was = then.numbers[key]
        assert value.shape == was.shape and (value - was).norm() <= ELSEWHERE * was.norm(), key
    # The copy guard's looks are a record; what it keeps is the adapter, which is compared bit for bit.
    if here() == then.recorded_on and topic != "looks":
        assert digest(tensors) == then.digests[topic]


def record() -> None:
    with one_thread():
        topics = made()
    numbers = {f"{topic}/{name}": some(value) for topic, tensors in topics.items() for name, value in tensors.items()}
    digests = {topic: digest(tensors) for topic, tensors in topics.items()}
    save_file(numbers, RECORDED, {"recorded_on": json.dumps(here()), "digests": json.dumps(digests)})
    print(json.dumps(digests, indent=1))


if __name__ == "__main__":
    record()

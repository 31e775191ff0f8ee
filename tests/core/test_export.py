"""Smaller forms of an adapter draw the same, or say how much they keep."""

import pytest
import torch
from safetensors.torch import load_file

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.method.adapter import StyleAdapter
from acfun_core.method.applied import block_transforms
from acfun_core.method.steering import LowRank
from acfun_core.storage import adapter_file
from acfun_core.storage.export import compact, embedding, full_map, low_rank, save_embedding
from acfun_core.strengths import Strengths
from acfun_core.training.loop import train_adapter

TEXT = "a painting in S* style"
SD1_CHANNELS = {
    **{f"enc.{level}.{j}": width for level, width in enumerate((320, 640, 1280, 1280)) for j in range(2)},
    **{f"dec.{level}.{j}": width for level, width in enumerate((320, 640, 1280, 1280)) for j in range(3)},
}


def train(base, latents, style_tokens, **options):
    config = TrainConfig(steps=5, learning_rate=1e-2, warmup_steps=0)
    return train_adapter(base, latents, style_tokens, AdapterConfig(TEXT, **options), config)


@pytest.fixture
def adapter(base, latents, style_tokens):
    return train(base, latents, style_tokens)


def changes(adapter):
    transforms = block_transforms([(adapter, Strengths())])
    found = []
    for name in adapter.cfun.names():
        h = torch.randn(1, adapter.cfun.channels[name], 8, 8, generator=torch.Generator().manual_seed(1))
        found.append((transforms[name](h) - h).flatten())
    return torch.cat(found)


def test_full_rank_loses_nothing(adapter):
    same, kept = low_rank(adapter, 64)
    assert kept == pytest.approx(1.0, abs=1e-4)
    torch.testing.assert_close(changes(same), changes(adapter), rtol=1e-2, atol=2e-2)


def test_more_rank_keeps_more(adapter):
    errors, shares = [], []
    for rank in (1, 4, 16):
        narrow, kept = low_rank(adapter, rank)
        errors.append((changes(narrow) - changes(adapter)).norm().item())
        shares.append(kept)
    assert errors[0] > errors[1] > errors[2] and 0 < shares[0] < shares[1] < shares[2] <= 1 + 1e-6


def test_it_is_the_best_of_its_rank():
    torch.manual_seed(0)
    full = torch.nn.Linear(24, 16)
    near = LowRank.nearest(full, 3)
    singular = torch.linalg.svdvals(full.weight.double())
    error = (full_map(near).weight.double() - full.weight.double()).square().sum()
    torch.testing.assert_close(error, singular[3:].square().sum(), rtol=1e-4, atol=1e-8)
    steer = torch.randn(5, 24)
    torch.testing.assert_close(near(steer), full_map(near)(steer), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(LowRank.nearest(full, 40)(steer), full(steer), rtol=1e-4, atol=1e-5)


def test_low_rank_round_trips_and_can_shrink_again(adapter, tmp_path):
    narrow, _ = low_rank(adapter, 8)
    loaded = adapter_file.load(adapter_file.save(narrow, tmp_path / "narrow.safetensors"))
    assert loaded.config.form == "low_rank" and loaded.config.rank == 8 and loaded.record == adapter.record
    assert torch.equal(changes(loaded), changes(narrow))
    assert low_rank(loaded, 2)[0].config.rank == 2
    with pytest.raises(ACFunError, match="rank 8 already"):
        low_rank(loaded, 8)


def test_per_channel_maps_are_small_already(base, latents, style_tokens):
    with pytest.raises(ACFunError, match="per channel already"):
        low_rank(train(base, latents, style_tokens, form="per_channel"), 4)


def test_compact_draws_the_same_and_is_smaller(base, adapter, tmp_path):
    whole = adapter_file.save(adapter, tmp_path / "whole.safetensors")
    small = adapter_file.save(compact(adapter), tmp_path / "small.safetensors")
    assert small.stat().st_size < 0.8 * whole.stat().st_size
    loaded = adapter_file.load(small)
    assert torch.equal(changes(loaded), changes(adapter))
    assert torch.equal(loaded.context(base.text, 0.7), adapter.context(base.text, 0.7))
    assert len(loaded.style_tokens) == 0 and not hasattr(loaded.afun, "layers")
    with pytest.raises(ACFunError, match="compact"):
        loaded.fuse(base.text)


def test_a_sequence_cannot_be_compact_or_an_embedding(base, latents, style_tokens, tmp_path):
    sequence = train(base, latents, style_tokens, abstract_mode="sequence")
    with pytest.raises(ACFunError, match="sequence"):
        compact(sequence)
    with pytest.raises(ACFunError, match="not one embedding"):
        save_embedding(sequence, tmp_path / "style.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_the_embedding_is_what_stands_for_the_placeholder(adapter, tmp_path):
    path = save_embedding(adapter, tmp_path / "style.safetensors")
    tensors = load_file(path)
    assert list(tensors) == ["emb_params"] and tensors["emb_params"].shape == (1, adapter.text_width)
    assert torch.equal(tensors["emb_params"][0], adapter.e_a)
    assert torch.equal(embedding(adapter, 0.0)[0], adapter.afun.initial_row)


def test_exporting_leaves_the_adapter_and_the_randomness_alone(adapter):
    before, state = {k: v.clone() for k, v in adapter.state_dict().items()}, torch.random.get_rng_state()
    low_rank(adapter, 2)
    compact(adapter)
    assert all(torch.equal(before[key], value) for key, value in adapter.state_dict().items())
    assert adapter.config.form == "full" and torch.equal(state, torch.random.get_rng_state())


def test_a_small_stable_diffusion_adapter_is_below_8_megabytes():
    """Real widths, zero weights: the paper's 76 MB (half precision) against rank 32 without AFun's layers."""

    def megabytes(config):
        tokens = torch.zeros(0 if config.compact else 257, 1024)
        tensors = adapter_file.to_tensors(StyleAdapter(config, torch.zeros(768), tokens, SD1_CHANNELS))
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) / 1e6

    assert 76 < megabytes(AdapterConfig(TEXT)) < 90
    assert megabytes(AdapterConfig(TEXT, form="low_rank", rank=32, compact=True)) < 8

"""Training on a tiny random base."""

import dataclasses

import pytest
import torch

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.method.applied import block_transforms
from acfun_core.storage.adapter_file import to_tensors
from acfun_core.strengths import Strengths
from acfun_core.training import optimiser
from acfun_core.training.loop import train_adapter
from acfun_core.unet.injection import injected

from .conftest import base_on, tiny_unet

ADAPTER = AdapterConfig("a painting of a woman in S* style")


def train(base, latents, style_tokens, on_step=None, **settings):
    return train_adapter(base, latents, style_tokens, ADAPTER, TrainConfig(**{"steps": 4, **settings}), on_step)


@pytest.mark.usefixtures("users_noises")
def test_both_terms_fall(base, latents, style_tokens):
    record = train(base, latents, style_tokens, steps=150, learning_rate=1e-3).record
    assert record.after[0] < 0.9 * record.before[0]
    assert record.after[1] < 0.9 * record.before[1]
    assert len(record.style_loss) == len(record.face_loss) == 150


def test_same_seed_same_adapter_bit_for_bit(base, latents, style_tokens):
    one, two = (to_tensors(train(base, latents, style_tokens, seed=7)) for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)
    other = to_tensors(train(base, latents, style_tokens, seed=8))
    assert not torch.equal(one["e_a"], other["e_a"])


def test_the_callers_randomness_is_untouched(base, latents, style_tokens):
    state = torch.random.get_rng_state()
    train(base, latents, style_tokens)
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_base_is_untouched_and_what_was_learned_works(base, unet, latents, style_tokens):
    weights = {key: value.clone() for key, value in unet.state_dict().items()}
    adapter = train(base, latents, style_tokens)
    assert all(torch.equal(weights[key], value) for key, value in unet.state_dict().items())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in unet.parameters())
    inputs = latents, torch.tensor([400, 400]), base.text.encode(base.text.initial_row).expand(2, -1, -1)
    plain = base.predict_noise(*inputs)
    with injected(base.sites, block_transforms([(adapter, Strengths())])):
        assert not torch.equal(plain, base.predict_noise(*inputs))
    assert torch.equal(plain, base.predict_noise(*inputs))


def test_an_error_in_on_step_ends_the_training_cleanly(base, latents, style_tokens):
    def cancel(report):
        if report.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(base, latents, style_tokens, on_step=cancel)
    assert not any(site.module._forward_hooks for site in base.sites.values())


def test_non_finite_training_is_an_error_that_names_the_learning_rate(base, latents, style_tokens):
    broken = dataclasses.replace(base, predict_noise=lambda z, t, c: base.predict_noise(z, t, c) * float("nan"))
    with pytest.raises(ACFunError, match="non-finite at step 1.*learning rate"):
        train(broken, latents, style_tokens)


class OverflowsAbove(torch.autograd.Function):
    """Identity whose gradient overflows above a limit, as float16 does."""

    @staticmethod
    def forward(ctx, x, limit):
        ctx.limit = limit
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.where(gradient.abs() > ctx.limit, torch.inf, gradient), None


def test_an_overflow_halves_the_loss_scale_and_is_recorded(base, latents, style_tokens):
    def predict(limit):
        return lambda z, t, c: OverflowsAbove.apply(base.predict_noise(z, t, c), limit)

    record = train(dataclasses.replace(base, predict_noise=predict(1.0)), latents, style_tokens, steps=12).record
    assert 1 <= record.skipped_steps < 12
    with pytest.raises(ACFunError, match="non-finite"):
        train(dataclasses.replace(base, predict_noise=predict(1e-7)), latents, style_tokens, steps=30)


def test_loss_scaling_changes_no_bit_in_float32(base, latents, style_tokens, monkeypatch):
    scaled = to_tensors(train(base, latents, style_tokens))
    monkeypatch.setattr(optimiser, "INITIAL_SCALE", 1.0)
    plain = to_tensors(train(base, latents, style_tokens))
    assert all(torch.equal(scaled[key], plain[key]) for key in plain)


@pytest.mark.parametrize(("end", "last"), [(1.0, 1.0), (0.1, 0.1), (0.0, 0.0)])
def test_the_learning_rate_falls_on_half_a_cosine_after_its_rise(base, latents, style_tokens, monkeypatch, end, last):
    rates, step = [], torch.optim.AdamW.step

    def record(adamw, *arguments, **options):
        rates.append(adamw.param_groups[0]["lr"])
        return step(adamw, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    train(base, latents, style_tokens, steps=40, learning_rate=1e-3, warmup_steps=4, learning_rate_end=end)
    assert rates[0] < rates[1] < rates[3]
    assert rates[19] == pytest.approx(1e-3 * (1 + end) / 2)
    assert rates[-1] == pytest.approx(1e-3 * last, abs=1e-12)


def test_strengths_zero_give_no_transform_at_all(base, latents, style_tokens):
    adapter = train(base, latents, style_tokens)
    assert block_transforms([(adapter, Strengths(1.0, 0.0, 0.0))]) == {}
    encoder_only = block_transforms([(adapter, Strengths(1.0, 1.0, 0.0))])
    assert encoder_only and all(name.startswith("enc.") for name in encoder_only)


def test_changes_of_two_adapters_add_up(base, latents, style_tokens):
    one, two = (train(base, latents, style_tokens, seed=seed, learning_rate=1e-2) for seed in (1, 2))
    h = torch.randn(1, 32, 8, 8)
    name = "enc.0.0"

    def change(*adapters):
        return block_transforms([(adapter, Strengths()) for adapter in adapters])[name](h) - h

    torch.testing.assert_close(change(one, two), change(one) + change(two), atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("users_noises")
@pytest.mark.parametrize("channels", [64, 320])
def test_one_learning_rate_trains_wide_and_narrow(channels, latents, style_tokens):
    """320 is Stable Diffusion 1.x's own width: ten steps at 1e-4 stay finite and do not blow up."""
    base = base_on(tiny_unet(channels))
    # A quarter of the places: what counts is the width.
    record = train(base, latents[..., :4, :4], style_tokens, steps=10, warmup_steps=0).record
    assert all(after < 1.05 * before for before, after in zip(record.before, record.after))

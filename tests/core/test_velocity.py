"""Bases that predict the velocity v = a eps - s z_0, up to zero terminal SNR, where only v says anything of the picture."""

import dataclasses

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.diffusion.sampling import guided, invert, normal_levels, sample
from acfun_core.diffusion.schedule import NoiseSchedule
from acfun_core.errors import ACFunError
from acfun_core.method.fit import notice_of_prediction
from acfun_core.storage import adapter_file
from acfun_core.storage.export import compact
from acfun_core.training.alignment_loss import alignment_terms
from acfun_core.training.loop import train_adapter
from acfun_core.training.targets import STYLE, PairNoise

ZERO_SNR = NoiseSchedule.stable_diffusion(zero_snr=True)
PLAIN = NoiseSchedule.stable_diffusion()
CONTEXT = torch.zeros(1, 3, 8)
LAST = torch.tensor([999, 999])


def velocity_base(base, schedule=ZERO_SNR):
    """The toy base, whose UNet's output is taken as v."""

    def predict_noise(z_t, t, context):
        return schedule.noise_of(base.predict_noise(z_t, t, context), z_t, t)

    return dataclasses.replace(
        base, predict_noise=predict_noise, predict_velocity=base.predict_noise, schedule=schedule
    )


def terms(latents, draw, config=None, schedule=ZERO_SNR, predict=lambda z, t, context: 0.5 * z):
    return alignment_terms(predict, schedule, latents, CONTEXT, draw, config, prediction="v")


def test_a_schedule_with_zero_snr_ends_at_pure_noise_and_begins_as_before():
    """Lin et al. 2024, algorithm 1, over betas: the two published forms agree at all levels but the last, which is 0 there."""
    a = PLAIN.alphas_cumprod.double().sqrt()
    wanted = ((a - a[-1]) * a[0] / (a[0] - a[-1])).square()
    torch.testing.assert_close(ZERO_SNR.alphas_cumprod[:-1].double(), wanted[:-1], rtol=1e-5, atol=0)
    assert 0 < ZERO_SNR.alphas_cumprod[-1] < 1e-7 and ZERO_SNR.log_sigmas.isfinite().all()
    assert ZERO_SNR.log_sigmas[-1].exp() == pytest.approx(4518.76, rel=1e-4)


@pytest.mark.parametrize("schedule", [PLAIN, ZERO_SNR], ids=["plain", "zero snr"])
def test_the_loss_is_the_error_of_v(latents, schedule):
    for t in (0, 500, 999):
        draw = PairNoise(torch.tensor([t, t]), torch.randn(latents.shape, generator=torch.Generator().manual_seed(t)))
        a = schedule.alphas_cumprod[t].sqrt()
        s = (1 - schedule.alphas_cumprod[t]).sqrt()
        z_t = a * latents + s * draw.noise
        wanted = (0.5 * z_t - (a * draw.noise - s * latents)).square().mean(dim=(1, 2, 3))
        torch.testing.assert_close(terms(latents, draw, schedule=schedule), wanted)
        for target, weight in (("epsilon", 1.0), ("v", 1.0), ("x0", s * s)):
            found = terms(latents, draw, TrainConfig(target=target), schedule)
            torch.testing.assert_close(found, weight * wanted)


def test_readings_of_one_noised_picture_meet_those_of_the_noise(latents):
    """The same error in both parametrisations, where both are well defined: |eps' - eps|^2 = a^2 |v' - v|^2."""
    config = TrainConfig(noisy_source="blend", target="x0", min_snr_gamma=5.0)
    draw = PairNoise.draw(latents, PLAIN, torch.Generator().manual_seed(0), config)

    def noise(z_t, t, context):
        return PLAIN.noise_of(0.5 * z_t, z_t, t)

    by_noise = alignment_terms(noise, PLAIN, latents, CONTEXT, draw, config)
    torch.testing.assert_close(terms(latents, draw, config, PLAIN), by_noise, rtol=1e-4, atol=1e-6)


def test_at_pure_noise_the_loss_is_finite_and_asks_for_the_picture(latents):
    draw = PairNoise(LAST, torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)))
    for config in (None, TrainConfig(target="x0"), TrainConfig(min_snr_gamma=5.0), TrainConfig(target="v")):
        assert terms(latents, draw, config).isfinite().all()
    knows = terms(latents, draw, predict=lambda z, t, context: -latents)
    assert knows.max() < 1e-4 < terms(latents, draw, predict=lambda z, t, context: -latents.flip(0))[STYLE]


@pytest.mark.usefixtures("users_noises")
@pytest.mark.parametrize(
    "settings", [{}, {"noisy_source": "blend"}, {"min_snr_gamma": 5.0, "copy_guard_every": 4}], ids=str
)
def test_a_training_at_zero_snr_is_finite_and_the_file_names_the_prediction(
    base, latents, style_tokens, tmp_path, settings
):
    config = TrainConfig(steps=4, learning_rate=3e-3, warmup_steps=0, **settings)
    adapter = train_adapter(velocity_base(base), latents, style_tokens, AdapterConfig("a painting in S* style"), config)
    assert all(torch.isfinite(value).all() for value in adapter.state_dict().values())
    assert sum(adapter.record.after) < sum(adapter.record.before)
    path = adapter_file.save(compact(adapter), tmp_path / "v.safetensors")
    with safe_open(path, "pt") as file:
        assert file.metadata()["base_prediction"] == "v"
    loaded = adapter_file.load(path)
    assert loaded.base_prediction == "v"
    assert notice_of_prediction(loaded, "v") == ""
    assert "trained on a base that predicts the velocity" in notice_of_prediction(loaded, "epsilon")


def test_files_of_bases_that_predict_noise_are_as_they_were_and_unknown_predictions_are_named(
    base, latents, style_tokens, tmp_path
):
    adapter = train_adapter(base, latents, style_tokens, AdapterConfig("a S* b"), TrainConfig(steps=1))
    path = adapter_file.save(adapter, tmp_path / "eps.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert "base_prediction" not in metadata and adapter_file.load(path).base_prediction == "epsilon"
    save_file(load_file(path), tmp_path / "flow.safetensors", {**metadata, "base_prediction": "flow"})
    with pytest.raises(ACFunError, match="predicts 'flow'.*update the ACFun"):
        adapter_file.load(tmp_path / "flow.safetensors")


@pytest.mark.parametrize("schedule", [PLAIN, ZERO_SNR], ids=["plain", "zero snr"])
def test_drawing_from_pure_noise_and_back(schedule):
    """Asked at the level gone to, as a base that predicts noise is, the way back to zero SNR ended with a deviation of 0.01.

    For clean latents of unit variance around a mean m, the best z_0' is ``m + a (z_t - a m)``, and so the best v is ``-s m``.
    """
    levels, mean = normal_levels(schedule, 40), torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    empty, noise = torch.zeros(1, 1, 4), torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    predict = guided(lambda z, t, c: -schedule.s(t) * mean, levels, lambda index: (empty, empty), 1.0, "v")
    drawn = sample(predict, levels.sigmas, levels.noisiest(noise))
    torch.testing.assert_close(drawn - mean, noise - schedule.a(LAST[:1]) * mean, atol=0.3, rtol=0)
    back = {how: levels.z_t(invert(predict, levels.sigmas, drawn, prediction=how)[0], 0) for how in ("v", "epsilon")}
    errors = {how: ((found - noise).norm() / noise.norm()).item() for how, found in back.items()}
    assert errors["v"] < 0.15 and errors["epsilon"] > 2 * errors["v"], errors


def test_trailing_levels_begin_at_the_last_timestep_and_leave_out_the_first():
    levels = normal_levels(ZERO_SNR, 10, trailing=True)
    assert levels.timesteps[0] == 999 and levels.timesteps[-1] > 90 and len(levels) == 10
    # diffusers' trailing: 999, 899, ... 99.
    wanted = torch.arange(1000, 0, -100) - 1
    assert (levels.timesteps - wanted).abs().max() <= 1

"""Readings of eq. 4: what is noised, when, and what the prediction is compared with."""

import pytest
import torch

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.diffusion.schedule import NoiseSchedule
from acfun_core.errors import ACFunError
from acfun_core.training.alignment_loss import alignment_terms
from acfun_core.training.loop import train_adapter
from acfun_core.training.targets import FACE, STYLE, PairNoise

SCHEDULE = NoiseSchedule.stable_diffusion()
CONTEXT = torch.zeros(1, 3, 8)


def draw(latents, seed=0, **settings):
    return PairNoise.draw(latents, SCHEDULE, torch.Generator().manual_seed(seed), TrainConfig(**settings))


def halves(z, t, context):
    return 0.5 * z


def terms(latents, drawn, config=None, predict=halves, masks=None):
    return alignment_terms(predict, SCHEDULE, latents, CONTEXT, drawn, config, masks)


def test_x0_and_v_are_errors_of_the_clean_latent_and_the_velocity(latents):
    drawn = draw(latents)
    a, s = SCHEDULE.a(drawn.t), SCHEDULE.s(drawn.t)
    z_t = SCHEDULE.add_noise(latents, drawn.noise, drawn.t)
    eps = halves(z_t, None, None)
    z_0 = (z_t - s * eps) / a
    clean = (z_0 - latents).square().mean(dim=(1, 2, 3))
    velocity = ((a * eps - s * z_0) - (a * drawn.noise - s * latents)).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(terms(latents, drawn, TrainConfig(target="x0")), clean, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(terms(latents, drawn, TrainConfig(target="v")), velocity, rtol=1e-3, atol=1e-5)


def test_min_snr_caps_the_weight_of_the_clean_latent(latents):
    plain = draw(latents)
    for t, low in ((5, True), (900, False)):
        drawn = PairNoise(torch.tensor([t, t]), plain.noise)
        snr = (1 / SCHEDULE.sigma(drawn.t).square())[0]
        assert (snr > 5) == low
        clean = terms(latents, drawn, TrainConfig(target="x0"))
        expected = min(snr.item(), 5.0) * clean
        for target in ("epsilon", "x0", "v"):
            config = TrainConfig(target=target, min_snr_gamma=5.0)
            torch.testing.assert_close(terms(latents, drawn, config), expected, rtol=1e-4, atol=1e-6)


def test_the_default_is_the_error_of_the_noise(latents):
    drawn = draw(latents)
    assert torch.equal(terms(latents, drawn, TrainConfig()), terms(latents, drawn))


def test_own_shared_uses_one_timestep_and_noise(latents):
    drawn = draw(latents, noisy_source="own_shared")
    assert drawn.t[STYLE] == drawn.t[FACE] and torch.equal(drawn.noise[STYLE], drawn.noise[FACE])
    assert drawn.source is None


@pytest.mark.parametrize("noisy_source", ["blend", "face", "style"])
def test_one_noised_picture_for_both_terms(latents, noisy_source):
    drawn = draw(latents, noisy_source=noisy_source)
    source = {"blend": latents.mean(0), "face": latents[FACE], "style": latents[STYLE]}[noisy_source]
    assert torch.equal(drawn.source[0], source)
    seen = []

    def copies_the_face(z_t, t, context):
        """An ideal denoiser that always answers with the noise that leads from the face."""
        seen.append(z_t)
        return (z_t - SCHEDULE.a(t) * latents[FACE:]) / SCHEDULE.s(t)

    found = terms(latents, drawn, TrainConfig(target="x0"), copies_the_face)
    assert len(seen) == 1 and len(seen[0]) == 1
    torch.testing.assert_close(found[FACE], torch.tensor(0.0), atol=1e-6, rtol=0)
    # eq. 4: what is drawn is compared with the other picture as it is.
    expected = (latents[STYLE] - latents[FACE]).square().mean()
    torch.testing.assert_close(found[STYLE], expected, rtol=1e-3, atol=1e-5)


def test_a_shared_picture_is_best_answered_by_the_blend(latents):
    """The mathematics of the default: with one noised picture, the weighted mean of both has the least loss."""
    drawn = draw(latents, noisy_source="blend")
    config = TrainConfig(target="x0")

    def loss(share):
        mixed = torch.lerp(latents[STYLE], latents[FACE], share)

        def answers(z_t, t, context):
            return (z_t - SCHEDULE.a(t) * mixed) / SCHEDULE.s(t)

        style, face = terms(latents, drawn, config, answers)
        return (0.8 * style + 1.0 * face).item()

    best = 1.0 / 1.8
    assert loss(best) < min(loss(0.0), loss(1.0), loss(best - 0.1), loss(best + 0.1))


def test_random_takes_either_picture(latents):
    sources = [draw(latents, seed, noisy_source="random").source[0] for seed in range(20)]
    counts = [sum(torch.equal(source, latents[image]) for source in sources) for image in (STYLE, FACE)]
    assert sum(counts) == 20 and min(counts) > 2


def test_timestep_split_gives_high_noise_to_the_face(latents):
    drawn = [draw(latents, seed, timestep_split=0.4).t.tolist() for seed in range(200)]
    style, face = zip(*drawn)
    assert max(style) < 400 <= min(face) and max(style) > 350 and min(face) < 450 and max(face) > 950
    with pytest.raises(ACFunError, match="share a timestep"):
        TrainConfig(timestep_split=0.4, noisy_source="blend")


@pytest.mark.parametrize(
    "settings",
    [
        {"noisy_source": "own_shared"},
        {"noisy_source": "blend"},
        {"noisy_source": "face"},
        {"noisy_source": "style"},
        {"noisy_source": "random"},
        {"target": "x0"},
        {"target": "v"},
        {"min_snr_gamma": 5.0},
        {"timestep_split": 0.5},
    ],
    ids=str,
)
def test_every_reading_trains_and_is_recorded(base, latents, style_tokens, settings):
    config = TrainConfig(steps=4, **settings)
    adapter = train_adapter(base, latents, style_tokens, AdapterConfig("a painting in S* style"), config)
    assert adapter.record.settings.items() >= settings.items()
    assert all(torch.isfinite(parameter).all() for parameter in adapter.parameters())
    plain = train_adapter(base, latents, style_tokens, AdapterConfig("a painting in S* style"), TrainConfig(steps=4))
    assert not torch.equal(adapter.e_a, plain.e_a)


@pytest.mark.parametrize(
    "settings",
    [
        {"noisy_source": "both"},
        {"target": "score"},
        {"min_snr_gamma": -1.0},
        {"timestep_split": 1.0},
        {"style_crop": 0.9},
    ],
    ids=str,
)
def test_bad_readings_are_named(settings):
    with pytest.raises(ACFunError, match="Expected:.*To fix it:"):
        TrainConfig(**settings)

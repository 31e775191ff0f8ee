"""CFun (eq. 3): identity at the start, steered by sigma alone, one step size for every width."""

import pytest
import torch

from acfun_core.method.cfun import CFun, channel_sigma, normalise_sigma
from acfun_core.training.optimiser import width_factor


def features(channels=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(1, channels, 1, 1, generator=generator) + 0.1
    return scale * torch.randn(2, channels, 6, 6, generator=generator)


def randomised(channels=64):
    cfun = CFun(channels)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in cfun.parameters():
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return cfun


def test_identity_at_the_start_is_bitwise():
    h = features()
    assert torch.equal(CFun(64)(h), h)


def test_strength_zero_is_bitwise_identity():
    h = features()
    assert torch.equal(randomised()(h, strength=0.0), h)


def test_scales_with_the_activations():
    h, cfun = features(), randomised()
    torch.testing.assert_close(cfun(1000 * h), 1000 * cfun(h), rtol=1e-4, atol=1e-2)


def test_the_mean_does_not_steer():
    h, cfun = features(), randomised()
    offset = torch.linspace(-3, 3, 64)[None, :, None, None]
    gamma_and_beta = cfun.delta(h)
    gamma_only_on_offset = cfun.delta(h + offset) - gamma_and_beta
    # If only sigma steers, the offset passes through gamma - 1 and nothing else: constant over H, W and linear in the offset.
    torch.testing.assert_close(gamma_only_on_offset, gamma_only_on_offset[:, :, :1, :1].expand_as(h), rtol=0, atol=1e-4)
    torch.testing.assert_close(2 * gamma_only_on_offset, cfun.delta(h + 2 * offset) - gamma_and_beta, rtol=0, atol=1e-4)


def test_constant_channels_have_finite_gradients():
    h = torch.zeros(1, 32, 1, 1, requires_grad=True)
    cfun = randomised(32)
    cfun(h).square().sum().backward()
    assert torch.isfinite(h.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in cfun.parameters())


def test_sigma_is_normalised_across_channels():
    steer = normalise_sigma(channel_sigma(features(320)))
    torch.testing.assert_close(steer.mean(1), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(steer.square().mean(1), torch.ones(2), atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [64, 320, 1280])
def test_one_optimizer_step_moves_every_width_alike(channels):
    """Raw sigma into full maps moves C times the learning rate and diverges at C = 1280."""
    h, cfun = features(channels), CFun(channels)
    optimizer = torch.optim.AdamW(cfun.parameters(), lr=1e-4)
    (cfun(h) - 2 * h).square().mean().backward()
    optimizer.step()
    change = (cfun(h) - h).square().mean().sqrt() / h.square().mean().sqrt()
    assert 0.02 < change.item() < 0.2


def prediction_moved(channels, seed, share):
    """How far one optimizer step moves a prediction of four values that a last convolution reads from CFun's features."""
    torch.manual_seed(seed)
    h, cfun = features(channels), CFun(channels)
    last = torch.nn.Conv2d(channels, 4, 1, bias=False)
    torch.nn.init.normal_(last.weight, std=channels**-0.5)
    optimizer = torch.optim.AdamW(cfun.parameters(), lr=1e-5 * share)
    before = last(h).detach()
    (last(cfun(h)) - torch.randn_like(before)).square().mean().backward()
    optimizer.step()
    return (last(cfun(h)) - before).square().mean().sqrt().item() / before.square().mean().sqrt().item()


def test_the_prediction_moves_alike_at_every_width():
    """Without the factor, sqrt(1280 / 64) = 4.5 times further at 1280 channels than at 64."""
    moved = {
        shared: [
            sum(prediction_moved(channels, seed, width_factor([channels]) if shared else 1) for seed in range(8))
            for channels in (64, 320, 1280)
        ]
        for shared in (True, False)
    }
    assert max(moved[True]) < 1.3 * min(moved[True])
    assert max(moved[False]) > 3 * min(moved[False])

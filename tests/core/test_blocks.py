"""Canonical block names on diffusers' layout (ComfyUI's is tested inside the server)."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from acfun_core.block_names import covers
from acfun_core.errors import ACFunError
from acfun_core.unet.blocks import find_sites
from acfun_core.unet.injection import injected


def test_sd1_has_8_2_12():
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
    channels = {name: site.channels for name, site in find_sites(unet).items()}
    counts = [sum(covers(part, name) for name in channels) for part in ("encoder", "decoder", "both", "all", "none")]
    assert counts == [8, 12, 20, 22, 0]
    assert channels["enc.0.0"] == 320 and channels["enc.3.1"] == 1280 and channels["dec.0.2"] == 320
    # Full maps on encoder and decoder: the paper's size.
    assert 37e6 < sum(2 * (c * c + c) for name, c in channels.items() if not name.startswith("mid")) < 39e6


def test_not_a_unet():
    with pytest.raises(ACFunError, match="no ResBlocks"):
        find_sites(torch.nn.Linear(2, 2))


def test_hooks_change_the_output_and_leave_nothing_behind(unet, latents):
    t, context = torch.tensor([5, 5]), torch.zeros(2, 3, 32)
    before = unet(latents, t, context).sample
    with injected(find_sites(unet), {"dec.0.0": lambda h: 1.5 * h}):
        inside = unet(latents, t, context).sample
    assert not torch.equal(before, inside)
    assert torch.equal(before, unet(latents, t, context).sample)


def test_hooks_go_after_an_error(unet):
    sites = find_sites(unet)
    with pytest.raises(RuntimeError, match="on purpose"):
        with injected(sites, {name: lambda h: h for name in sites}):
            raise RuntimeError("on purpose")
    assert not any(site.module._forward_hooks for site in sites.values())

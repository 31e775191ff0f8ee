"""Adapters and bases that do not belong together are told apart before any work."""

import pytest
import torch

from acfun_core.config import AdapterConfig
from acfun_core.errors import ACFunError
from acfun_core.method.adapter import StyleAdapter
from acfun_core.method.fit import check_fits, check_text_fits

CONFIG = AdapterConfig("a painting of a woman in S* style")


def adapter_of(channels, family="sd1", width=32):
    return StyleAdapter(CONFIG, torch.ones(width), torch.zeros(3, 48), channels, family)


def test_an_adapter_of_this_base_fits(base):
    channels = {name: site.channels for name, site in base.sites.items()}
    check_fits(adapter_of(channels), "sd1", base.sites)
    check_text_fits(adapter_of(channels), 32)


@pytest.mark.parametrize(
    ("adapter", "says"),
    [
        (adapter_of({"enc.0.0": 32}, "sdxl"), "trained on SDXL, this MODEL is Stable Diffusion 1.x"),
        (adapter_of({"enc.0.0": 320}), "1 of 1 blocks differ .block enc.0.0 has 32 channels, the adapter 320"),
        (adapter_of({"enc.0.0": 32, "dec.9.0": 64}), "1 of 2 blocks differ .there is no block dec.9.0"),
    ],
    ids=["family", "width", "block"],
)
def test_what_does_not_fit_is_named(base, adapter, says):
    with pytest.raises(ACFunError, match=says):
        check_fits(adapter, "sd1", base.sites, "this MODEL")


def test_another_width_of_the_text_is_named():
    with pytest.raises(ACFunError, match="32 wide, the embeddings of this CLIP are 768 wide"):
        check_text_fits(adapter_of({"enc.0.0": 32}), 768, "this CLIP")


def test_a_block_that_only_lacks_the_place_is_said_so(base):
    """A message that named the channels, the same on both sides, left the user to guess."""
    config = AdapterConfig("a painting of a woman in S* style", place="attention")
    bare = next(name for name, site in base.sites.items() if not site.has("attention"))
    adapter = StyleAdapter(config, torch.ones(32), torch.zeros(3, 48), {bare: base.sites[bare].channels})
    with pytest.raises(ACFunError, match=f"block {bare} has nothing at the adapter's place, attention"):
        check_fits(adapter, "sd1", base.sites)

"""Parts of a face from five landmarks."""

import pytest
import torch

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.faces.landmarks import Similarity
from acfun_core.faces.regions import (
    MAP_STEP,
    REGIONS,
    map_picture,
    region_map,
    region_masks,
    region_strengths,
    weighted_mask,
)
from acfun_core.method.applied import block_transforms
from acfun_core.strengths import Strengths
from acfun_core.training.loop import train_adapter

# A frontal face, eyes 40 pixels apart, in a picture of 200 x 200.
FACE = torch.tensor([[80.0, 90.0], [120.0, 90.0], [100.0, 113.0], [83.0, 132.0], [117.0, 132.0]])


def at(regions, x, y):
    return REGIONS[regions[int(y), int(x)]]


def test_each_part_is_where_it_should_be():
    regions = region_map(FACE, 200, 200)
    for (x, y), name in (
        ((80, 90), "eyes"),
        ((120, 88), "eyes"),
        ((100, 110), "nose"),
        ((100, 132), "mouth"),
        ((70, 115), "skin"),
        ((100, 155), "skin"),
        ((100, 62), "skin"),
        ((100, 35), "hair"),
        ((45, 90), "hair"),
        ((10, 10), "background"),
        ((100, 195), "background"),
        ((40, 160), "background"),
    ):
        assert at(regions, x, y) == name, (x, y)


def test_parts_turn_and_grow_with_the_face():
    angle = torch.tensor(0.5)
    turn = 1.2 * torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    moved = Similarity(turn, torch.tensor([60.0, -20.0]))
    regions, turned = region_map(FACE, 200, 200), region_map(moved(FACE), 320, 320)
    for x, y in ((80, 90), (100, 110), (100, 132), (70, 115), (100, 35), (45, 90)):
        tx, ty = moved(torch.tensor([x + 0.5, y + 0.5])).tolist()
        assert at(turned, tx, ty) == at(regions, x, y), (x, y)


@pytest.mark.parametrize("softness", [0.0, 0.15, 0.5])
def test_the_parts_share_every_pixel(softness):
    masks = region_masks(FACE, 200, 160, softness)
    assert masks.shape == (6, 200, 160) and masks.min() >= 0
    torch.testing.assert_close(masks.sum(0), torch.ones(200, 160), atol=1e-4, rtol=0)
    assert (masks.amax(dim=(1, 2)) > (0.9 if softness < 0.5 else 0.4)).all()


def test_weights_become_one_mask():
    masks = region_masks(FACE, 200, 200, softness=0.0)
    mask = weighted_mask(masks, {"eyes": 0.0, "hair": 2.0})
    assert mask.shape == (1, 200, 200)
    assert mask[0, 90, 80] == 0 and mask[0, 35, 100] == 2 and mask[0, 10, 10] == 1


@pytest.mark.parametrize("softness", [0.0, 0.15, 0.5])
def test_strengths_of_1_are_exactly_no_mask(softness):
    mask = weighted_mask(region_masks(FACE, 64, 48, softness), dict.fromkeys(REGIONS, 1.0))
    assert torch.equal(mask, torch.ones(1, 64, 48))
    assert Strengths(mask=mask).mask is None


@pytest.mark.parametrize("name", REGIONS)
def test_a_strength_changes_its_region_and_no_other(name):
    regions, hard = region_map(FACE, 200, 200), region_masks(FACE, 200, 200, softness=0.0)
    mask = weighted_mask(hard, {name: 0.25})[0]
    inside = regions == REGIONS.index(name)
    assert (mask[inside] == 0.25).all() and (mask[~inside] == 1).all() and inside.any()


@pytest.fixture
def adapter(base, latents, style_tokens):
    config = TrainConfig(steps=3, learning_rate=1e-2, warmup_steps=0)
    return train_adapter(base, latents, style_tokens, AdapterConfig("a painting in S* style"), config)


@pytest.mark.parametrize("name", REGIONS)
def test_in_a_resblock_only_the_region_is_scaled(adapter, name):
    """CFun's change is scaled inside the region, and outside it bit for bit what it is without regions."""
    block, h = "enc.0.0", torch.randn(1, 32, 64, 64, generator=torch.Generator().manual_seed(4))
    hard = region_masks(0.32 * FACE, 64, 64, softness=0.0)
    inside = hard[REGIONS.index(name)] == 1

    def drawn(strengths: Strengths) -> torch.Tensor:
        return block_transforms([(adapter, strengths)])[block](h)

    full, off = drawn(Strengths()), drawn(Strengths(mask=weighted_mask(hard, {name: 0.0})))
    assert torch.equal(off[..., ~inside], full[..., ~inside])
    assert torch.equal(off[..., inside], h[..., inside]) and not torch.equal(full[..., inside], h[..., inside])


def test_strengths_are_read_from_json():
    assert region_strengths("{}") == dict.fromkeys(REGIONS, 1.0)
    read = region_strengths('{"hair": 2, "eyes": 0.4}')
    assert read["hair"] == 2.0 and read["eyes"] == 0.4 and read["nose"] == 1.0 and tuple(read) == REGIONS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read"),
        ("eyes: 1", "cannot be read"),
        (None, "cannot be read"),
        ("[1, 2]", r"are \[1, 2\]"),
        ("null", "are null"),
        ('{"ears": 1}', "'ears' is no region"),
        ('{"eyes": 2.1}', "strength of the eyes is 2.1"),
        ('{"eyes": -0.1}', "strength of the eyes"),
        ('{"eyes": NaN}', "strength of the eyes is nan"),
        ('{"eyes": true}', "strength of the eyes is True"),
        ('{"eyes": "1"}', "strength of the eyes is '1'"),
    ],
)
def test_bad_json_is_named(text, says):
    with pytest.raises(ACFunError, match=says):
        region_strengths(text)


def test_the_map_tells_regions_by_grey_values():
    grey = map_picture(FACE, 200, 200)
    assert torch.equal(grey, MAP_STEP * region_map(FACE, 200, 200))
    assert set(grey.unique().tolist()) == {MAP_STEP * number for number in range(len(REGIONS))} and grey.max() < 256


@pytest.mark.parametrize(
    ("weights", "says"), [({"ears": 1.0}, "'ears' is no region"), ({"eyes": 3.0}, "strength of the eyes")]
)
def test_bad_weights_are_named(weights, says):
    with pytest.raises(ACFunError, match=says):
        weighted_mask(region_masks(FACE, 64, 64), weights)

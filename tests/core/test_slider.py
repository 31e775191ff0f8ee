"""A slider: learned between two descriptions, kept in an adapter's file, used beside a style."""

import dataclasses

import pytest
import torch
from safetensors import safe_open

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.method.adapter import Slider
from acfun_core.method.applied import block_transforms
from acfun_core.method.pseudo_word import is_plain, scaled_members, style_embedding
from acfun_core.storage import adapter_file, export
from acfun_core.strengths import Strengths
from acfun_core.training import keeper as keeping
from acfun_core.training.keeper import StateKeeper
from acfun_core.training.loop import train_adapter
from acfun_core.training.memory import fitting
from acfun_core.training.slider import Between, SliderConfig, begun, check_slider, train_slider, where_wanted
from acfun_core.unet.injection import injected

from .conftest import base_on, tiny_unet

pytestmark = pytest.mark.usefixtures("users_noises_for_all")

SMILE = Slider("a photo of a smiling person", "a photo of a serious person")
CONFIG = SliderConfig(steps=60, learning_rate=2e-3, push=2.0)


@pytest.fixture(scope="module")
def base():
    return base_on(tiny_unet())


@pytest.fixture(scope="module")
def latents():
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def between(base) -> Between:
    """A base that knows the feature: under the first description its ResBlocks answer otherwise."""
    other = begun(base, SMILE)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in other.cfun.parameters():
            parameter.copy_(0.2 * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
    context = base.text.encode(base.text.initial_row)

    def less(z_t, t):
        return base.predict(z_t, t, context.expand(len(z_t), -1, -1))

    def more(z_t, t):
        with injected(base.sites, block_transforms([(other, Strengths())])):
            return less(z_t, t)

    return Between(SMILE, more, less)


@pytest.fixture(scope="module")
def slider(base, latents, between):
    return train_slider(base, latents, between, CONFIG)


def at(base, between, latents, members):
    """What the base predicts under the second description with adapters."""
    t = torch.full((len(latents),), 500)
    z_t = base.schedule.add_noise(latents, torch.randn(latents.shape, generator=torch.Generator().manual_seed(9)), t)
    with torch.no_grad(), injected(base.sites, block_transforms(members)):
        return between.less(z_t, t), between.more(z_t, t)


def test_it_leads_from_one_description_toward_the_other(base, latents, between, slider):
    less, more = at(base, between, latents, [])
    assert slider.record.after[0] < 0.8 * slider.record.before[0]
    moved = [at(base, between, latents, [(slider, Strengths(encoder=s, decoder=s))])[0] - less for s in (0.5, 1.0)]
    along = [((change * (more - less)).sum() / (more - less).square().sum()).item() for change in moved]
    assert 0 < along[0] < along[1] < CONFIG.push, "more strength goes further, and no further than it was pushed"


def test_at_strength_0_the_base_is_bit_for_bit_what_it_was(base, latents, between, slider):
    off = [(slider, Strengths(encoder=0, decoder=0))]
    assert torch.equal(at(base, between, latents, off)[0], at(base, between, latents, [])[0])


def test_the_same_seed_learns_the_same_and_leaves_torch_s_own_chance_alone(base, latents, between):
    few = dataclasses.replace(CONFIG, steps=5)
    first = train_slider(base, latents, between, few)
    torch.manual_seed(4)
    state = torch.get_rng_state()
    again = train_slider(base, latents, between, few)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, other) for one, other in zip(first.state_dict().values(), again.state_dict().values()))


def test_half_of_the_change_everywhere_is_half_of_the_push(base, latents, between):
    few = dataclasses.replace(CONFIG, steps=3)
    half = train_slider(base, latents, between, few, where=torch.full((1, 1, 8, 8), 0.5))
    pushed = train_slider(base, latents, between, dataclasses.replace(few, push=1.0))
    assert half.record.style_loss == pytest.approx(pushed.record.style_loss)


def test_masks_come_at_the_size_of_the_latents():
    mask = torch.zeros(2, 16, 24)
    mask[:, :, 12:] = 1
    found = where_wanted(mask, 64)
    assert found.shape == (2, 1, 8, 8) and found[..., 0].max() < 0.5 < found[..., -1].min()
    assert where_wanted(None, 64) is None
    with pytest.raises(ACFunError, match="photo mask is empty"):
        where_wanted(torch.zeros(1, 16, 16), 64)


def test_a_file_holds_it_and_a_style_s_file_stays_what_it_was(slider, tmp_path, base, latents, style_tokens):
    path = adapter_file.save(slider, tmp_path / "smile.safetensors")
    loaded = adapter_file.load(path)
    assert loaded.slider == SMILE and loaded.record == slider.record
    assert all(
        torch.equal(one, other) for one, other in zip(slider.state_dict().values(), loaded.state_dict().values())
    )
    with safe_open(str(path), "pt") as file:
        assert file.metadata()["format_version"] == "3"
    style = train_adapter(base, latents, style_tokens, AdapterConfig("a face in S* style"), TrainConfig(steps=1))
    with safe_open(str(adapter_file.save(style, tmp_path / "style.safetensors")), "pt") as file:
        assert file.metadata()["format_version"] == "1" and "slider" not in file.metadata()


def test_it_gives_the_word_no_meaning_and_no_preset_scales_it(slider, base, latents, style_tokens):
    style = train_adapter(
        base, latents, style_tokens, AdapterConfig("a face in S* style"), TrainConfig(steps=2, learning_rate=1e-2)
    )
    alone, beside = [(style, Strengths())], [(style, Strengths()), (slider, Strengths())]
    assert is_plain([(slider, Strengths())]) and not is_plain(beside)
    assert torch.equal(style_embedding(alone), style_embedding(beside))
    by = Strengths(encoder=0.35, decoder=0.0)
    (_, of_style), (_, of_slider) = scaled_members(beside, by)
    assert (of_style.encoder, of_style.decoder) == (0.35, 0.0) and of_slider == Strengths()


def test_exports(slider, tmp_path):
    with pytest.raises(ACFunError, match="gives S\\* no meaning"):
        export.save_embedding(slider, tmp_path / "smile_embedding.safetensors")
    small, kept = export.low_rank(slider, 4)
    assert small.slider == SMILE and 0 < kept <= 1


@pytest.mark.parametrize(
    "more, less, why",
    [
        ("", "a man", "'more' is empty"),
        ("a man", "  ", "'less' is empty"),
        ("a man", " a man ", "Both descriptions"),
        ("a man in S* style", "a man", "holds S\\*"),
    ],
)
def test_descriptions_that_cannot_be(more, less, why):
    with pytest.raises(ACFunError, match=why):
        check_slider(more, less)


def test_words_that_say_the_same_to_the_base_are_refused_before_any_step(base, latents, between):
    steps = []
    with pytest.raises(ACFunError, match="draws the same"):
        train_slider(
            base, latents, Between(SMILE, between.less, between.less), CONFIG, lambda *step: steps.append(step)
        )
    assert not steps


def test_it_can_be_stopped_and_keeps_what_it_has(base, latents, between):
    stopped = train_slider(base, latents, between, CONFIG, lambda step, loss: step == 3)
    assert len(stopped.record.style_loss) == 3


class Killed(BaseException):
    """The process is gone: nothing catches it."""


def kept(folder, said) -> StateKeeper:
    return StateKeeper(folder, "key", say=said.append, seconds_between=0.0)


def test_a_slider_whose_training_was_killed_was_lost(base, latents, between, slider, tmp_path, monkeypatch):
    """It goes on where it stopped, twice, and ends bit for bit as the one that was not killed."""
    monkeypatch.setattr(keeping, "LARGEST_SHARE", float("inf"))
    said = []
    for killed_after in (7, 31):

        def killed(step, loss, killed_after=killed_after):
            if step == killed_after:
                raise Killed

        with pytest.raises(Killed):
            train_slider(base, latents, between, CONFIG, killed, keeper=kept(tmp_path, said))
    keeper = kept(tmp_path, said)
    steps = []
    ended = train_slider(base, latents, between, CONFIG, lambda step, loss: steps.append(step), keeper=keeper)
    keeper.end()
    goes_on = "This training was done up to step {} before. It goes on from there."
    assert said == [goes_on.format(7), goes_on.format(31)] and steps == list(range(32, CONFIG.steps + 1))
    assert ended.record == slider.record and list(tmp_path.iterdir()) == []
    assert all(torch.equal(one, other) for one, other in zip(slider.state_dict().values(), ended.state_dict().values()))


def test_a_slider_crashed_under_gradient_checkpointing(base, latents, between):
    """It learns the same, but for the order in which the parts of a gradient are added up."""
    few = dataclasses.replace(CONFIG, steps=5)
    with fitting(base, latents, few.training, "on"):
        again = train_slider(base, latents, between, few)
    whole = train_slider(base, latents, between, few)
    assert again.record.style_loss == pytest.approx(whole.record.style_loss, rel=1e-5)
    assert len(set(whole.record.style_loss)) == 5, "it learns"

"""The methods on the demo base with a few steps: one sampler for all, and nothing left behind on the base."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from acfun_core.backends.transferring import Transfer
from acfun_core.presets import PRESETS
from benchmarks import methods
from benchmarks.lists import Image, Pair
from benchmarks.methods.injection import Injecting, injecting
from benchmarks.methods.lora import attention_maps, fresh_factors, with_lora
from benchmarks.workbench import ROOT, Settings, Workbench

SETTINGS = Settings(sampler_steps=3, passes=4, side=64)
TRAINED = (
    "acfun",
    "keep_person",
    "textual_inversion",
    "attention_inversion",
    "stage_tokens",
    "lora_our_loss",
)


@pytest.fixture(scope="module")
def bench() -> Workbench:
    return Workbench(SETTINGS)


@pytest.fixture(scope="module")
def pair() -> Pair:
    folder = ROOT / "pictures"
    face = Image("a" * 64, folder / "face_astronaut.png", person="woman")
    return Pair(face, Image("b" * 64, folder / "style_woodblock.png", words="a woodcut print"))


def test_keep_person_learns_no_face_and_the_seed_has_no_say(bench, pair):
    method = methods.method("keep_person")
    assert method.style_only and method.state_name != methods.method("acfun").state_name
    state = method.train(bench, pair)
    another = method.train(bench, dataclasses.replace(pair, face=pair.style))
    assert torch.equal(state.e_a, another.e_a)
    one, two = (method.sample(bench, pair, state, seed) for seed in (0, 1))
    assert torch.equal(one, two)
    alone = methods.method("instant").sample(bench, pair, {}, seed=0)
    assert not torch.equal(one, alone) and alone.std() > 0


def test_a_preset_is_drawn_as_the_command_line_draws_it(bench, pair):
    """And an option after a colon changes the transfer."""
    references = bench.base.references(pair.face.pixels, pair.style.pixels, SETTINGS.sampler_steps, SETTINGS.side)
    transfer = Transfer(references, PRESETS["instant"].transfer)
    latent = bench.base.sample(pair.plain_text, steps=SETTINGS.sampler_steps, cfg=1.0, transfer=transfer)
    drawn = methods.method("instant").sample(bench, pair, {}, seed=0)
    assert torch.allclose(drawn, bench.decode(latent), atol=1e-3)
    assert not torch.allclose(methods.method("instant:branch=0.9").sample(bench, pair, {}, seed=0), drawn, atol=1e-2)


def test_options_of_a_preset_go_where_they_belong():
    method = methods.method("keep_person:branch=0.4,encoder=0.5,steps=20,cfg=2")
    assert (method.transfer.branch, method.strengths["encoder"], method.config["steps"]) == (0.4, 0.5, 20)
    assert method.drawing["cfg"] == 2 and method.name == "keep_person:encoder=0.5,steps=20,cfg=2,branch=0.4"
    assert methods.method(method.name).name == method.name
    assert methods.method("keep_person:branch=0.4").state_name == methods.method("keep_person").state_name


def test_text_alone_is_what_the_base_draws(bench, pair):
    drawn = methods.method("text").sample(bench, pair, {}, seed=5)
    size = (SETTINGS.side, SETTINGS.side)
    latent = bench.base.sample(pair.plain_text, seed=5, steps=SETTINGS.sampler_steps, cfg=SETTINGS.cfg, size=size)
    assert torch.allclose(drawn, bench.decode(latent), atol=1e-4)


def test_img2img_goes_from_the_photo_to_the_text(bench, pair):
    """The less noise, the nearer to the photo as the VAE gives it back."""
    photo = bench.decode(bench.latent(pair.face))
    distances = [
        (methods.method(f"img2img_{share}").sample(bench, pair, {}, seed=1) - photo).abs().mean().item()
        for share in ("0.4", "0.6", "0.8")
    ]
    assert distances[0] < distances[1] < distances[2]
    again = methods.method("img2img_0.6").sample(bench, pair, {}, seed=1)
    assert (again - photo).abs().mean().item() == pytest.approx(distances[1], abs=1e-6)


@pytest.mark.parametrize("name", TRAINED)
def test_trained_methods_use_their_passes_and_keep_what_they_learn(bench, pair, name, tmp_path):
    method, before = methods.method(name), bench.training_passes
    state = method.train(bench, pair)
    assert bench.training_passes - before == SETTINGS.passes
    method.save(state, tmp_path / "state.safetensors")
    one = method.sample(bench, pair, state, seed=0)
    two = method.sample(bench, pair, method.load(tmp_path / "state.safetensors"), seed=0)
    assert one.shape == (SETTINGS.side, SETTINGS.side, 3) and torch.allclose(one, two, atol=1e-3)
    assert 0 <= one.min() and one.max() <= 1 and one.std() > 0


def test_a_fresh_lora_changes_nothing_and_a_learned_one_leaves_nothing_behind(bench, pair):
    context = bench.text("a painting of a woman")
    plain = bench.draw(context, seed=2)
    state = fresh_factors(bench.base.unet, rank=4, seed=0)
    assert len(state) == 2 * len(attention_maps(bench.base.unet)) > 0
    with with_lora(bench.base.unet, state):
        assert torch.equal(bench.draw(context, seed=2), plain)
        for name in state:
            if name.endswith(".up"):
                state[name].add_(0.1)
        changed = bench.draw(context, seed=2)
    assert not torch.allclose(changed, plain, atol=1e-3)
    with with_lora(bench.base.unet, state, first_only=True):
        guided = bench.draw(context, seed=2)
    assert not torch.allclose(guided, plain, atol=1e-3) and not torch.allclose(guided, changed, atol=1e-3)
    assert torch.equal(bench.draw(context, seed=2), plain)


def test_a_time_limit_also_ends_the_fall_of_the_learning_rate(bench, monkeypatch):
    assert list(bench.shares(2))[-1] == 1.0
    seconds = iter(range(100))
    monkeypatch.setattr("benchmarks.workbench.time.monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(bench, "settings", dataclasses.replace(bench.settings, train_seconds=12.0))
    shares = list(bench.shares(2))
    assert shares == sorted(shares) and shares[0] < 0.5 < 0.9 < shares[-1] <= 1.0


@pytest.mark.parametrize("of", ["face", "style"])
def test_what_the_unet_loses_of_a_picture_grows_with_the_noise(bench, pair, of):
    picture = bench.decode(bench.latent(getattr(pair, of)))
    less, more = (methods.method(f"denoised_{of}_{share}").sample(bench, pair, {}, seed=0) for share in (0.1, 0.4))
    assert 0 < (less - picture).square().mean() < (more - picture).square().mean()


def test_injection_reads_the_style_and_is_taken_off(bench, pair):
    before = bench.base.unet.attn_processors
    drawn = methods.method("kv_injection").sample(bench, pair, {}, seed=0)
    other = Pair(pair.face, Image("c" * 64, ROOT / "pictures" / "style_oil.jpg", words=pair.style.words))
    assert not torch.allclose(drawn, methods.method("kv_injection").sample(bench, other, {}, seed=0), atol=1e-2)
    with pytest.raises(KeyboardInterrupt), injecting(bench.base.unet, Injecting(0.5, 1.0)):
        raise KeyboardInterrupt
    assert bench.base.unet.attn_processors == before


def test_anchors_are_the_pictures_themselves(bench, pair):
    face, style = bench.square(pair.face)[0], bench.square(pair.style)[0]
    assert torch.equal(methods.method("copy_face").sample(bench, pair, {}, 0), face)
    assert torch.equal(methods.method("copy_style").sample(bench, pair, {}, 0), style)
    assert torch.allclose(methods.method("blend").sample(bench, pair, {}, 0), (face + style) / 2)


def test_a_time_limit_ends_a_training(bench, pair, monkeypatch):
    monkeypatch.setattr(bench, "settings", dataclasses.replace(SETTINGS, train_seconds=0.01))
    before = bench.training_passes
    methods.method("textual_inversion").train(bench, pair)
    assert bench.training_passes - before == 2

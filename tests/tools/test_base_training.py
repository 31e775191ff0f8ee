"""The training of the base: one command through all stages, and the parts that the stages share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.tools.made_up import album
from tools.comfy.launcher import define_torchvision_operators

define_torchvision_operators()

from diffusers import AutoencoderTiny, UNet2DConditionModel  # noqa: E402
from transformers import CLIPTextModelWithProjection  # noqa: E402

from tools.base import __main__ as command  # noqa: E402
from tools.base import common, export, models  # noqa: E402
from tools.base.training import critic, features, loop, plain, unet  # noqa: E402
from tools.base.training.supply import MEDIA, Chunk, Drawn, Feed, Ring, Supply  # noqa: E402

CONFIG = common.HERE / "config.json"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return album(tmp_path_factory.mktemp("data") / "made_up")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """The shipped config with everything that costs time made small."""
    config = json.loads(CONFIG.read_text())
    config["supply"]["cpu"] = {"producers": 0, "chunk": 1, "pictures": 2, "latents": 2, "first": 2, "uses": 3}
    config["save_every"], config["held"]["cpu"]["each"], config["sample"]["steps"] = 0, 1, 2
    config["encoders"].update(width=32, layers=2, intermediate=64)
    config["unet"].update(channels=[32, 32, 64])
    for name in ("encoders", "image_encoder", "unet", "plain"):
        config[name]["cpu"]["batch"] = 2
    for name in ("autoencoder", "decoder"):
        config[name].update(perceptual=0, cpu={"batch": 1, "crop": 64, "widths": [8, 8, 8]})
    path = tmp_path_factory.mktemp("config") / "tiny.json"
    path.write_text(json.dumps(config))
    return path


class Killed(BaseException):
    """Stands for a signal."""


def test_one_command_trains_all_is_killed_goes_on_and_gives_a_base_that_loads(tmp_path, data, tiny, monkeypatch):
    run, out, base = tmp_path / "run", tmp_path / "out", tmp_path / "base"
    line = ["base", *("--config", str(tiny)), *("--run", str(run)), "--device", "cpu"]
    train = [*line, "--data", str(data), "--out", str(out), "--minutes", "0.01"]
    learn = loop.Loop.learn

    def killed(self, loss):
        if self.name == "unet" and self.step == 1:
            raise Killed
        learn(self, loss)

    monkeypatch.setattr(torch, "set_flush_denormal", lambda on: True)  # other tests share this process
    monkeypatch.setattr(sys, "argv", train)
    monkeypatch.setattr(loop.Loop, "learn", killed)
    with pytest.raises(Killed):
        command.main()
    done = json.loads((run / "progress.json").read_text())
    assert set(done) == {"encoders", "words", "autoencoder", "decoder"} and not out.exists()

    monkeypatch.setattr(loop.Loop, "learn", learn)
    command.main()
    log = (run / "STATUS.md").read_text()
    assert log.count("unet: goes on at step 1") == 1 and log.count("autoencoder: held-out photos") == 1
    assert not list(run.glob("state_*.pt")) and (run / "sheet_unet.png").exists()
    files = list(out.iterdir())
    assert len(files) <= 8 and all(file.stat().st_size <= 16 * 2**20 for file in files)

    monkeypatch.setattr(sys, "argv", [*line, "--from", str(out), "--export", str(base)])
    export.main()
    kept = export.load_file(run / "unet.safetensors")
    loaded = UNet2DConditionModel.from_pretrained(base / "unet").state_dict()
    assert all(torch.equal(loaded[name].half(), kept[name].half()) for name in kept)
    AutoencoderTiny.from_pretrained(base / "vae")
    text, tokenizer = (kind.from_pretrained(base / name) for kind, name in TEXT)
    assert text.get_input_embeddings().num_embeddings == len(tokenizer)
    networks = export.fresh(common.load_config(tiny), tokenizer)
    assert export.load_given(base, networks) == export.load_given(out, networks) == set(networks)


TEXT = ((CLIPTextModelWithProjection, "text_encoder"), (export.CLIPTokenizer, "tokenizer"))


def test_a_command_that_could_only_fail_later_is_refused(tmp_path, monkeypatch):
    args = SimpleNamespace(stages=None, given=None)
    assert command.chosen(args) == list(command.STAGES)
    assert command.chosen(SimpleNamespace(stages=None, given=tmp_path)) == ["unet", "plain"]
    assert command.chosen(SimpleNamespace(stages="unet,decoder", given=None)) == ["decoder", "unet"]
    with pytest.raises(SystemExit, match="no stage vea"):
        command.chosen(SimpleNamespace(stages="vea", given=None))
    quiet = SimpleNamespace(perceptual=0)
    run = SimpleNamespace(known={"text_encoder"}, cfg=SimpleNamespace(autoencoder=quiet, decoder=quiet))
    command.check(["autoencoder", "unet"], run)
    with pytest.raises(SystemExit, match="unet needs a trained vae"):
        command.check(["unet"], run)
    with pytest.raises(SystemExit, match="holds no weights"):
        export.load_given(tmp_path, {})


def test_plain_paintings_hear_what_oil_paintings_do():
    """Only where no medium is named: "a painting of a man" had no face, pulled away from all that answered to it."""
    tokenizer = export.CLIPTokenizer.from_pretrained(common.HERE.parents[1] / "base" / "tokenizer")
    texts = ["a painting of a man", "a photo of a man", "a painting of a man in pencil style", "a painting of a woman"]
    words = plain.encode(tokenizer, texts)
    named, is_plain = plain.with_medium(words, tokenizer)
    assert is_plain.tolist() == [True, False, False, True]
    wanted = ["an oil painting of a man", *texts[1:3], "an oil painting of a woman"]
    assert torch.equal(named, plain.encode(tokenizer, wanted))
    assert plain.chosen(is_plain, 2, 0.5).tolist() == [0, 1] and plain.chosen(is_plain, 3, 1.0).tolist() == [0, 3, 1]


def test_settings_depend_on_the_device_and_on_given_weights():
    gpu, further = common.load_config(CONFIG, "cuda").unet, common.load_config(CONFIG, "given", "cuda").unet
    assert (gpu.batch, gpu.lr, gpu.late) == (384, 7e-4, 0) and (further.lr, further.late) == (3e-4, 0.35)
    slow = common.load_config(CONFIG, "given", "cpu").unet
    assert (slow.batch, slow.lr, slow.text_rate) == (16, 1.5e-4, 4)
    assert common.load_config(CONFIG).unet.channels == [64, 128, 256]


def a_loop(folder: Path, **more) -> loop.Loop:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW([loop.peaks(model.parameters(), 0.1)])
    return loop.Loop(folder, "stage", 0.0, model, optimizer, SimpleNamespace(warmup=1, ema=0.9), **more)


def steps(one: loop.Loop) -> None:
    for _ in one:
        one.learn(one.model(torch.ones(1, 3)).square().sum())


def test_a_stage_goes_on_where_it_was_killed(tmp_path):
    first = a_loop(tmp_path)
    steps(first)
    first.spent = 12.5
    first.save()
    steps(first)
    again = a_loop(tmp_path)
    assert again.step == loop.LEAST and again.spent == 12.5 and int(again.average.n_averaged) == loop.LEAST
    steps(again)
    assert torch.equal(again.model.weight, first.model.weight)
    assert torch.equal(again.average.module.weight, first.average.module.weight)
    again.finish()
    assert torch.equal(again.model.weight, again.average.module.weight)


def test_the_rate_rises_falls_with_the_time_and_constant_groups_keep_theirs(tmp_path):
    assert loop.learning_rate(1.0, 0, 10, 0.0) == 0.1
    assert loop.learning_rate(1.0, 50, 10, 0.5) == pytest.approx(0.51)
    assert loop.learning_rate(1.0, 50, 10, 1.0) == pytest.approx(0.02)
    one = a_loop(tmp_path)
    one.optimizer.add_param_group(loop.peaks([torch.nn.Parameter(torch.zeros(1))], 0.3, constant=True))
    steps(one)
    assert one.optimizer.param_groups[1]["lr"] == 0.3 > one.optimizer.param_groups[0]["lr"]


def chunk(first: int, count: int = 4) -> Chunk:
    values = torch.arange(first, first + count)
    return Chunk(values.view(-1, 1, 1, 1).to(torch.uint8), values.view(-1, 1, 1).expand(-1, 3, 77).short(), values)


def test_a_ring_keeps_the_newest_and_is_hungry_when_they_are_worn():
    ring = Ring(capacity=6, uses=2)
    ring.add(chunk(0))
    assert len(ring) == 4 and ring.hungry, "until it is full"
    ring.add(chunk(4))
    assert len(ring) == 6 and not ring.hungry
    images, words, named = ring.draw(16)
    assert set(named.tolist()) <= set(range(2, 8)) and words.shape == (16, 77)
    assert torch.equal(images.flatten().long(), named) and torch.equal(words[:, 5], named)
    assert ring.hungry, "16 uses of 8 pictures"
    other = Ring(capacity=6, uses=2)
    other.load_state_dict(ring.state_dict())
    assert sorted(other.parts.media.tolist()) == sorted(ring.parts.media.tolist())


def ids(texts: list[str]) -> torch.Tensor:
    return torch.tensor([[len(text)] * 77 for text in texts])


def test_producers_bring_pictures_and_wait_while_none_are_wanted(data, tiny):
    cfg = common.load_config(tiny, "cpu")
    supply = Supply(Drawn(data, cfg, seed=0), 1, ids)
    feed = Feed(supply, Ring(2, uses=100.0), "cpu")
    feed.fill(2)
    images, words, named = feed.draw(8)
    assert images.shape == (8, 3, 256, 256) and images.dtype == torch.uint8
    assert words.shape == (8, 77) and words.min() > 0 and named.max() < len(MEDIA)
    feed.draw(8)
    assert feed.ring.added == 2, "a full ring with fresh pictures takes no more"
    supply.close()
    assert not supply.thread.is_alive()


def test_an_error_of_a_producer_is_the_trainer_s(tmp_path, tiny):
    supply = Supply(Drawn(tmp_path, common.load_config(tiny, "cpu"), seed=0), 0, ids)
    with pytest.raises(SystemExit, match="records.jsonl"):
        supply.take(wait=True)
    supply.close()


def test_only_what_reads_the_text_learns_faster():
    cfg = common.load_config(CONFIG, "given", "cpu")
    net = models.unet(cfg.unet, cfg.encoders.width, 32)
    rest, text = unet.groups(net, cfg.unet)
    assert text["peak"] == 4 * rest["peak"]
    assert {p.shape[1] for p in text["params"]} == {cfg.encoders.width}
    assert len(text["params"]) == 2 * sum(name.endswith("attn2.to_q.weight") for name, _ in net.named_parameters())
    assert len(rest["params"]) + len(text["params"]) == len(list(net.parameters()))


def test_late_times_are_drawn_more_often_where_the_config_says_so():
    torch.manual_seed(0)
    for late, above in ((0.0, 0.55), (0.35, 0.35 + 0.65 * 0.55)):
        t = unet.steps_of_noise(20000, SimpleNamespace(late=late, late_from=450), "cpu")
        assert 0 <= t.min() and t.max() <= 999
        assert (t >= 450).float().mean() == pytest.approx(above, abs=0.015)


def test_errors_at_pure_noise_count_as_errors_of_the_clean_latent():
    """The epsilon loss alone gives them next to nothing, and colours went on being those of captions long corrected."""
    snr = torch.tensor([1e-6, 0.005, 0.1, 1.0, 5.0, 100.0])
    weights = unet.loss_weights(snr, gamma=5, most=40)
    torch.testing.assert_close(weights, torch.tensor([40, 40, 11, 2, 1.2, 0.05 * 1.01]))


def test_compiling_waits_for_a_budget_that_pays_for_it():
    cfg = common.load_config(CONFIG).unet
    assert [unet.how_to_compile(s, True, cfg) for s in (100, 400, 1200)] == ["", "blocks", "whole"]
    assert unet.how_to_compile(1e6, False, cfg) == ""


def test_less_contrast_is_seen_less_than_noise_that_changes_pixels_as_much(monkeypatch):
    torch.manual_seed(0)
    kernels = torch.randn(8, 3, 3, 3)
    kernels -= kernels.mean((2, 3), keepdim=True)
    monkeypatch.setattr(features, "features", lambda x: {"one": torch.relu(torch.conv2d(x, kernels, stride=2))})
    x, noise = (torch.randn(1, 3, 32, 32).sign() for _ in range(2))
    y = (0.5 * x).requires_grad_(True)
    flat = features.perceptual(y, x)
    assert float(flat.detach()) < 1e-3 < 0.05 < float(features.perceptual(x + 0.5 * noise, x))
    features.perceptual(y + 0.5 * noise, x).backward()
    assert y.grad.abs().sum() > 0


def test_the_critic_learns_to_tell_and_the_decoder_is_told():
    torch.manual_seed(0)
    judge, z = critic.Critic(widths=(8, 8, 8)), torch.zeros(4, 4, 4, 4)
    optimizer = torch.optim.Adam(judge.parameters(), 0.02)
    real, weight = torch.rand(4, 3, 32, 32), torch.nn.Parameter(torch.zeros(1))
    for _ in range(30):
        optimizer.zero_grad()
        critic.critic_loss(judge, real, weight * real, z).backward()
        optimizer.step()
    assert critic.critic_loss(judge, real, weight * real, z) < 1
    before = [p.clone() for p in judge.parameters()]
    decoded = weight * real
    lie, error = critic.deceit(judge, real, decoded, z), (decoded - real).square().mean()
    factor = critic.balance(error, lie, weight)
    lengths = [float(torch.autograd.grad(v, weight, retain_graph=True)[0].norm()) for v in (error, factor * lie)]
    assert lengths[1] == pytest.approx(lengths[0], rel=1e-3)
    assert all(torch.equal(a, b) and b.requires_grad for a, b in zip(before, judge.parameters()))

"""What the measurements of the base and its captions rest on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tools.comfy.launcher import define_torchvision_operators

define_torchvision_operators()

from tools.base import common, critic, draw, judges, likeness, models, relearn_words, spread_words, train_unet  # noqa: E402
from tools.base.sampling import REPORT_GRID  # noqa: E402
from tools.base.tokenizer import CLIPTokenizer, encode  # noqa: E402


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_copy_is_nearer_than_any_two_sitters():
    rng = np.random.default_rng(0)
    sitters = unit(rng.standard_normal((40, 128)))
    copy = unit(sitters[3:4] + 0.02 * rng.standard_normal((1, 128)))
    stranger = unit(rng.standard_normal((1, 128)))
    found = likeness.copied(np.concatenate([copy, stranger]), sitters)
    assert found["share"] == 0.5 and found["nearest"] > 0.9 > found["limit"] > (stranger @ sitters.T).max()
    assert likeness.copied(sitters[:0], sitters)["share"] == 0


def test_a_base_that_remembers_its_sitters_is_told_from_one_that_draws_average_faces():
    rng = np.random.default_rng(0)

    def faces(count, spread):
        vectors = np.ones(32) + spread * rng.normal(size=(count, 32))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    seen, unseen = (
        likeness.Sitters(faces(count, 1.0), np.resize(["female", "male", "male"], count)) for count in (300, 60)
    )
    average = likeness.against_unseen(faces(200, 0.3), seen, unseen, draws=100)
    copies = likeness.against_unseen(seen.vectors[:200] + 0.03 * rng.normal(size=(200, 32)), seen, unseen, draws=100)
    for number in ("median", "nearest_99"):
        assert average[number]["seen_low"] <= average[number]["unseen"] <= average[number]["seen_high"]
    assert copies["nearest_99"]["seen_low"] > copies["nearest_99"]["unseen"] + 0.05


def test_samples_are_set_beside_other_people_with_every_group_counted_alike():
    rng = np.random.default_rng(0)
    groups, names = np.repeat(["female ink", "male ink"], (50, 450)), np.arange(500) // 2
    others = np.where(groups == "female ink", 0.8, 0.5) + 0.01 * rng.normal(size=500)
    alike = np.where(np.arange(200) % 2, 0.8, 0.5) + 0.01 * rng.normal(size=200)
    found = likeness.beside_others(alike, others, groups, names, limit=0.7)
    assert found["samples_share"] == 0.5
    assert found["others_share"] == pytest.approx(0.5)  # and not the 0.1 that women have in number
    assert found["others_low"] <= found["others_99"] <= found["others_high"]
    assert found["samples_99"] == pytest.approx(found["others_99"], abs=0.02)
    assert likeness.beside_others(alike + 0.1, others, groups, names, limit=0.7)["samples_99"] > found["others_high"]


def test_people_are_compared_with_all_sitters_but_themselves(monkeypatch):
    """Unseen people's media that repeat a sitter show as near ones; a sitter's own decoded photo does not."""
    rng = np.random.default_rng(0)
    faces = {}

    def pictures(vectors):
        shots = rng.integers(0, 256, (len(vectors), 32, 32, 3), dtype=np.uint8)
        faces.update({shot.tobytes(): vector for shot, vector in zip(shots, unit(vectors))})
        return shots

    def embeddings(shots):
        found = np.array([faces[shot.tobytes()][0] < 0.5 for shot in shots])
        return found, {"one": np.stack([faces[shot.tobytes()] for shot in shots])[found]}

    monkeypatch.setattr(likeness, "embeddings", embeddings)
    sitters = rng.standard_normal((40, 64))
    sitters[5] = np.eye(64)[0]  # no face is found in this one
    sexes = np.resize(["female", "male"], 40)
    media = likeness.Drawn(pictures(sitters[6:12]), np.arange(6), np.resize(["female ink", "male oil"], 6))
    result = likeness.figures(
        pictures(rng.standard_normal((20, 64))),
        np.arange(20) < 8,
        likeness.Photos(pictures(sitters), sexes),
        pictures(sitters + 0.01 * rng.standard_normal(sitters.shape)),
        likeness.Photos(pictures(rng.standard_normal((10, 64))), sexes[:10]),
        media,
    )
    beside = result["beside_others"]["one"]
    assert beside["photo"]["others_99"] < 0.6 and beside["media"]["others_99"] > 0.99


def test_spread_is_the_mean_square_distance_of_pairs():
    rows = np.random.default_rng(1).standard_normal((7, 5))
    pairs = [((a - b) ** 2).sum() for i, a in enumerate(rows) for b in rows[:i]]
    assert likeness.spread(rows) == pytest.approx(np.sqrt(np.mean(pairs)))
    assert likeness.spread(np.ones((4, 3))) == 0


def roughness(picture):
    """Mean differences to the right and below: enough to tell stripes from noise."""
    x = picture.astype(np.float32)
    return np.array([np.abs(np.diff(x, axis=axis)).mean() for axis in (0, 1)])


def test_the_linear_judge_tells_textures_apart_and_counts_classes_alike():
    """Two textures on random colours: learnt from few of one and many of the other, right on others."""
    rng = np.random.default_rng(2)
    stripes = np.tile((np.arange(192) // 4 % 2)[None, :, None], (192, 1, 3))
    pictures = np.stack(
        [
            np.clip(rng.integers(40, 160, 3) + 60 * (stripes if k % 2 else rng.random((192, 192, 1))), 0, 255)
            for k in range(24)
        ]
    ).astype(np.uint8)
    labels = np.arange(24) % 2
    few = [k for k in range(16) if labels[k] == 0 or k < 4]
    judge = judges.LinearJudge(("noise", "stripes"), roughness).fit(pictures[few], labels[few])
    assert (judge(pictures[16:]) == labels[16:]).all()


def test_the_report_asks_for_every_medium_and_both_sexes_evenly():
    assert len({w.medium for w in REPORT_GRID if w.medium not in (None, "photo")}) == len(judges.MEDIA) - 1
    assert sum(w.sex == "female" for w in REPORT_GRID) * 2 == len(REPORT_GRID)
    assert all((" woman" in w.text) == (w.sex == "female") for w in REPORT_GRID)


def test_a_stage_goes_on_where_it_was_killed(tmp_path):
    def stage():
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        ema, clock = common.Ema(model, 0.9), common.Clock(minutes=1)
        return model, optimizer, ema, clock, common.Checkpoint(tmp_path / "state.pt", model, optimizer, ema, clock)

    def steps(model, optimizer, ema, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
            ema.update(model)

    model, optimizer, ema, clock, checkpoint = stage()
    assert checkpoint.resume() == 0
    steps(model, optimizer, ema, 2)
    clock.spent = 12.5
    checkpoint.save(2)
    steps(model, optimizer, ema, 2)

    again, optimizer, its_ema, its_clock, checkpoint = stage()
    assert checkpoint.resume() == 2 and its_clock.spent == 12.5 and its_ema.count == 2
    steps(again, optimizer, its_ema, 2)
    assert torch.equal(again.weight, model.weight)
    assert torch.equal(its_ema.state["weight"], ema.state["weight"])


def test_batches_show_both_sexes_equally_often():
    records = (
        [{"kind": "photo", "gender": "male"}] * 9 + [{"kind": "photo", "gender": "female"}] + [{"kind": "art"}] * 5
    )
    cfg = SimpleNamespace(shares=SimpleNamespace(photo=0.6, art=0.4), caption_dropout=0.0)
    batches = train_unet.Batches.__new__(train_unet.Batches)
    batches.records, batches.cfg, batches.rng, batches.empty = records, cfg, np.random.default_rng(0), 0
    batches.rows = np.arange(len(records))[:, None].repeat(train_unet.VARIANTS, 1)
    batches.table = torch.arange(len(records))
    batches.use(torch.zeros(len(records), 4, 2, 2), np.arange(len(records)))
    drawn = batches.draw(3000)[1].numpy()
    shares = [np.mean(drawn < 9), np.mean(drawn == 9), np.mean(drawn > 9)]
    assert np.allclose(shares, [0.3, 0.3, 0.4], atol=0.04)


def test_named_media_have_shares_of_their_own():
    records = (
        [{"kind": "media", "medium": "oil", "gender": "male"}] * 2
        + [{"kind": "media", "medium": "ink", "gender": "male"}] * 8
        + [{"kind": "photo", "medium": "photo", "gender": "male"}] * 5
    )
    cfg = SimpleNamespace(shares=SimpleNamespace(photo=0.5, media=0.5), caption_dropout=0.0)
    batches = train_unet.Batches.__new__(train_unet.Batches)
    batches.records, batches.cfg, batches.rng, batches.empty = records, cfg, np.random.default_rng(0), 0
    batches.rows = np.arange(len(records))[:, None].repeat(train_unet.VARIANTS, 1)
    batches.table = torch.arange(len(records))
    batches.use(torch.zeros(len(records), 4, 2, 2), np.arange(len(records)), {"oil": 0.4})
    drawn = batches.draw(3000)[1].numpy()
    shares = [np.mean(drawn < 2), np.mean((drawn >= 2) & (drawn < 10)), np.mean(drawn >= 10)]
    assert np.allclose(shares, [0.4, 0.3, 0.3], atol=0.04)


def test_relearning_changes_the_rate_where_the_unet_reads_the_text_and_only_there():
    cfg = common.load_config(common.HERE / "config.json")
    unet = models.unet(cfg.unet, cfg.encoders.width, cfg.image_size // 8)
    rest, text = relearn_words.groups(unet, cfg.relearn)
    assert text["peak"] == cfg.relearn.text_lr > rest["peak"]
    assert {p.shape[1] for p in text["params"]} == {cfg.encoders.width}
    assert len(text["params"]) == 2 * sum(name.endswith("attn2.to_q.weight") for name, _ in unet.named_parameters())
    assert len(rest["params"]) + len(text["params"]) == len(list(unet.parameters()))
    assert set(cfg.relearn.media) <= set(judges.MEDIA) and cfg.relearn.share * len(cfg.relearn.media) < 1


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


def test_samples_of_another_base_or_setting_are_not_taken_for_this_ones(tmp_path):
    """A killed report goes on with the parts it has drawn: only with its own."""
    weights = tmp_path / "base" / "unet.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    config = common.load_config(Path(common.__file__).with_name("config.json"))
    args = SimpleNamespace(run=tmp_path, export=weights.parent, cfg=config)
    first = draw.part_files(args)
    assert len(set(first)) == len(first) > 1 and draw.part_files(args) == first
    args.cfg.sample.cfg += 1
    second = draw.part_files(args)
    weights.write_bytes(b"another")
    assert len({files[0].parent for files in (first, second, draw.part_files(args))}) == 3


def test_parts_of_a_smaller_report_serve_a_larger_one(tmp_path, monkeypatch):
    """A part once held only as many pictures as were asked for: later ones then stood under others' captions."""
    config = common.load_config(Path(common.__file__).with_name("config.json"))
    args = SimpleNamespace(run=tmp_path, export=tmp_path, cfg=config, workers=1)
    side = config.image_size

    def one_value_a_picture(models, bound, *rest):
        return np.arange(len(bound), dtype=np.uint8)[:, None, None, None].repeat(side, 1).repeat(side, 2).repeat(3, 3)

    monkeypatch.setattr(draw, "exported", lambda folder: dict.fromkeys(("vae", "unet", "text_encoder")))
    monkeypatch.setattr(draw.CLIPTokenizer, "from_pretrained", lambda folder: None)
    monkeypatch.setattr(draw, "contexts", lambda encoder, tokenizer, texts: torch.zeros(len(texts), 1, 1))
    monkeypatch.setattr(draw, "sample", one_value_a_picture)
    monkeypatch.setattr(draw, "decode", lambda vae, latents: latents)
    for count in (4, draw.PART + 4):
        monkeypatch.setattr(draw, "SAMPLES", count)
        drawn = draw.drawn(args)
        assert drawn[:, 0, 0, 0].tolist() == [k % draw.PART for k in range(count)]


def test_media_that_sound_alike_are_moved_apart_and_nothing_else_moves():
    """The UNet drew oil, mosaic, low poly and pointillism as one: the text encoder said them almost alike."""
    tokenizer = CLIPTokenizer.from_pretrained(Path(__file__).parents[2] / "base" / "tokenizer")
    torch.manual_seed(0)
    encoder = models.text_encoder(SimpleNamespace(width=32, layers=1, heads=2, intermediate=64), tokenizer).eval()
    rows = encoder.get_input_embeddings().weight
    word = {name: encode(tokenizer, [name])[0, 1] for name in ("oil", "mosaic", "ink")}
    with torch.no_grad():
        rows.normal_()
        rows[word["mosaic"]] = rows[word["oil"]] + 0.01 * torch.randn(32)
    before, plain = rows.detach().clone(), encode(tokenizer, ["an ink drawing of a woman"])
    said = encoder(plain).last_hidden_state.detach()
    nearest, after = spread_words.spread(encoder, tokenizer)
    assert nearest < 0.1 and after > 0.45
    moved = (rows.detach() != before).any(1).nonzero().flatten().tolist()
    assert moved == sorted(int(word[name]) for name in ("oil", "mosaic"))
    assert torch.equal(encoder(plain).last_hidden_state, said)
    moved = rows.detach().clone()
    spread_words.spread(encoder, tokenizer)
    assert torch.equal(rows, moved), "words that are apart stay"

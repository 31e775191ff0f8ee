"""Every reading of the method trains, keeps the base at strength 0, and survives its file."""

import dataclasses

import pytest
import torch

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.method.adapter import StyleAdapter
from acfun_core.method.applied import block_transforms
from acfun_core.method.cfun import CFun, channel_sigma
from acfun_core.options import default_of, options_of
from acfun_core.storage import adapter_file
from acfun_core.strengths import Strengths
from acfun_core.training.loop import train_adapter
from acfun_core.unet.injection import injected

TEXT = "a painting of a woman in S* style"
CHOICES = [
    {"abstract_mode": "sequence"},
    {"abstract_mode": "sequence_literal"},
    {"abstract_mode": "sequence", "image_tokens": "pooled"},
    {"image_tokens": "pooled"},
    {"learned_row": False},
    {"abstract_mode": "sequence", "learned_row": False},
    {"form": "low_rank", "rank": 4},
    {"form": "per_channel"},
    {"stats": "none"},
    {"stats": "mean"},
    {"stats": "mean_std"},
    {"form": "per_channel", "stats": "mean_std"},
    {"form": "low_rank", "stats": "none"},
    {"form": "per_channel", "stats": "none"},
    {"place": "output"},
    {"place": "norm"},
    {"place": "attention"},
    {"blocks": "none"},
    {"blocks": "encoder"},
    {"blocks": "all"},
    {"prompt": "pseudo_word"},
    {"layers": 1, "heads": 2, "head_width": 8, "dropout": 0.0},
]


def named(options):
    return "-".join(str(value) for value in options.values())


def train(base, latents, style_tokens, on_step=None, settings=None, **options):
    config = TrainConfig(**{"steps": 3, "learning_rate": 1e-3, "warmup_steps": 0, **(settings or {})})
    return train_adapter(base, latents, style_tokens, AdapterConfig(TEXT, **options), config, on_step)


@pytest.mark.parametrize("options", CHOICES, ids=named)
def test_trains_and_round_trips(base, latents, style_tokens, tmp_path, options):
    adapter = train(base, latents, style_tokens, **options)
    assert all(abs(after - before) > 1e-6 for before, after in zip(adapter.record.before, adapter.record.after))
    path = adapter_file.save(adapter, tmp_path / "one.safetensors")
    loaded = adapter_file.load(path)
    assert loaded.config == adapter.config and loaded.config.as_dict().items() >= options.items()
    for (key, ours), (other_key, theirs) in zip(adapter.state_dict().items(), loaded.state_dict().items()):
        assert key == other_key and torch.equal(ours, theirs), key
    assert torch.equal(loaded.context(base.text), adapter.context(base.text))


@pytest.mark.parametrize("options", CHOICES, ids=named)
def test_strength_zero_is_the_base_bit_for_bit(base, latents, style_tokens, options):
    adapter = train(base, latents, style_tokens, **options)
    off = Strengths(0.0, 0.0, 0.0)
    plain = base.text.encode(base.text.initial_row)
    assert torch.equal(adapter.context(base.text, 0.0), plain)
    assert not torch.equal(adapter.context(base.text, 1.0), plain)
    t = torch.tensor([400, 400])
    inputs = latents, t, plain.expand(2, -1, -1)
    expected = base.predict_noise(*inputs)
    with injected(base.sites, block_transforms([(adapter, off)])):
        assert torch.equal(base.predict_noise(*inputs), expected)
    if options.get("blocks") != "none":
        with injected(base.sites, block_transforms([(adapter, Strengths())])):
            assert not torch.equal(base.predict_noise(*inputs), expected)
    assert not any(
        module._forward_hooks for site in base.sites.values() for module in (site.module, *site.places.values())
    )


def test_every_option_of_version_2_is_tried():
    tried = {name for options in CHOICES for name in options} | {"compact"}
    assert {name for name, option in options_of(AdapterConfig).items() if option.since == 2} <= tried
    for name, option in options_of(AdapterConfig).items():
        if option.kind == "choice":
            values = {options[name] for options in CHOICES if name in options} | {default_of(AdapterConfig, name)}
            assert values >= set(option.choices) - {"decoder"}, name


def test_a_default_adapter_is_a_version_1_file():
    assert AdapterConfig(TEXT).format_version == 1
    assert set(AdapterConfig(TEXT).as_dict()) == {"description", "layers", "heads", "head_width", "dropout", "blocks"}
    assert AdapterConfig(TEXT, place="norm").format_version == 2
    assert AdapterConfig(TEXT, place="norm").as_dict()["stats"] == "std"


def test_training_starts_at_the_initial_word(base, latents, style_tokens):
    """Before the first step, token and sequence condition the UNet exactly as the plain description does."""
    plain = base.text.encode(base.text.initial_row)
    for mode in ("token", "sequence"):
        config = AdapterConfig(TEXT, abstract_mode=mode)
        adapter = adapter_of(base, style_tokens, config).eval()
        assert torch.equal(adapter.condition(base.text), plain)


def adapter_of(base, style_tokens, config):
    return StyleAdapter(config, base.text.initial_row, style_tokens, {"enc.0.0": 32})


def test_without_a_learned_row_the_row_stays(base, latents, style_tokens):
    adapter = train(base, latents, style_tokens, learned_row=False)
    assert torch.equal(adapter.afun.row, base.text.initial_row)
    assert not torch.equal(adapter.row(), base.text.initial_row)
    learned = train(base, latents, style_tokens)
    assert not torch.equal(learned.afun.row, base.text.initial_row)


def test_sequences_are_longer_than_a_token(base, latents, style_tokens):
    adapter = train(base, latents, style_tokens, abstract_mode="sequence")
    assert adapter.context(base.text).shape == base.text.encode(base.text.initial_row).shape
    with pytest.raises(ACFunError, match="abstract_mode sequence"):
        adapter.fuse(base.text)


def test_pooled_keeps_the_class_token_alone(base, latents, style_tokens):
    adapter = train(base, latents, style_tokens, image_tokens="pooled")
    torch.testing.assert_close(adapter.style_tokens, style_tokens[:1], atol=1e-2, rtol=1e-2)
    with pytest.raises(ACFunError, match="softmax"):
        AdapterConfig(TEXT, abstract_mode="sequence_literal", image_tokens="pooled")


def test_places_are_where_they_say(base, unet, latents, style_tokens):
    """A change by the factor 2 at each place, against the same change made by hand inside diffusers' own block."""
    block = unet.down_blocks[0].resnets[0]
    sites = base.sites["enc.0.0"]
    assert sites.at("residual") is block.conv2 and sites.at("output") is block and sites.at("norm") is block.norm2
    assert sites.at("attention") is unet.down_blocks[0].attentions[0]
    assert base.sites["mid.0"].has("attention") and not base.sites["mid.1"].has("attention")
    assert not base.sites["enc.1.0"].has("attention")
    t, context = torch.tensor([5, 5]), torch.zeros(2, 3, 32)
    seen = {}
    for place in ("residual", "output", "norm", "attention"):
        key = "enc.0.0" if place == "residual" else f"enc.0.0@{place}"
        with injected(base.sites, {key: lambda h: 2 * h}):
            seen[place] = unet(latents, t, context).sample
    pictures = [unet(latents, t, context).sample, *seen.values()]
    assert all(not torch.allclose(a, b) for i, a in enumerate(pictures) for b in pictures[:i])


def test_attention_skips_blocks_without_attention(base, latents, style_tokens):
    adapter = train(base, latents, style_tokens, place="attention", blocks="all")
    assert adapter.cfun.names() == ["enc.0.0", "mid.0", "dec.0.0", "dec.0.1"]


@pytest.mark.parametrize("stats", ["none", "std", "mean", "mean_std"])
@pytest.mark.parametrize("form", ["full", "low_rank", "per_channel"])
@pytest.mark.parametrize("channels", [64, 1280])
def test_every_form_moves_every_width_alike(form, stats, channels):
    """Ten optimizer steps at 1e-4 toward twice the features: a change, no blow-up, whatever form and width."""
    generator = torch.Generator().manual_seed(0)
    h = (torch.rand(1, channels, 1, 1, generator=generator) + 0.1) * torch.randn(2, channels, 6, 6, generator=generator)
    torch.manual_seed(0)
    cfun = CFun(channels, form, stats)
    assert torch.equal(cfun(h), h)
    optimizer = torch.optim.AdamW(cfun.parameters(), lr=1e-4)
    errors = []
    for _ in range(10):
        optimizer.zero_grad()
        error = (cfun(h) - 2 * h).square().mean() / h.square().mean()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.95 * errors[0] and max(errors) < 1.5 * errors[0], errors


@pytest.mark.parametrize("stats", ["mean", "mean_std"])
def test_the_mean_steers_where_it_is_asked_to(stats):
    generator = torch.Generator().manual_seed(1)
    h = torch.randn(1, 32, 6, 6, generator=generator)
    offset = torch.linspace(-3, 3, 32)[None, :, None, None]

    def gamma(kind, features):
        cfun = CFun(32, stats=kind)
        torch.nn.init.constant_(cfun.gamma.weight, 0.0)
        cfun.gamma.weight.data[:, -1] = 1.0
        return cfun.gamma(cfun.steer(features, channel_sigma(features)))

    assert torch.allclose(gamma("std", h), gamma("std", h + offset), atol=1e-4)
    assert not torch.allclose(gamma(stats, h), gamma(stats, h + offset), atol=1e-2)


@pytest.mark.parametrize(
    "options",
    [
        {"abstract_mode": "words"},
        {"image_tokens": "all"},
        {"learned_row": 1},
        {"form": "half"},
        {"rank": 0},
        {"rank": 2.5},
        {"stats": "median"},
        {"place": "input"},
        {"prompt": "poem"},
        {"compact": True, "abstract_mode": "sequence"},
    ],
    ids=named,
)
def test_bad_options_are_named(options):
    with pytest.raises(ACFunError, match="Expected:.*To fix it:"):
        AdapterConfig(TEXT, **options)


def test_the_pseudo_word_is_the_whole_text():
    assert AdapterConfig(TEXT).training_text == TEXT
    assert AdapterConfig(TEXT, prompt="pseudo_word").training_text == "S*"


def test_declarations_are_complete():
    """Every field of every config explains itself, and its default is allowed."""
    for config in (AdapterConfig, TrainConfig, Strengths):
        for field in dataclasses.fields(config):
            if field.name == "mask":
                continue
            option = field.metadata["option"]
            assert option.doc.endswith(".") and len(option.doc) > 20, field.name
            assert field.default is dataclasses.MISSING or option.allows(field.default), field.name

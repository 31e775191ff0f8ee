"""A style that is learned from several pictures, and S* that starts from an embedding."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.images import check_styles
from acfun_core.method.adapter import StyleAdapter
from acfun_core.storage import adapter_file
from acfun_core.storage.embedding_file import read_row
from acfun_core.storage.export import save_embedding
from acfun_core.training.alignment_loss import measure_adapter
from acfun_core.training.copy_guard import CopyGuard, largest_explained
from acfun_core.training.key import given_pictures
from acfun_core.training.loop import train_adapter
from acfun_core.training.material import Material, check_start, encode_material, style_mask_of

from .conftest import IMAGE_WIDTH, TEXT_WIDTH

DESCRIPTION = "a painting of a woman in S* style"
SHORT = TrainConfig(steps=3, learning_rate=1e-2, warmup_steps=0)


@pytest.fixture
def styles() -> torch.Tensor:
    return torch.rand(3, 64, 64, 3, generator=torch.Generator().manual_seed(5))


def encode(pictures: torch.Tensor) -> torch.Tensor:
    """Four numbers of each eighth."""
    small = torch.nn.functional.avg_pool2d(pictures.movedim(-1, 1), 8)
    return torch.cat([small, small.mean(dim=1, keepdim=True)], dim=1)


def tokens_of(count: int) -> torch.Tensor:
    return torch.randn(count, 16, IMAGE_WIDTH, generator=torch.Generator().manual_seed(3))


def test_each_step_learns_one_of_them(styles):
    material = encode_material(encode, styles, SHORT, 64)
    pair, generator = torch.zeros(2, 4, 8, 8), torch.Generator().manual_seed(0)
    seen = [material.step(pair, generator)[0][0] for _ in range(30)]
    each = encode(styles)
    assert {next(k for k, one in enumerate(each) if torch.equal(one, found)) for found in seen} == {0, 1, 2}
    assert torch.equal(material.styles, each) and torch.equal(material.pictures(pair), torch.cat([each, pair[1:]]))


def test_they_share_the_variants_and_each_has_its_mask(styles):
    config = TrainConfig(style_flip=True, style_variants=9)
    masks = torch.stack([torch.full((64, 64), value) for value in (0.25, 0.5, 1.0)])
    material = encode_material(encode, styles, config, 64, masks)
    assert material.style_variants.shape == (9, 4, 8, 8) and material.style_masks.shape == (9, 1, 8, 8)
    assert [round(float(mask.mean()), 2) for mask in material.style_masks[::3]] == [0.25, 0.5, 1.0]
    assert torch.equal(material.styles, material.style_variants[::3])


def test_one_picture_is_what_it_was(styles):
    assert encode_material(encode, styles[:1], SHORT, 64) == Material()


def test_the_guard_and_the_losses_look_at_all_of_them(base, style_tokens):
    """A copy of the second picture was none to a guard that knew the first alone."""
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert largest_explained(latents[1:2], latents) == pytest.approx(1.0)
    assert largest_explained(latents[1:2], latents[[0, 3]]) < 0.2
    guard = CopyGuard(base, latents, SHORT)
    adapter = StyleAdapter(AdapterConfig(DESCRIPTION), base.text.initial_row, style_tokens, {})
    assert guard.look(adapter, 1).copy < 0.5
    alone = torch.tensor([measure_adapter(base, adapter, latents[[k, 3]], 3) for k in range(3)])
    assert measure_adapter(base, adapter, latents, 9) == pytest.approx(alone.mean(dim=0).tolist())


@pytest.mark.usefixtures("users_noises")
@pytest.mark.parametrize("image_tokens", ["patches", "pooled"])
def test_afun_reads_the_tokens_of_all(base, latents, styles, image_tokens, tmp_path):
    """Pooled, it is the mean of their class tokens, in place of that of the first."""
    kind = AdapterConfig(DESCRIPTION, image_tokens=image_tokens)
    given = encode_material(encode, styles, SHORT, 64)
    adapter = train_adapter(base, latents, tokens_of(3), kind, SHORT, material=given)
    wanted = tokens_of(3)[:, :1].mean(dim=0) if image_tokens == "pooled" else tokens_of(3).flatten(0, 1)
    assert torch.equal(adapter.style_tokens, wanted.half().float())
    loaded = adapter_file.load(adapter_file.save(adapter, tmp_path / "several.safetensors"))
    assert torch.equal(loaded.row(), adapter.row()) and torch.equal(loaded.style_tokens, adapter.style_tokens)
    assert all(after < before for before, after in zip(adapter.record.before, adapter.record.after))


def test_pictures_of_other_sizes_need_no_mask(styles):
    pair = [styles[:1], styles[1:2, :48]]
    assert encode_material(encode, pair, SHORT, 64).styles.shape == (2, 4, 8, 8)
    assert style_mask_of(None, pair) is None
    with pytest.raises(ACFunError, match="2 different sizes, and there is a style mask"):
        style_mask_of(torch.ones(64, 64), pair)


def test_too_many_and_flat_ones_are_named(styles):
    assert torch.equal(check_styles(styles, "style image"), styles)
    with pytest.raises(ACFunError, match="batch of 9 pictures.*up to 8"):
        check_styles(styles.repeat(3, 1, 1, 1), "style image")
    flat = torch.cat([styles[:1], torch.full_like(styles[:1], 0.5)])
    with pytest.raises(ACFunError, match="style image 2 of 2 has one colour"):
        check_styles(flat, "style image")


def test_more_pictures_are_another_training(styles):
    face = styles[:1]
    assert set(given_pictures(styles, face, None, None, None)) == {
        *("style", "face", "style_mask", "face_mask", "style_2", "style_3"),
    }
    assert set(given_pictures(face, face, None, None, None)) == {"style", "face", "style_mask", "face_mask"}


# -- an embedding as the start ---------------------------------------------------------------


def test_s_star_starts_from_a_row_and_strength_zero_stays_the_word(base, latents, style_tokens):
    row = torch.linspace(-0.1, 0.1, TEXT_WIDTH)
    gentle = TrainConfig(steps=1, learning_rate=1e-9, warmup_steps=0)
    adapter = train_adapter(
        *(base, latents, style_tokens, AdapterConfig(DESCRIPTION, dropout=0.0), gentle),
        material=Material(start_row=row),
    )
    torch.testing.assert_close(adapter.row(), row, atol=1e-4, rtol=0)
    assert torch.equal(adapter.row(0.0), base.text.initial_row)


def test_an_exported_embedding_comes_back(base, latents, style_tokens, tmp_path):
    adapter = train_adapter(base, latents, style_tokens, AdapterConfig(DESCRIPTION), SHORT)
    assert torch.equal(read_row(save_embedding(adapter, tmp_path / "one.safetensors")), adapter.row())


@pytest.mark.parametrize(
    ("tensors", "wanted"),
    [
        ({"emb_params": torch.ones(1, 768)}, (768,)),
        ({"<style>": torch.ones(1024).half()}, (1024,)),
        ({"clip_g": torch.ones(1, 1280), "clip_l": torch.zeros(1, 768)}, (2048,)),
    ],
    ids=["sd1", "diffusers", "sdxl"],
)
def test_files_of_others_are_read(tensors, wanted, tmp_path):
    save_file(tensors, tmp_path / "word.safetensors")
    row = read_row(tmp_path / "word.safetensors")
    assert row.shape == wanted and row.dtype == torch.float32
    if wanted == (2048,):
        assert not row[:768].any() and row[768:].all()


def test_several_vectors_become_their_mean_and_the_log_says_so(tmp_path, caplog):
    save_file({"emb_params": torch.tensor([[0.0, 2.0], [4.0, 4.0]])}, tmp_path / "long.safetensors")
    assert read_row(tmp_path / "long.safetensors").tolist() == [2.0, 3.0]
    assert "has 2 vectors; S* starts from their mean" in caplog.text


@pytest.mark.parametrize(
    ("name", "tensors", "says"),
    [
        ("old.pt", {"x": torch.ones(1, 4)}, "pickled"),
        ("lora.safetensors", {"a": torch.ones(4, 4), "b": torch.ones(4)}, "is no textual-inversion embedding"),
        ("deep.safetensors", {"a": torch.ones(4, 4, 4)}, "is no textual-inversion embedding"),
        ("whole.safetensors", {"a": torch.ones(49_408, 8)}, "is no textual-inversion embedding"),
        ("count.safetensors", {"a": torch.ones(1, 4, dtype=torch.int64)}, "is no textual-inversion embedding"),
        ("broken.safetensors", {"a": torch.full((1, 4), torch.nan)}, "not numbers"),
        ("empty.safetensors", {}, "holds nothing"),
    ],
)
def test_other_files_are_named(name, tensors, says, tmp_path):
    save_file(tensors, tmp_path / name)
    with pytest.raises(ACFunError, match=says):
        read_row(tmp_path / name)


def test_an_embedding_of_another_base_is_named():
    with pytest.raises(ACFunError, match="is 768 wide, those of this base are 1024 wide"):
        check_start(torch.ones(768), AdapterConfig(DESCRIPTION), 1024)
    with pytest.raises(ACFunError, match="learned_row is off"):
        check_start(torch.ones(768), AdapterConfig(DESCRIPTION, learned_row=False), 768)

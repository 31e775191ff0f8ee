"""Pictures and masks in forms that were taken for something else, silently: 16 bits, floats, opacity, other ranges, empty."""

from __future__ import annotations

import logging
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from acfun_core.backends.pictures import read_picture
from acfun_core.errors import ACFunError
from acfun_core.images import check_batch, check_image
from acfun_core.masks import check_mask_of, check_masks, check_not_empty, notice_of_empty
from acfun_core.strengths import Strengths

RAMP = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)


def saved(tmp_path, array, name="picture.png"):
    Image.fromarray(array).save(tmp_path / name)
    return tmp_path / name


def test_16_bit_grey_came_out_almost_white(tmp_path):
    found = read_picture(saved(tmp_path, (65535 * RAMP).astype(np.uint16)), "picture")
    np.testing.assert_allclose(found[0, :, :, 1].numpy(), RAMP, atol=1e-4)


@pytest.mark.parametrize("scale", [1, 255, 65535])
def test_float_tiffs_came_out_black(tmp_path, scale):
    found = read_picture(saved(tmp_path, scale * RAMP, "picture.tiff"), "picture")
    np.testing.assert_allclose(found[0, :, :, 1].numpy(), RAMP, atol=1e-4)


@pytest.mark.parametrize("values", [3 * RAMP, 1e6 * RAMP, 2 * RAMP - 1, np.where(RAMP > 0.5, np.nan, RAMP)])
def test_floats_on_no_scale_are_refused(tmp_path, values):
    with pytest.raises(ACFunError, match="holds values"):
        read_picture(saved(tmp_path, values.astype(np.float32), "picture.tiff"), "picture")


COLOURS = np.stack([RAMP, RAMP**2, 1 - RAMP], -1)


def with_16_bits(values):
    return (65535 * values).round().astype(np.uint16)


@pytest.mark.parametrize("name", ["colours.png", "colours.tiff", "with_alpha.png"])
def test_16_bit_colours_lost_half_their_bits_without_a_word(tmp_path, name, caplog):
    cv2 = pytest.importorskip("cv2")
    order = [2, 1, 0, 3] if name == "with_alpha.png" else [2, 1, 0]
    values = np.concatenate([COLOURS, np.ones((64, 64, 1))], -1)
    cv2.imwrite(str(tmp_path / name), with_16_bits(values)[..., order])
    found = read_picture(tmp_path / name, "style picture")
    np.testing.assert_allclose(found[0].numpy(), COLOURS, atol=1 / 255)
    assert caplog.text.count("style picture has 16 bits a channel; of colours the upper 8 are used") == 1
    caplog.clear()
    read_picture(saved(tmp_path, (255 * COLOURS).astype(np.uint8)), "style picture")
    assert not caplog.text


@pytest.mark.parametrize("order", "<>")
def test_16_bit_channels_one_after_the_other_came_out_as_noise(tmp_path, order):
    tifffile, path = pytest.importorskip("tifffile"), tmp_path / "picture.tiff"
    settings = {"photometric": "rgb", "planarconfig": "separate", "byteorder": order}
    tifffile.imwrite(path, with_16_bits(COLOURS).transpose(2, 0, 1), **settings)
    with pytest.raises(ACFunError, match="one channel after the other.*cannot be read.*PNG"):
        read_picture(path, "style picture")
    tifffile.imwrite(path, (255 * COLOURS).astype(np.uint8).transpose(2, 0, 1), **settings)
    np.testing.assert_allclose(read_picture(path, "picture")[0].numpy(), COLOURS, atol=1 / 255)


@pytest.mark.parametrize("values", [(65535 * RAMP).astype(np.uint16), RAMP, (255 * RAMP).astype(np.uint8)])
def test_pictures_whose_0_is_white_came_out_as_negatives(tmp_path, values):
    tifffile, path = pytest.importorskip("tifffile"), tmp_path / "picture.tiff"
    tifffile.imwrite(path, values, photometric="miniswhite")
    np.testing.assert_allclose(read_picture(path, "picture")[0, :, :, 0].numpy(), 1 - RAMP, atol=1 / 255)


def test_signed_numbers_came_out_at_half_their_brightness(tmp_path):
    tifffile, path = pytest.importorskip("tifffile"), tmp_path / "picture.tiff"
    tifffile.imwrite(path, (32767 * RAMP).astype(np.int16), photometric="minisblack")
    with pytest.raises(ACFunError, match="signed numbers"):
        read_picture(path, "picture")


def test_12_bits_stored_as_16_came_out_almost_black_without_a_word(tmp_path, caplog):
    read_picture(saved(tmp_path, (4095 * RAMP).astype(np.uint16)), "face photo")
    assert "face photo is very dark: its lightest value is 4095 of 65535" in caplog.text


def test_a_transparent_grey_or_colour_of_16_bits_was_trained(tmp_path):
    """PNG names one value that stands for nothing, in as many bits as the picture has."""
    cv2 = pytest.importorskip("cv2")
    values = with_16_bits(RAMP)
    values[:32] = 300
    path = tmp_path / "picture.png"
    Image.fromarray(values).save(path, transparency=300)
    assert (read_picture(path, "picture")[0, :32] == 1).all()
    cv2.imwrite(str(path), np.stack([values] * 3, -1))
    chunk = b"tRNS" + struct.pack(">HHH", 300, 300, 300)
    whole, start = path.read_bytes(), path.read_bytes().index(b"IDAT") - 4
    path.write_bytes(
        whole[:start] + struct.pack(">I", 6) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[start:]
    )
    assert (read_picture(path, "picture")[0, :32] == 1).all()


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P"])
def test_colours_hidden_under_alpha_were_trained(tmp_path, kind, caplog):
    """Black under full transparency is white now, half of it grey, and the log says so."""
    alpha = np.repeat(np.array([0, 128, 255], np.uint8), 16)[None].repeat(48, 0)
    grey = np.zeros((48, 48), np.uint8)
    layers = [grey, alpha] if kind == "LA" else [grey, grey, grey, alpha]
    picture = Image.fromarray(np.stack(layers, -1), "LA" if kind == "LA" else "RGBA")
    if kind == "P":
        picture = picture.quantize(8)
    picture.save(tmp_path / "picture.png")
    with caplog.at_level(logging.WARNING):
        found = read_picture(tmp_path / "picture.png", "face photo")
    assert found[0, 4, [4, 24, 44], 0].tolist() == pytest.approx([1.0, 127 / 255, 0.0], abs=0.02)
    assert "face photo is partly transparent; it is laid over white" in caplog.text


def test_tensors_with_opacity_are_laid_over_white(caplog):
    image = torch.rand(2, 16, 16, 4)
    image[..., 3] = 1
    assert torch.equal(check_batch(image, "picture"), image[..., :3]) and not caplog.text
    image[1, :8, :, 3] = 0
    assert (check_batch(image, "picture")[1, :8] == 1).all() and caplog.text.count("over white") == 1


@pytest.mark.parametrize("factors", [(255, 0), (600, -300), (1, -0.5), (1.2, 0)])
def test_ranges_that_are_not_0_to_1_were_clamped(factors):
    scale, shift = factors
    image = scale * torch.linspace(0, 1, 16 * 16 * 3).reshape(1, 16, 16, 3) + shift
    with pytest.raises(ACFunError, match="style image holds values from .*0 to 1"):
        check_image(image, "style image")


def test_what_resampling_adds_is_cut():
    image = torch.linspace(-0.04, 1.04, 16 * 16 * 3).reshape(1, 16, 16, 3)
    found = check_image(image, "style image")
    assert found.min() == 0 and found.max() == 1


def test_pictures_of_one_colour_were_trained():
    flat = torch.full((1, 32, 32, 3), 0.4)
    with pytest.raises(ACFunError, match="style image has one colour"):
        check_image(flat, "style image", contrast=True)
    assert torch.equal(check_image(flat, "frame"), flat), "a black frame of a video is none to learn from"


def test_a_damaged_picture_is_named(tmp_path):
    path = saved(tmp_path, (255 * RAMP).astype(np.uint8))
    whole = path.read_bytes()
    for cut in (20, 60, len(whole) // 2):
        path.write_bytes(whole[:cut] + b"\0" * 40)
        with pytest.raises(ACFunError, match="face photo .* cannot be read"):
            read_picture(path, "face photo")


@pytest.mark.parametrize("shape", [(8, 6), (1, 8, 6), (3, 8, 6), (3, 1, 8, 6), (3, 8, 6, 1)])
def test_masks_of_every_rank_are_one_kind(shape):
    mask = torch.rand(shape)
    found = check_masks(mask, "mask")
    assert found.shape == (shape[0] if len(shape) > 2 else 1, 8, 6)
    assert torch.equal(found.flatten(), mask.flatten())


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (torch.rand(5), "shape"),
        (torch.rand(1, 1, 1, 8, 8), "shape"),
        (torch.rand(1, 8, 8, 3), "shape"),
        (torch.rand(0, 8, 8), "shape"),
        (None, "shape"),
        (torch.full((1, 8, 8), torch.nan), "not numbers"),
        (255 * torch.ones(1, 8, 8), "divide by 255"),
        (-torch.ones(1, 8, 8), "from -1"),
        (torch.rand(2, 8, 8), "batch of 2 for 3 pictures"),
    ],
)
def test_masks_that_cannot_be_used_are_named_before_any_work(mask, says):
    with pytest.raises(ACFunError, match=says):
        check_masks(mask, "style mask", count=3)


def test_an_empty_mask_said_nothing():
    empty, some = torch.zeros(1, 64, 64), torch.eye(64)[None]
    with pytest.raises(ACFunError, match="mask is empty.*no face would be put back.*Load Image gives an empty 64 x 64"):
        check_not_empty(empty, "mask", "no face would be put back")
    assert "the adapters change nothing" in notice_of_empty(empty, "mask", "the adapters change nothing")
    check_not_empty(some, "mask", "")
    assert notice_of_empty(some, "mask", "") is None


def test_the_strengths_take_masks_of_every_rank():
    for shape in ((8, 6), (1, 8, 6), (1, 1, 8, 6), (1, 8, 6, 1)):
        assert Strengths(mask=torch.rand(shape)).mask.shape == (1, 1, 8, 6)


def test_a_mask_of_nan_failed_after_the_pictures_were_encoded():
    """And then blamed the learning rate."""
    picture = torch.rand(1, 16, 24, 3)
    assert check_mask_of(None, picture, "face") is None
    assert torch.equal(check_mask_of(torch.ones(16, 24), picture, "face"), torch.ones(1, 16, 24))
    for mask, says in (
        (torch.full((1, 16, 24), torch.nan), "not numbers"),
        (torch.zeros(1, 16, 24), "empty.*nothing would be learned from the face image"),
        (torch.ones(2, 16, 24), "batch of 2"),
        (torch.zeros(1, 64, 64), "face mask has shape .*64"),
    ):
        with pytest.raises(ACFunError, match=says):
            check_mask_of(mask, picture, "face")

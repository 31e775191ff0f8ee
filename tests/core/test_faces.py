"""Faces are cut out upright at the agreed place and come back where they were."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from acfun_core.errors import ACFunError
from acfun_core.faces import crop as faces
from acfun_core.faces.landmarks import Similarity
from acfun_core.images import check_batch, square


def photo(height=300, width=400, seed=0, batch=1) -> torch.Tensor:
    """Smooth random colours, detailed as a photo is: (batch, height, width, 3)."""
    generator = torch.Generator().manual_seed(seed)
    octaves = []
    for cells, weight in ((4, 0.5), (12, 0.3), (40, 0.15)):
        noise = torch.rand(batch, 3, cells, cells, generator=generator)
        octaves.append(weight * F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False))
    return sum(octaves).clamp(0, 1).movedim(1, -1)


def face_at(x: float, y: float, eye_distance: float, degrees: float = 0.0) -> torch.Tensor:
    """Landmarks (1, 5, 2) of the mean face around a point between the eyes, turned by an angle."""
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (torch.tensor([x, y]) + eye_distance * torch.tensor(faces.MEAN_FACE) @ turn.T)[None]


def psnr(one: torch.Tensor, two: torch.Tensor, weight: torch.Tensor) -> float:
    error = ((one - two).square().mean(dim=-1) * weight).sum() / weight.sum()
    return -10 * math.log10(max(error.item(), 1e-12))


@pytest.mark.parametrize("degrees", [0.0, 20.0, -35.0, 90.0])
def test_the_eyes_land_at_their_places(degrees):
    """A picture that is dark at the eyes only: in the crop, the dark spots are where the base has its eyes."""
    landmarks = face_at(210, 140, 50, degrees)
    rows, columns = torch.meshgrid(torch.arange(300) + 0.5, torch.arange(400) + 0.5, indexing="ij")
    image = torch.ones(300, 400)
    for x, y in landmarks[0, :2]:
        image = image - torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)
    crop, _, _ = faces.crop_faces(image[None, :, :, None].expand(-1, -1, -1, 3), landmarks, side=200)
    dark = 1 - crop[0, :, :, 0]
    rows, columns = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(200) + 0.5, indexing="ij")
    for half, sign in ((columns < 100, -1), (columns >= 100, 1)):
        mass = (dark * half).sum()
        x, y = (dark * half * columns).sum() / mass, (dark * half * rows).sum() / mass
        assert x.item() == pytest.approx(200 * (faces.EYE_CENTRE[0] + sign * faces.EYE_DISTANCE / 2), abs=0.3)
        assert y.item() == pytest.approx(200 * faces.EYE_CENTRE[1], abs=0.3)


@pytest.mark.parametrize(("side", "at_least"), [(256, 34.0), (512, 38.0)])
@pytest.mark.parametrize("degrees", [0.0, 17.0])
def test_an_unchanged_face_gives_the_picture_back(side, at_least, degrees):
    image = photo()
    crop, _, where = faces.crop_faces(image, face_at(200, 130, 45, degrees), side)
    back, weight = faces.paste_faces(image, crop, where, feather=0.1)
    found = psnr(back, image, weight)
    assert found > at_least, f"{found:.1f} dB"
    assert torch.equal(back[0][weight[0] == 0], image[0][weight[0] == 0])


def test_whole_pixels_come_back_exactly():
    """Level eyes and a side that is the frame's own: nothing is interpolated."""
    image = photo()
    landmarks = face_at(200, 150, 44)  # 44 pixels are 0.22 of 200
    # The frame's corner lies on whole pixels: 200 - 0.5 * 200 and 150 - 0.43 * 200.
    crop, mask, where = faces.crop_faces(image, landmarks, 200)
    torch.testing.assert_close(crop, image[:, 64:264, 100:300], atol=2e-4, rtol=0)
    assert mask.min() == 1
    back, _ = faces.paste_faces(image, crop, where)
    torch.testing.assert_close(back, image, atol=4e-4, rtol=0)


def test_the_seam_is_soft_and_only_the_face_changes():
    image = photo()
    _, _, where = faces.crop_faces(image, face_at(200, 150, 44), 200)
    white = torch.ones(1, 64, 64, 3)
    pasted, weight = faces.paste_faces(image, white, where, feather=0.2)
    assert weight[0, 164, 200] == 1 and torch.equal(pasted[0, 164, 200], torch.ones(3))
    assert weight[0, 0, 0] == 0 and weight[0, 290, 200] == 0
    assert (weight[0, 164, 100:300].diff().abs() < 0.05).all(), "no step across the seam"
    hard = faces.paste_faces(image, white, where, feather=0.0)[1]
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert hard.sum().item() == pytest.approx(200 * 200, rel=0.02)


def test_a_mask_in_the_crop_limits_what_is_pasted():
    image = photo()
    _, _, where = faces.crop_faces(image, face_at(200, 150, 44), 200)
    left_half = torch.zeros(1, 100, 100)
    left_half[:, :, :50] = 1
    pasted, weight = faces.paste_faces(image, torch.ones(1, 50, 50, 3), where, 0.05, left_half)
    assert weight[0, 164, 150] == 1 and weight[0, 164, 250] == 0
    assert torch.equal(pasted[0, :, 210:], image[0, :, 210:])


def test_a_moved_face_is_laid_on_the_eyes():
    """The portrait's eyes are elsewhere and tilted; with its landmarks it meets the photo's eyes again."""
    image, landmarks = photo(), face_at(200, 140, 45, 8)
    crop, _, where = faces.crop_faces(image, landmarks, 256)
    portrait_landmarks = face_at(120, 150, 70, -12)
    frame = faces.frame_of(portrait_landmarks[0])
    # The portrait shows the crop at its own place: from its pixels to the unit square to the crop's pixels.
    to_unit = faces.inverse(frame)
    to_crop = Similarity(to_unit.matrix * 256, to_unit.shift * 256)
    portrait, valid = faces.warp(crop, to_crop, 330, 280)
    assert 0 < valid.float().mean() < 1
    back, weight = faces.paste_faces(image, portrait, where, 0.1, face_landmarks=portrait_landmarks)
    assert psnr(back, image, weight) > 34
    blind, blind_weight = faces.paste_faces(image, portrait[:, :280], where, 0.1)
    assert psnr(blind, image, blind_weight) < 28


def test_beyond_the_border_the_mask_is_empty():
    image = photo()
    crop, mask, _ = faces.crop_faces(image, face_at(20, 20, 44), 200)
    assert 0.2 < mask.mean() < 0.5
    assert torch.isfinite(crop).all() and crop.min() >= 0 and crop.max() <= 1


def test_batches_give_what_single_pictures_give():
    images = photo(batch=3)
    landmarks = torch.cat([face_at(150, 120, 40), face_at(200, 140, 50, 10), face_at(220, 150, 44, -5)])
    crops, masks, where = faces.crop_faces(images, landmarks, 128)
    pasted, weights = faces.paste_faces(images, 1 - crops, where)
    for at in range(3):
        crop, mask, frame = faces.crop_faces(images[at : at + 1], landmarks[at : at + 1], 128)
        assert torch.equal(crop[0], crops[at]) and torch.equal(mask[0], masks[at])
        single, weight = faces.paste_faces(images[at : at + 1], 1 - crop, frame)
        assert torch.equal(single[0], pasted[at]) and torch.equal(weight[0], weights[at])
    several, _ = faces.paste_faces(images[:1], 1 - crops, faces.FaceCrop(where.frames[:1], where.eye_distance))
    assert several.shape == (3, 300, 400, 3), "one photo takes several portraits, each on its own copy"
    assert torch.equal(several[0], pasted[0])


def test_without_a_face_the_middle_square_is_cut():
    for height, width in ((300, 400), (500, 320)):
        image = photo(height, width)
        landmarks = faces.landmarks_of_middle_square(height, width)[None]
        crop, mask, _ = faces.crop_faces(image, landmarks, 160)
        assert mask.min() == 1
        assert (crop - square(image, 160)).abs().mean() < 0.01


def test_boxes_and_landmarks_belong_together():
    box = (120.0, 60.0, 90.0, 116.0)
    landmarks = faces.landmarks_in_box(box)
    assert faces.box_around(landmarks) == pytest.approx(box, abs=0.01)
    mask = torch.zeros(200, 300)
    mask[40:90, 70:130] = 1
    assert faces.box_of_mask(mask) == (70, 40, 60, 50)
    assert faces.box_of_mask(torch.zeros(9, 9)) is None


def test_unaligned_crops_only_shift_and_scale():
    frame = faces.frame_of(face_at(200, 140, 50, 30)[0], upright=False)
    assert frame.matrix[0, 1].abs() < 1e-3 and frame.matrix[0, 0].item() == pytest.approx(50 / 0.22, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: faces.landmarks_in_box((0, 0, 0, 10)), "0 x 10 pixels"),
        (lambda: faces.crop_faces(photo(), face_at(200, 140, 2)), "too small: its eyes are 2.0 pixels apart"),
        (lambda: faces.crop_faces(photo(batch=2), face_at(200, 140, 50).repeat(3, 1, 1)), "for 2 pictures"),
        (lambda: faces.crop_faces(photo(), None), "one face a picture"),
        (lambda: check_batch(torch.zeros(2, 4, 4, 3), "picture"), "4 x 4"),
        (lambda: check_batch(torch.zeros(0, 64, 64, 3), "picture"), "empty"),
    ],
)
def test_mistakes_are_explained(call, says):
    with pytest.raises(ACFunError, match=says):
        call()


def test_batches_that_do_not_fit_are_refused():
    images = photo(batch=2)
    crops, _, where = faces.crop_faces(images, face_at(200, 140, 50), 128)
    with pytest.raises(ACFunError, match="2 pictures, 3 faces, 2 crops"):
        faces.paste_faces(images, crops[[0, 1, 0]], where)
    with pytest.raises(ACFunError, match="64 x 128"):
        faces.paste_faces(images, crops[:, :, :64], where)

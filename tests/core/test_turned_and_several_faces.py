"""Faces that are turned, too small, several in one picture, or not there at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from acfun_core.errors import ACFunError
from acfun_core.faces import crop as faces
from acfun_core.faces.detector import LARGEST_FIRST, LEFT_TO_RIGHT, NoFace, in_order, nth_face
from acfun_core.faces.landmarks import check_landmarks, frontal_eye_distance, is_nobody, nobody
from acfun_core.faces.regions import region_strengths


def head(yaw: float, roll: float = 0.0, eye_distance: float = 50.0) -> torch.Tensor:
    """Landmarks (5, 2) around (200, 150) of a head that is turned to the side and then tilted, in degrees."""
    face = eye_distance * torch.tensor(faces.MEAN_FACE)
    depth = eye_distance * torch.tensor([0.0, 0.0, 0.45, 0.1, 0.1])
    turned = torch.stack(
        [math.cos(math.radians(yaw)) * face[:, 0] + math.sin(math.radians(yaw)) * depth, face[:, 1]], dim=-1
    )
    angle = math.radians(roll)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return torch.tensor([200.0, 150.0]) + turned @ turn.T


@pytest.mark.parametrize("roll", [0.0, 25.0])
@pytest.mark.parametrize("yaw", [0.0, 30.0, 60.0, 75.0, 90.0])
def test_a_turned_face_was_cut_far_too_small(yaw, roll):
    frontal, turned = faces.frame_of(head(0.0, roll)), faces.frame_of(head(yaw, roll))
    assert turned.scale == pytest.approx(frontal.scale, rel=0.02)
    # From the side, the mouth lies before the eyes: up to 6 degrees.
    torch.testing.assert_close(turned.matrix, frontal.matrix, rtol=0, atol=(0.1 if yaw > 70 else 0.02) * frontal.scale)
    assert faces.box_around(head(yaw, roll))[2] == pytest.approx(faces.box_around(head(0.0, roll))[2], rel=0.02)


def test_a_face_that_nods_is_as_large_as_its_eyes_say():
    nodding = head(0.0)
    nodding[2:, 1] = 150 + 0.6 * (nodding[2:, 1] - 150)
    assert frontal_eye_distance(nodding) == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        (head(90.0), "seen from the side: its eyes are 0.0 pixels apart"),
        (head(85.0), "seen from the side"),
        (head(0.0, eye_distance=3.0), "too small: its eyes are 3.0 pixels apart"),
        (head(0.0)[[1, 0, 2, 4, 3]], "mirrored or in another order"),
        (nobody(), "no face was found"),
    ],
)
def test_the_message_blamed_the_order_whatever_was_wrong(points, says):
    with pytest.raises(ACFunError, match=says):
        check_landmarks(points, torch.zeros(1, 300, 400, 3), "landmarks")


def test_a_profile_can_be_cut_though_nothing_can_be_spliced_from_it():
    crop, mask, _ = faces.crop_faces(torch.rand(1, 300, 400, 3), head(90.0)[None], 64)
    assert crop.shape == (1, 64, 64, 3) and mask.mean() > 0.9


def test_frames_without_a_face_had_a_portrait_painted_into_them():
    """Left untouched, they come back bit for bit, and the others as before."""
    frames = torch.rand(3, 300, 400, 3)
    landmarks = torch.stack([head(0.0), nobody(), head(10.0)])
    crops, masks, where = faces.crop_faces(frames, landmarks, 128)
    assert crops.isfinite().all() and masks[1].max() == 0 and masks[0].min() == 1 and where.frames[1] is None
    pasted, weights = faces.paste_faces(frames, 1 - crops, where)
    assert torch.equal(pasted[1], frames[1]) and weights[1].max() == 0
    assert not torch.equal(pasted[0], frames[0]) and weights[2].max() == 1
    alone, _, other = faces.crop_faces(frames[:1], landmarks[:1], 128)
    assert torch.equal(faces.paste_faces(frames[:1], 1 - alone, other)[0][0], pasted[0])


def test_a_portrait_without_a_face_goes_back_as_a_whole():
    frames = torch.rand(1, 300, 400, 3)
    crops, _, where = faces.crop_faces(frames, head(0.0)[None], 128)
    one, two = (
        faces.paste_faces(frames, 1 - crops, where, face_landmarks=found)[0] for found in (None, nobody()[None])
    )
    assert torch.equal(one, two)


@pytest.mark.parametrize("shape", [(128, 128), (1, 128, 128), (1, 1, 128, 128), (1, 128, 128, 1)])
def test_paste_face_took_masks_of_one_rank_only(shape):
    frames = torch.rand(1, 300, 400, 3)
    crops, _, where = faces.crop_faces(frames, head(0.0)[None], 128)
    pasted = faces.paste_faces(frames, 1 - crops, where, mask=torch.ones(shape))[0]
    assert torch.equal(pasted, faces.paste_faces(frames, 1 - crops, where, mask=torch.ones(1, 128, 128))[0])
    for bad, says in ((torch.zeros(shape), "mask is empty.*no face"), (torch.full(shape, torch.nan), "not numbers")):
        with pytest.raises(ACFunError, match=says):
            faces.paste_faces(frames, 1 - crops, where, mask=bad)


def test_one_of_several_faces_is_chosen_by_size_or_by_place():
    rows = np.zeros((3, 15), np.float32)
    rows[:, :4] = [[200, 0, 40, 50], [0, 0, 20, 25], [100, 0, 80, 90]]
    rows[:, 4] = [1, 2, 3]
    assert in_order(rows, LARGEST_FIRST)[:, 0, 0].tolist() == [3, 1, 2]
    assert in_order(rows, LEFT_TO_RIGHT)[:, 0, 0].tolist() == [2, 3, 1]
    found = in_order(rows, LEFT_TO_RIGHT)
    assert nth_face(found, 2, "picture")[0, 0] == 3
    with pytest.raises(NoFace, match="no face 4 in the picture: 3 found"):
        nth_face(found, 4, "picture")


def test_nobody_is_told_from_a_damaged_face():
    assert is_nobody(nobody()) and not is_nobody(head(0.0))
    half = head(0.0)
    half[0] = torch.nan
    assert not is_nobody(half)
    with pytest.raises(ACFunError, match="outside the picture"):
        check_landmarks(half, torch.zeros(1, 300, 400, 3), "landmarks")


@pytest.mark.parametrize("text", ["[" * 50_000, '{"a":' * 20_000])
def test_brackets_without_end_were_no_clear_error(text):
    with pytest.raises(ACFunError, match="cannot be read"):
        region_strengths(text)


def group_of_three(apart: float = 130.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture of three people, and their landmarks."""
    people = torch.stack(
        [head(angle) + torch.tensor([shift * apart, 0.0]) for shift, angle in ((0, 0.0), (1, 5.0), (2, 0.0))]
    )
    return torch.rand(1, 300, 400 + int(2 * apart), 3), people


def test_each_face_of_a_group_is_cut_as_if_it_were_alone():
    picture, people = group_of_three()
    crops, masks, where = faces.crop_faces(picture, people, 96)
    assert crops.shape == (3, 96, 96, 3) and masks.shape == (3, 96, 96) and where.group
    for at in range(3):
        alone, mask, _ = faces.crop_faces(picture, people[at : at + 1], 96)
        assert torch.equal(crops[at], alone[0]) and torch.equal(masks[at], mask[0])
    assert not faces.crop_faces(picture, people[:1], 96)[2].group


def test_a_group_goes_back_into_one_picture():
    """Far apart, each face is what it is alone; beyond all crops the picture is as it was, bit for bit."""
    picture, people = group_of_three(apart=400.0)
    crops, _, where = faces.crop_faces(picture, people, 96, eye_distance=0.4)
    whole, weight = faces.paste_faces(picture, 1 - crops, where)
    assert whole.shape == picture.shape and weight.shape == picture.shape[:3]
    left = weight == 0
    assert left.any() and torch.equal(whole[left], picture[left])
    for at in range(3):
        alone, own = faces.paste_faces(picture, 1 - crops[at : at + 1], faces.FaceCrop(where.frames[at : at + 1], 0.4))
        covered = own > 0
        torch.testing.assert_close(whole[covered], alone[covered])
        torch.testing.assert_close(weight[covered], own[covered])


def test_where_two_crops_of_a_group_overlap_each_keeps_its_own_face():
    """Laid one over the other, the last crop would bring back its neighbour's face as it was in the photo."""
    picture, people = group_of_three(apart=60.0)
    _, _, where = faces.crop_faces(picture, people, 96)
    shades = torch.tensor([0.0, 0.5, 1.0])[:, None, None, None].expand(3, 96, 96, 3)
    whole, _ = faces.paste_faces(picture, shades, where)
    for shade, points in zip((0.0, 0.5, 1.0), people):
        x, y = points[:2].mean(dim=0).round().long().tolist()
        assert abs(float(whole[0, y, x].mean()) - shade) < 0.2


def test_a_group_in_which_nobody_was_found_stays_as_it_is():
    picture, people = group_of_three()
    crops, _, where = faces.crop_faces(picture, torch.stack([nobody(), nobody()]), 96)
    whole, weight = faces.paste_faces(picture, 1 - crops, where)
    assert torch.equal(whole, picture) and weight.shape == picture.shape[:3] and weight.max() == 0


def test_faces_of_a_group_are_not_pasted_in_another_number():
    picture, people = group_of_three()
    crops, _, where = faces.crop_faces(picture, people, 96)
    with pytest.raises(ACFunError, match="1 pictures, 2 faces, 3 crops"):
        faces.paste_faces(picture, crops[:2], where)
    with pytest.raises(ACFunError, match="for 2 pictures"):
        faces.crop_faces(picture.expand(2, -1, -1, -1), people, 96)

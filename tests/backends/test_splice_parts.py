"""Faces put together by landmarks: alignment, parts, seams and who gave what."""

import math

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from acfun_core.errors import ACFunError
from acfun_core.faces.landmarks import Similarity, check_landmarks, warp
from acfun_core.faces.splice import PARTS, SEAMS, blurred, part_map, pyramid_sum, splice_parts, toned

POINTS = torch.tensor([[40.0, 45.0], [80.0, 45.0], [60.0, 68.0], [45.0, 88.0], [75.0, 88.0]])
HEIGHT, WIDTH = 130, 120


def flat(value: float) -> torch.Tensor:
    return torch.full((1, HEIGHT, WIDTH, 3), value)


def turned(points: torch.Tensor, angle: float, scale: float, shift: tuple[float, float]) -> torch.Tensor:
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return points @ torch.tensor([[cos, -sin], [sin, cos]]).T + torch.tensor(shift)


def at(index: int) -> tuple[int, int]:
    x, y = POINTS[index].int().tolist()
    return y, x


def splice(seam="hard", givers=None, faces=2, **settings):
    pictures = [flat(value) for value in (0.1, 0.5, 0.9, 0.7)[:faces]]
    return splice_parts(pictures, [POINTS] * faces, givers or {"eyes": 2}, seam, **settings)


@pytest.mark.parametrize(("angle", "scale"), [(0.0, 1.0), (0.3, 2.0), (-1.2, 0.4), (math.pi, 1.0)])
def test_a_similarity_is_found_again(angle, scale):
    moved = turned(POINTS, angle, scale, (13.0, -5.0))
    found = Similarity.fit(POINTS, moved)
    torch.testing.assert_close(found(POINTS), moved, atol=1e-3, rtol=1e-4)
    assert found.scale == pytest.approx(scale, rel=1e-4)


def test_a_moved_face_is_moved_back():
    """A picture with one bright spot at each landmark, turned and enlarged: after warping the spots lie on the first face's."""
    rows, columns = torch.meshgrid(torch.arange(300) + 0.5, torch.arange(280) + 0.5, indexing="ij")
    moved = turned(POINTS, 0.2, 1.8, (20.0, -10.0))
    spots = sum(torch.exp(-((columns - x).square() + (rows - y).square()) / 18) for x, y in moved)
    seen, reach = warp(spots[None, :, :, None].expand(1, -1, -1, 3), Similarity.fit(POINTS, moved), HEIGHT, WIDTH)
    assert seen.shape == (1, HEIGHT, WIDTH, 3) and reach[at(2)]
    for index in range(5):
        assert seen[0, at(index)[0], at(index)[1], 0] > 0.8
    assert seen[0, 10, 10, 0] < 0.05


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_parts_lie_where_the_landmarks_say_and_turn_with_them(angle):
    middle = torch.tensor([60.0, 65.0])
    points = turned(POINTS - middle, angle, 1.0, (60.0, 65.0))
    regions = part_map(points, HEIGHT, WIDTH)
    for part, index in (("eyes", 0), ("eyes", 1), ("nose", 2), ("mouth", 3), ("mouth", 4)):
        x, y = points[index].int().tolist()
        assert PARTS[regions[y, x]] == part
    assert PARTS[regions[2, 2]] == "rest"


def test_hard_seams_take_each_pixel_from_one_face():
    spliced = splice("hard", {"eyes": 2, "mouth": 3}, faces=3)
    assert spliced.picture.shape == (1, HEIGHT, WIDTH, 3)
    for index, value, giver in ((0, 0.5, 2), (1, 0.5, 2), (2, 0.1, 1), (3, 0.9, 3)):
        assert spliced.picture[0, at(index)[0], at(index)[1], 0] == pytest.approx(value)
        assert spliced.givers[at(index)] == giver
    assert set(spliced.shares.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(spliced.picture.unique(), torch.tensor([0.1, 0.5, 0.9]))


@pytest.mark.parametrize("seam", SEAMS)
def test_shares_add_up_to_one_and_equal_faces_give_that_face(seam):
    torch.testing.assert_close(splice(seam).shares.sum(dim=0), torch.ones(HEIGHT, WIDTH))
    face = torch.rand(1, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(0))
    same = splice_parts([face, face], [POINTS, POINTS], {"eyes": 2, "mouth": 2}, seam)
    torch.testing.assert_close(same.picture, face, atol=2e-5, rtol=0.0)


@pytest.mark.parametrize("seam", ["soft", "pyramid"])
def test_soft_seams_lie_between_the_faces(seam):
    picture = splice(seam).picture
    between = (picture > 0.15) & (picture < 0.45)
    assert between.any() and 0.09 < picture.min() and picture.max() < 0.51
    assert picture[0, at(0)[0], at(0)[1], 0] > 0.4


def test_everything_may_come_from_the_second_face():
    spliced = splice(givers=dict.fromkeys(PARTS, 2))
    assert (spliced.givers == 2).all() and torch.allclose(spliced.picture, flat(0.5))


def test_where_a_picture_ends_the_first_face_shows():
    faces = [flat(0.1), flat(0.5)]
    spliced = splice_parts(faces, [POINTS, POINTS - torch.tensor([30.0, 0.0])], dict.fromkeys(PARTS, 2))
    assert (spliced.givers[:, :25] == 1).all() and (spliced.givers[:, 40:] == 2).all()


def test_tones_are_matched():
    generator = torch.Generator().manual_seed(0)
    dark, light = (
        0.3 + 0.1 * torch.rand(1, 20, 20, 3, generator=generator),
        torch.rand(1, 20, 20, 3, generator=generator),
    )
    matched = toned(dark, light * 0.5 + 0.25, torch.ones(20, 20, dtype=torch.bool))
    torch.testing.assert_close(matched.mean(), (light * 0.5 + 0.25).mean(), atol=0.02, rtol=0.0)
    assert splice("hard", match_tone=True).picture[0, at(0)[0], at(0)[1], 0] == pytest.approx(0.1, abs=1e-4)


def test_a_pyramid_of_one_layer_is_that_layer():
    layer = torch.rand(1, 3, 37, 50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pyramid_sum([(layer, torch.ones(1, 1, 37, 50))]), layer)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"faces": 1}, "1 faces"),
        ({"givers": {"eyes": 3}}, "eyes shall come from face 3"),
        ({"givers": {"ears": 1}}, "'ears' is no part"),
        ({"seam": "zigzag"}, "zigzag"),
        ({"softness": 0.0}, "softness is 0"),
    ],
)
def test_what_does_not_fit_is_named(settings, says):
    with pytest.raises(ACFunError, match=says):
        splice(**settings)


@pytest.mark.parametrize(
    ("landmarks", "says"),
    [
        (torch.rand(4, 2), "shape"),
        (None, "shape"),
        (POINTS.expand(2, -1, -1), "hold 2 faces"),
        (POINTS + 1000, "outside the picture"),
        (POINTS * torch.nan, "no face was found"),
        (POINTS[[1, 0, 2, 4, 3]], "not those of a face"),
        (torch.full((5, 2), 50.0), "too small: its eyes are 0.0 pixels apart"),
    ],
)
def test_bad_landmarks_are_named(landmarks, says):
    with pytest.raises(ACFunError, match=f"landmarks of face 2.*{says}"):
        check_landmarks(landmarks, flat(0.5), "landmarks of face 2")


def test_landmarks_of_one_face_in_a_batch_are_taken():
    assert check_landmarks(POINTS[None], flat(0.5), "landmarks").shape == (5, 2)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("seam", SEAMS)
def test_an_interrupt_was_not_heard_before_the_end(seam):
    calls = []

    def stop_at_the_second() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        splice(seam, {"eyes": 2, "mouth": 3}, faces=3, on_layer=stop_at_the_second)


@pytest.mark.parametrize("seam", SEAMS)
def test_one_layer_after_the_other_is_what_all_at_once_are(seam):
    """The blend by its definition, all layers in memory."""
    generator = torch.Generator().manual_seed(3)
    faces = [torch.rand(1, HEIGHT, WIDTH, 3, generator=generator) for _ in range(3)]
    givers = {"eyes": 2, "mouth": 3, "nose": 1, "rest": 1}
    spliced = splice_parts(faces, [POINTS] * 3, givers, seam, 0.3)
    regions = part_map(POINTS, HEIGHT, WIDTH)
    owners = torch.tensor([givers[part] for part in PARTS])[regions]
    hard = torch.stack([(owners == number).float() for number in (1, 2, 3)])[:, None]
    eyes = (POINTS[1] - POINTS[0]).norm().item()
    layers, soft = torch.cat(faces).movedim(-1, 1), hard if seam == "hard" else blurred(hard, 0.3 * eyes / 2)
    wanted = (
        pyramid_sum(zip(layers.split(1), hard.split(1)))
        if seam == "pyramid"
        else (soft * layers).sum(dim=0, keepdim=True)
    )
    torch.testing.assert_close(spliced.picture, wanted.clamp(0, 1).movedim(1, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(spliced.shares, soft[:, 0], atol=1e-5, rtol=0)


def test_a_wide_blur_is_made_on_a_smaller_picture_and_is_nearly_the_same(monkeypatch):
    masks = torch.zeros(2, 1, 300, 260)
    masks[0, :, :, :120] = 1
    masks[1] = 1 - masks[0]
    wide = blurred(masks, 40.0)
    torch.testing.assert_close(wide.sum(dim=0), torch.ones(1, 300, 260))
    monkeypatch.setattr("acfun_core.faces.splice.WIDEST_BLUR", 1000.0)
    assert (wide - blurred(masks, 40.0)).abs().max() < 0.01


def test_the_memory_of_a_pyramid_grew_with_every_layer(monkeypatch):
    """When a part is moved, of the parts before it one is still in memory at most."""
    face, moved, held = torch.rand(1, 64, 64, 3), [], []

    def watched(*given):
        held.append(sum(not layer.expired() for layer in moved))
        layer, reach = warp(*given)
        moved.append(StorageWeakRef(layer.untyped_storage()))
        return layer, reach

    monkeypatch.setattr("acfun_core.faces.splice.warp", watched)
    points = POINTS * (64 / WIDTH)
    splice_parts([face] * 4, [points] * 4, {"eyes": 2, "nose": 3, "mouth": 4, "rest": 2}, "pyramid")
    assert len(held) == 4 and max(held) <= 1

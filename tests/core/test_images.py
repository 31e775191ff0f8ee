"""Picture checks, crops and spliced faces."""

import pytest
import torch

from acfun_core.errors import ACFunError
from acfun_core.faces.splice import splice_bands
from acfun_core.images import check_image, square


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (torch.rand(64, 64, 3), "shape"),
        (None, "shape"),
        (torch.rand(0, 64, 64, 3), "empty"),
        (torch.rand(1, 0, 64, 3), "empty"),
        (torch.rand(2, 64, 64, 3), "batch of 2"),
        (torch.rand(1, 1, 1, 3), "1 x 1"),
        (torch.rand(1, 16, 20_000, 3), "20000 x 16"),
        (torch.rand(1, 64, 64, 2), "2 channels"),
        (torch.full((1, 64, 64, 3), torch.nan), "not numbers"),
        (torch.full((1, 64, 64, 3), torch.inf), "not numbers"),
    ],
)
def test_bad_pictures_are_named(image, says):
    with pytest.raises(ACFunError, match=f"style image.*{says}"):
        check_image(image, "style image")


def test_grey_and_transparent_pictures_become_rgb():
    assert check_image(torch.rand(1, 64, 64, 1), "face").shape == (1, 64, 64, 3)
    assert check_image(torch.rand(1, 64, 64, 4), "face").shape == (1, 64, 64, 3)


def test_square_takes_the_middle():
    image = torch.zeros(1, 40, 100, 3)
    image[:, :, 30:70] = 1.0
    assert square(image, 40).min() == 1.0
    assert square(image, 64).shape == (1, 64, 64, 3)


def bands(*values):
    return [torch.full((1, 30, 30, 3), value) for value in values]


def test_splice_takes_each_band_from_its_face():
    spliced = splice_bands(bands(0.1, 0.5, 0.9), [0.5, 0.75], side=40)
    torch.testing.assert_close(spliced[0, :, 0, 0], torch.tensor([0.1] * 20 + [0.5] * 10 + [0.9] * 10))


def test_soft_seams_blend_between_the_faces():
    column = splice_bands(bands(0.0, 1.0), [0.5], blend=0.25, side=40)[0, :, 0, 0]
    assert column[0] == 0 and column[-1] == 1 and torch.all(column.diff() >= 0) and 0.4 < column[19] < 0.6


@pytest.mark.parametrize(
    ("count", "cuts"), [(1, []), (5, [0.2, 0.4, 0.6, 0.8]), (2, [0.5, 0.6]), (3, [0.6, 0.5]), (2, [0.0])]
)
def test_splice_refuses_what_does_not_fit(count, cuts):
    with pytest.raises(ACFunError):
        splice_bands(bands(*[0.5] * count), cuts)

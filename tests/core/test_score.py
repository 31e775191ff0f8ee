"""Copies and blends are caught, whatever their numbers otherwise; the best has both identity and style."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from acfun_core.backends.pictures import read_picture
from acfun_core.config import COPY_LIMIT
from acfun_core.errors import ACFunError
from acfun_core.faces.detector import NoFace
from acfun_core.faces.score import (
    LikenessByCLIP,
    Score,
    copied_share,
    cosines,
    likeness_by_face,
    ranking,
    relative,
    token_statistics,
)
from acfun_core.images import square
from tools.comfy.install import REPO


@pytest.fixture(scope="module")
def pair():
    return [read_picture(REPO / "pictures" / name, name) for name in ("face_astronaut.png", "style_woodblock.png")]


def soft(picture, side: int = 64):
    """The picture as it looks after a lossy autoencoder: small and back."""
    small = F.interpolate(picture.movedim(-1, 1), size=(side, side), mode="bicubic", antialias=True)
    return F.interpolate(small, size=picture.shape[1:3], mode="bicubic").movedim(1, -1).clamp(0, 1)


@pytest.mark.parametrize("which", [0, 1])
def test_copies_are_caught(pair, which):
    own = pair[which]
    for copy in (own, soft(own), 0.2 + 0.6 * own, own.flip(2)):
        assert copied_share(copy, pair) > COPY_LIMIT
    assert copied_share(own, pair) > 0.9999


def test_blends_are_caught(pair):
    face, style = pair
    for weight in (0.2, 0.5, 0.8):
        assert copied_share(torch.lerp(face, style, weight), pair) > COPY_LIMIT


def test_other_pictures_are_no_copies(pair):
    for name in ("style_oil.jpg", "style_pop.png", "style_cubist.jpg", "style_cartoon.png", "style_glass.jpg"):
        assert copied_share(read_picture(REPO / "pictures" / name, name), pair) < 0.7
    noise = torch.rand(1, 96, 96, 3, generator=torch.Generator().manual_seed(0))
    assert copied_share(noise, pair) < 0.05
    assert copied_share(torch.full((1, 64, 64, 3), 0.4), pair) == 0.0


def test_equal_or_flat_references_do_no_harm(pair):
    face, flat = pair[0], torch.full((1, 32, 32, 3), 0.5)
    assert copied_share(face, [face, face]) > 0.9999
    assert copied_share(pair[1], [face, flat]) < 0.7


def test_the_scale_runs_from_one_picture_to_the_other():
    assert relative(torch.tensor([0.6, 1.0, 0.8, 0.2]), 0.6, "style") == pytest.approx([0.0, 1.0, 0.5, -1.0], abs=1e-6)
    with pytest.raises(ACFunError, match="cannot be told apart by their style"):
        relative(torch.tensor([1.0]), 1.0, "style")
    with pytest.raises(ACFunError):
        relative(torch.tensor([float("nan")]), 0.2, "style")


def test_statistics_leave_out_the_class_token_and_the_place():
    tokens = torch.randn(2, 10, 4, generator=torch.Generator().manual_seed(1))
    moved = torch.cat([torch.zeros(2, 1, 4), tokens[:, 1:].flip(1)], dim=1)
    torch.testing.assert_close(token_statistics(tokens), token_statistics(moved))
    assert token_statistics(tokens).shape == (2, 8)
    assert cosines(tokens[:, 0], tokens[0, 0])[0] == pytest.approx(1.0)


def test_the_best_has_both_and_is_no_copy():
    face_copy, style_copy, blend = Score(1.0, 0.0, 1.0), Score(0.0, 1.0, 1.0), Score(0.6, 0.6, 0.99)
    both, one_sided, far = Score(0.3, 0.3, 0.4), Score(0.7, 0.05, 0.5), Score(-0.1, 0.2, 0.1)
    scores = [face_copy, far, one_sided, blend, both, style_copy]
    assert ranking(scores) == [4, 2, 1]
    assert ranking(scores, identity_weight=1.0)[0] == 2
    assert ranking(scores, limit=0.45) == [4, 1]
    assert ranking([face_copy, style_copy, blend]) == []
    assert blend.overall() == 0.0 and both.overall() == pytest.approx(0.3)
    assert far.overall() == 0.0 and far.overall(identity_weight=0.0) == pytest.approx(0.2)


def seen(pictures):
    """Stands for CLIP vision: tokens and embeddings that follow the pictures' colours."""
    rows = pictures.flatten(1, 2)[:, :: max(1, pictures[0, ..., 0].numel() // 40)]
    return torch.cat([rows[:, :1], rows], dim=1), torch.nn.functional.normalize(pictures.mean(dim=(1, 2)), dim=1)


def test_likeness_by_clip_is_one_for_the_picture_itself_and_zero_for_the_other(pair):
    face, style = (square(picture, 64) for picture in pair)
    likeness = LikenessByCLIP(seen, torch.cat([face, style]), style, face)
    assert likeness.to_face() == pytest.approx([1.0, 0.0], abs=1e-6)
    assert likeness.to_style() == pytest.approx([0.0, 1.0], abs=1e-6)


def test_a_portrait_without_a_face_counts_nothing_and_is_named(pair):
    face, style = (square(picture, 64) for picture in pair)
    vectors = {"face image": (1.0, 0.0), "style image": (0.0, 1.0), "picture 1": (1.0, 0.0)}
    done = []

    def identify(picture, role):
        if role not in vectors:
            raise NoFace(role)
        return torch.tensor(vectors[role])

    identities, notices = likeness_by_face(
        identify, torch.cat([face, style]), style, face, lambda: done.append(len(done))
    )
    assert identities == [1.0, 0.0] and done == [0, 1]
    assert notices == ["Picture 2: no face was found; its identity counts 0."]
    del vectors["style image"]
    assert "stranger" in likeness_by_face(identify, face, style, face)[1][0]
    del vectors["face image"]
    with pytest.raises(NoFace):
        likeness_by_face(identify, face, style, face)

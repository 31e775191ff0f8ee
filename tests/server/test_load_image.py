"""What the command line reads from a picture's file and what Load Image reads."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from acfun_core.backends.pictures import read_picture
from tools.comfy.graphs import node
from tools.comfy.install import COMFY_VERSION, REPO, host_version

PINNED = tuple(map(int, COMFY_VERSION.split(".")))


def read_by_both(client, path) -> tuple[np.ndarray, np.ndarray]:
    """8-bit pixels (H, W, 3): by the command line, by Load Image."""
    graph = {"load": node("LoadImage", image=client.upload_image(path, path.name))}
    [picture] = client.run({**graph, "end": node("SaveImage", images=["load", 0], filename_prefix="read")}).images(
        "end"
    )
    ours = read_picture(path, "face photo")[0].numpy() * 255
    return ours.round().astype(np.uint8), np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_png_is_read_alike(client, tmp_path, mode):
    path = tmp_path / f"bits_{mode}.png"
    with Image.open(REPO / "pictures" / "face_astronaut.png") as photo:
        photo.convert("RGB").crop((160, 160, 260, 240)).convert(mode).save(path)
    ours, theirs = read_by_both(client, path)
    assert ours.shape == theirs.shape
    # 0.33 reads grey as floats of FFmpeg's, up to a level darker.
    assert np.abs(ours.astype(int) - theirs).max() <= (1 if mode == "L" and host_version() > PINNED else 0)


@pytest.mark.parametrize(("subsampling", "name"), [(0, "444"), (2, "420")])
def test_a_jpeg_differs_by_a_level_in_the_mean(client, tmp_path, subsampling, name):
    """0.3.75 reads it with Pillow, as the command line does; 0.33 with FFmpeg, which spreads 4:2:0's colours otherwise."""
    path = tmp_path / f"levels_{name}.jpg"
    with Image.open(REPO / "pictures" / "face_astronaut.png") as photo:
        photo.convert("RGB").save(path, quality=95, subsampling=subsampling)
    ours, theirs = read_by_both(client, path)
    apart = np.abs(ours.astype(int) - theirs)
    assert apart.mean() <= 1.5 and apart.max() <= 24, (apart.mean(), apart.max())
    # No cast: no channel is lighter or darker as a whole.
    assert np.abs((ours.astype(int) - theirs).mean(axis=(0, 1))).max() <= 1
    if host_version() == PINNED:
        assert apart.max() == 0

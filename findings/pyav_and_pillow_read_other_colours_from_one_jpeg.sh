#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg's decoder and swscale) and Pillow 12.0.0 (libjpeg-turbo) give other pixels for one valid JPEG.
#
# Source: https://pypi.org/project/av/18.1.0/ and https://pypi.org/project/pillow/12.0.0/
# What happens: a JPEG whose colour is kept at half the resolution (4:2:0, what most cameras and programs write) has to be scaled up
# again. libjpeg-turbo interpolates between the colour samples, swscale as PyAV's to_ndarray("rgb24") calls it does otherwise. Near
# edges of colour single values are tens of levels apart. At full colour resolution (4:4:4) they are a few levels apart at most.
# Why it matters: a program that moves from Pillow to PyAV, as ComfyUI's Load Image did, sees another picture in the same file: seeds,
# caches by pixel hash and comparisons between two tools no longer agree, although nobody edited anything.
# Seen: "4:2:0 most 64, mean 0.81; 4:4:4 most 3, mean 0.00" on Linux x86-64, Python 3.11.
# Fails if: the two agree within 8 levels at 4:2:0, or differ by more than 8 at 4:4:4.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 pillow==12.0.0 numpy==2.3.4
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import io

import av
import numpy as np
from PIL import Image

y, x = np.mgrid[0:256, 0:256]
inside = (y - 128) ** 2 + (x - 128) ** 2 < 80**2
picture = np.where(inside[..., None], [200, 60, 50], [60, 90, 200]).astype(np.uint8)


def apart(subsampling):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95, subsampling=subsampling)
    by_pillow = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB")).astype(int)
    with av.open(io.BytesIO(file.getvalue())) as container:
        by_pyav = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    difference = np.abs(by_pillow - by_pyav)
    return difference.max(), difference.mean()


half, full = apart(2), apart(0)
print(f"4:2:0 most {half[0]}, mean {half[1]:.2f}; 4:4:4 most {full[0]}, mean {full[1]:.2f}")
assert half[0] > 8, "they agree at 4:2:0 now"
assert full[0] <= 8, "they differ at 4:4:4 now"
PYTHON

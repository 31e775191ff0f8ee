#!/usr/bin/env bash
# OpenCV 5.0.0: an ONNX Resize with antialias=1 is read and computed without it; 4.14 refused the file.
#
# Source: https://pypi.org/project/opencv-python-headless/5.0.0.93/ beside 4.14.0.94, against onnxruntime 1.32.0.
# What happens: since opset 18 Resize may smooth before it makes a picture smaller (antialias=1, what Pillow and torch's
# interpolate(antialias=True) do). OpenCV 4.14 raises on such a layer. The engine of OpenCV 5 takes it and leaves the smoothing out: the
# result is that of antialias=0 within 1e-5.
# Why it matters: preprocessing that was moved into the file (halving or quartering a photo before a face or CLIP network) aliases, and the
# network sees other pictures than the ones it was trained on. What was an error before the step from 4 to 5 is a silent difference
# after it.
# Seen: "5.0.0: linear like antialias=0, cubic like antialias=0" and "4.14.0: linear refused, cubic refused".
# Fails if: either version gives other answers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > compare.py <<'PYTHON'
import sys

import cv2
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

picture = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)


def model(mode: str, antialias: int) -> bytes:
    layer = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode=mode, antialias=antialias)
    ends = [helper.make_tensor_value_info(*end) for end in (("x", TensorProto.FLOAT, (1, 3, 16, 16)), ("y", TensorProto.FLOAT, (1, 3, 4, 4)))]
    scales = numpy_helper.from_array(np.array([1, 1, 0.25, 0.25], np.float32), "scales")
    graph = helper.make_graph([layer], "one", ends[:1], ends[1:], [scales])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def wanted(mode: str, antialias: int) -> np.ndarray:
    session = onnxruntime.InferenceSession(model(mode, antialias), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": picture})[0]


def answer(mode: str) -> str:
    try:
        net = cv2.dnn.readNetFromONNX(np.frombuffer(model(mode, 1), np.uint8))
        net.setInput(picture, "x")
        drawn = net.forward()
    except cv2.error:
        return f"{mode} refused"
    like = [str(antialias) for antialias in (0, 1) if np.allclose(drawn, wanted(mode, antialias), atol=1e-5)]
    return f"{mode} like antialias={' and '.join(like) or 'neither'}"


line = f"{cv2.__version__}: {answer('linear')}, {answer('cubic')}"
print(line)
sys.exit(line != sys.argv[1])
PYTHON
for release in "5.0.0.93|5.0.0: linear like antialias=0, cubic like antialias=0" "4.14.0.94|4.14.0: linear refused, cubic refused"; do
  python3 -m venv --clear venv
  venv/bin/pip install -q --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 "opencv-python-headless==${release%%|*}"
  venv/bin/python compare.py "${release#*|}" 2>/dev/null
done

#!/usr/bin/env bash
# OpenCV 5.0.0: what an ONNX GRU gives depends on whether somebody asks for its second output.
#
# Source: https://pypi.org/project/opencv-python-headless/5.0.0.93/ against onnxruntime 1.32.0.
# What happens: a GRU has two outputs: Y, the state after each step (steps, directions, batch, width), and Y_h, the state after the
# last. A node may name the first alone. OpenCV 5 then gives Y_h under the name of Y: one step, of another shape than the file itself
# declares for it, without a message. Where the node names both, both are right. An LSTM, which shares that code's options, is right
# either way. OpenCV 4.14 knew no GRU and raised.
# Why it matters: a file that was cleaned of outputs nobody uses is the same network and ends in other numbers; behind it, a layer
# that averages over the steps averages over one.
# Seen: "GRU, Y alone: (1, 2, 5), the last step; GRU, both: (6, 1, 2, 5), right; LSTM, Y alone: (6, 1, 2, 5), right".
# Fails if: any of the three changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 opencv-python-headless==5.0.0.93
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import sys

import cv2
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

chance = np.random.default_rng(0)
STEPS, BATCH, WIDE, WIDTH = 6, 2, 3, 5
steps = chance.standard_normal((STEPS, BATCH, WIDE)).astype(np.float32)
SHAPES = {"y": (STEPS, 1, BATCH, WIDTH), "y_h": (1, BATCH, WIDTH)}


def answer(kind: str, gates: int, outputs: list[str]) -> str:
    shapes = {"w": (1, gates * WIDTH, WIDE), "r": (1, gates * WIDTH, WIDTH), "b": (1, 2 * gates * WIDTH)}
    weights = [numpy_helper.from_array(chance.standard_normal(shape).astype(np.float32), name) for name, shape in shapes.items()]
    layer = helper.make_node(kind, ["x", *shapes], outputs, hidden_size=WIDTH)
    begin = helper.make_tensor_value_info("x", TensorProto.FLOAT, steps.shape)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPES[name]) for name in outputs]
    graph = helper.make_graph([layer], "one", [begin], ends, weights)
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    wanted = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(["y"], {"x": steps})[0]
    net = cv2.dnn.readNetFromONNX(np.frombuffer(file, np.uint8))
    net.setInput(steps, "x")
    given = net.forward(outputs)[0]
    named = f"{kind}, {'Y alone' if len(outputs) == 1 else 'both'}: {given.shape}"
    if given.shape == wanted.shape and np.allclose(given, wanted, atol=1e-4):
        return f"{named}, right"
    return f"{named}, {'the last step' if np.allclose(given, wanted[-1], atol=1e-4) else 'something else'}"


line = "; ".join((answer("GRU", 3, ["y"]), answer("GRU", 3, ["y", "y_h"]), answer("LSTM", 4, ["y"])))
print(line)
sys.exit(line != "GRU, Y alone: (1, 2, 5), the last step; GRU, both: (6, 1, 2, 5), right; LSTM, Y alone: (6, 1, 2, 5), right")
PYTHON

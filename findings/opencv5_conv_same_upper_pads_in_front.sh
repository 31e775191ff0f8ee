#!/usr/bin/env bash
# OpenCV 5.0.0: an ONNX convolution with auto_pad SAME_UPPER gets its odd row of padding in front, as SAME_LOWER wants it.
#
# Source: https://pypi.org/project/opencv-python-headless/5.0.0.93/ beside 4.14.0.94, against onnxruntime 1.32.0 and the evaluator that comes
# with onnx 1.23.2, which agree with each other.
# What happens: where a convolution strides over an even side (kernel 3, stride 2, side 8), SAME padding is an odd number of rows.
# ONNX puts the odd one behind for SAME_UPPER and in front for SAME_LOWER. The engine of OpenCV 5 puts it in front for both: every
# value of SAME_UPPER is then computed one pixel to the side, without a message. OpenCV 4.14 is the other way round: it puts it behind
# for both, so SAME_UPPER is right there and SAME_LOWER is wrong. With an odd side, or with stride 1, nothing is odd and both are right.
# Why it matters: SAME_UPPER is TensorFlow's padding, and files converted from there carry it, commonly with stride 2 on even sides.
# Such a file goes on working after the step from 4 to 5, and each of its strided layers looks a pixel aside.
# Seen: "5.0.0: SAME_UPPER differs, SAME_LOWER agrees" and "4.14.0: SAME_UPPER agrees, SAME_LOWER differs".
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
from onnx.reference import ReferenceEvaluator

chance = np.random.default_rng(0)
picture, kernel = (chance.standard_normal(shape).astype(np.float32) for shape in ((1, 1, 8, 8), (1, 1, 3, 3)))
told = []
for padding in ("SAME_UPPER", "SAME_LOWER"):
    layer = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=padding, kernel_shape=[3, 3], strides=[2, 2])
    ends = [helper.make_tensor_value_info(*end) for end in (("x", TensorProto.FLOAT, (1, 1, 8, 8)), ("y", TensorProto.FLOAT, (1, 1, 4, 4)))]
    graph = helper.make_graph([layer], "one", ends[:1], ends[1:], [numpy_helper.from_array(kernel, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    file = model.SerializeToString()
    wanted = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"x": picture})[0]
    assert np.allclose(wanted, ReferenceEvaluator(model).run(None, {"x": picture})[0], atol=1e-5)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(file, np.uint8))
    net.setInput(picture, "x")
    told.append(f"{padding} {'agrees' if np.allclose(net.forward(), wanted, atol=1e-4) else 'differs'}")
line = f"{cv2.__version__}: {', '.join(told)}"
print(line)
sys.exit(line != sys.argv[1])
PYTHON
for release in "5.0.0.93|5.0.0: SAME_UPPER differs, SAME_LOWER agrees" "4.14.0.94|4.14.0: SAME_UPPER agrees, SAME_LOWER differs"; do
  python3 -m venv --clear venv
  venv/bin/pip install -q --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 "opencv-python-headless==${release%%|*}"
  venv/bin/python compare.py "${release#*|}" 2>/dev/null
done

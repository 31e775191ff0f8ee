"""The example face: the head of scikit-image's astronaut photograph, aligned as the demo base's training pictures are.

The photograph shows Eileen Collins; it was taken by NASA and is in the public domain.
"""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data

# Pupils in the 512 x 512 photograph, pixels: picture's left, picture's right.
EYES = np.array([[203.0, 101.5], [246.5, 103.5]])
EYE_DISTANCE, EYE_CENTRE = 0.22, (0.5, 0.43)  # of the width; of the width and height


def astronaut(size: int) -> np.ndarray:
    """Head and shoulders (size, size, 3), 8-bit RGB, with level eyes at the training place."""
    photo = skimage.data.astronaut()
    delta, middle = EYES[1] - EYES[0], EYES.mean(0)
    scale = EYE_DISTANCE * size / np.hypot(*delta)
    angle = np.arctan2(delta[1], delta[0])
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    move = np.asarray(EYE_CENTRE) * size - turn @ middle
    matrix = np.column_stack([turn, move])
    return cv2.warpAffine(photo, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)

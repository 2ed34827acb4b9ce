"""Draws faces that detectors take for real, so that tests need no photograph of a real person."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
# Eyes, nose, mouth corners of a face drawn at 200 px.
POINTS = np.array([[78, 92], [122, 92], [100, 118], [80, 142], [120, 142]], dtype=np.float64)


def drawn_face(size: int = 200) -> Pixels:
    """Draws head and shoulders on a plain ground: [size, size, 3] uint8 RGB."""
    image = np.full((200, 200, 3), (70, 110, 150), np.uint8)
    skin, hair, line = (225, 178, 150), (60, 40, 30), cv2.LINE_AA
    cv2.ellipse(image, (100, 95), (66, 84), 0, 0, 360, hair, -1, line)
    cv2.rectangle(image, (82, 150), (118, 200), (200, 150, 125), -1)
    cv2.ellipse(image, (100, 105), (52, 70), 0, 0, 360, skin, -1, line)
    for x in (78, 122):
        cv2.ellipse(image, (x, 92), (12, 6), 0, 0, 360, (250, 250, 250), -1, line)
        cv2.circle(image, (x, 92), 6, (50, 30, 20), -1, line)
        cv2.ellipse(image, (x, 80), (16, 5), 0, 180, 360, hair, 4, line)
    cv2.ellipse(image, (100, 118), (9, 6), 0, 0, 180, (170, 110, 90), 3, line)
    cv2.ellipse(image, (100, 142), (20, 8), 0, 0, 180, (170, 60, 60), -1, line)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.2), dtype=np.uint8)
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def drawn_photo() -> Pixels:
    """Draws [301, 413, 3] uint8 RGB with faces of 200, 90, 70 and 80 px, the last one cut by the left edge."""
    photo = np.full((301, 413, 3), (70, 110, 150), np.uint8)
    photo[10:210, 60:260] = drawn_face(200)
    photo[150:240, 280:370] = drawn_face(90)
    photo[20:90, 300:370] = drawn_face(70)
    photo[200:280, :50] = drawn_face(80)[:, 30:]
    return photo

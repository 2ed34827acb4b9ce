from __future__ import annotations

import cv2
import numpy as np
import pytest

from mien.evaluation.quality.changes import outside_difference, seam


def photo() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    return np.ascontiguousarray(cv2.GaussianBlur(noise, (0, 0), 4) // 2 + 64)


def test_what_lies_outside_is_counted() -> None:
    original, face = photo(), np.zeros((120, 160), bool)
    face[30:90, 40:120] = True
    new = original.copy()
    new[face] = 0
    assert outside_difference(original, new, face) == 0
    new[:10] = 255
    assert outside_difference(original, new, face) == pytest.approx(10 * 160 / (~face).sum())
    assert outside_difference(original, original + np.uint8(2), face) == 0  # saved anew
    assert np.isnan(outside_difference(original, new, np.ones_like(face)))


def test_a_soft_border_has_less_of_a_seam_than_a_hard_one() -> None:
    original = photo()
    mask = np.zeros((120, 160), np.float32)
    mask[30:90, 40:120] = 1
    soft = cv2.GaussianBlur(mask, (0, 0), 8)
    hard, gentle = (np.rint(original + 40 * m[:, :, None]).astype(np.uint8) for m in (mask, soft))
    assert seam(original, hard) > 3 * max(seam(original, gentle), 0.05)
    assert np.isnan(seam(original, original))

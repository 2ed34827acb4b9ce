"""How many threads a process computes with: those of torch and of OpenCV alike."""

from __future__ import annotations

import cv2
import torch


def use_threads(count: int) -> None:
    """Compute with so many, from 1; workers that left OpenCV all cores would stand in each other's way."""
    torch.set_num_threads(count)
    cv2.setNumThreads(count)

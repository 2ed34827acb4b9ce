"""Sets how many threads this process computes with, in torch and in OpenCV alike."""

from __future__ import annotations


def use_threads(count: int) -> None:
    """Makes torch and OpenCV compute with `count` threads, at least 1.

    Workers that left all cores to OpenCV would slow one another down.
    """
    import cv2  # on some systems importing it changes the environment of the process
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(count)

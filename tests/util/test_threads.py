from __future__ import annotations

import cv2
import pytest
import torch

from mien.util.threads import use_threads


@pytest.mark.parametrize("count", [1, 2])
def test_both_libraries_take_as_many(count: int) -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        use_threads(count)
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (count, count)
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])

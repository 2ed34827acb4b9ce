from __future__ import annotations

import os
import subprocess
import sys

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


@pytest.mark.parametrize(("own", "kept"), [(None, "PASSIVE"), ("active", "ACTIVE")])
def test_threads_wait_asleep_unless_somebody_says_otherwise(own: str | None, kept: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | ({"OMP_WAIT_POLICY": own} if own else {})
    told = subprocess.run([sys.executable, "-c", "import mien.util.threads"], env=environment, text=True, check=True,
                          stderr=subprocess.PIPE).stderr
    if "OMP_WAIT_POLICY" not in told:
        pytest.skip("this torch's OpenMP does not tell its settings")
    assert f"OMP_WAIT_POLICY = '{kept}'" in told

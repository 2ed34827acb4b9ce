"""OpenMP's threads wait asleep in programs of mien and their children, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mien.util.wait_policy import VARIABLE, children_wait_asleep

SCRIPT = "from mien.util.wait_policy import wait_asleep; wait_asleep(); import torch"


@pytest.mark.parametrize(("own", "kept"), [(None, "PASSIVE"), ("active", "ACTIVE")])
def test_threads_wait_asleep_unless_the_environment_says_otherwise(own: str | None, kept: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | ({"OMP_WAIT_POLICY": own} if own else {})
    told = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, text=True, check=True,
                          stderr=subprocess.PIPE).stderr
    if "OMP_WAIT_POLICY" not in told:
        pytest.skip("this torch's OpenMP does not tell its settings")
    assert f"OMP_WAIT_POLICY = '{kept}'" in told


@pytest.mark.parametrize(("own", "children"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_children_alone_are_told(monkeypatch: pytest.MonkeyPatch, own: str | None, children: str) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if own:
        monkeypatch.setenv(VARIABLE, own)
    with pytest.raises(KeyError), children_wait_asleep():
        assert os.environ[VARIABLE] == children
        raise KeyError
    assert os.environ.get(VARIABLE) == own

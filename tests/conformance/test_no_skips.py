"""Skips and missing files of numbers are failures in this folder: its conftest.py is tried on small test files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SKIPPING = """
import pytest

@pytest.fixture
def weights():
    pytest.skip("no weights")

def test_fixture(weights): pass

@pytest.mark.skip(reason="no time")
def test_mark(): pass

@pytest.mark.xfail(reason="no luck")
def test_expected(): assert False

def test_numbers(vectors): vectors("absent")

def test_passes(): pass
"""


def test_skips_and_missing_numbers_fail(tmp_path: Path) -> None:
    here = Path(__file__).parent
    shutil.copy(here / "conftest.py", tmp_path)
    (tmp_path / "test_inside.py").write_text(SKIPPING)
    (tmp_path / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors",
               "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(here.parent)}, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].startswith("2 failed, 1 passed, 3 errors"), done.stdout + done.stderr
    assert "no conformance test may be skipped: Skipped: no weights" in done.stdout

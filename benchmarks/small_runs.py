"""Small runs with stand-ins for the networks, which the tests have: tests/helpers/fake_run.py.

This is the only file of benchmarks/ that imports from tests/.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.fake_run import album, call, environment, mien_command, photos_in, rows_in, start
from helpers.small_disks import FULL, ordinary_call

__all__ = ["FULL", "album", "call", "environment", "mien_command", "ordinary_call", "photos_in", "rows_in", "start"]

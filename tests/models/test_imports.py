"""The models can be imported where Python lacks the modules that only POSIX systems have."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
import cv2, filelock, onnx, PIL.Image, platformdirs, pydantic, rich.progress, safetensors.torch, torch

for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
import mien.models
found = [one.name for one in pkgutil.walk_packages(mien.models.__path__, "mien.models.")]
for name in found:
    importlib.import_module(name)
print(len(found))
"""


def test_no_model_needs_a_module_that_windows_lacks() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40

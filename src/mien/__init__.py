"""mien: the same photographs, with people who do not exist.

    import mien
    result = mien.anonymize(image)              # [H, W, 3] uint8 RGB -> Result(image, faces)
    mien.anonymize_dataset("photos", "public")  # a folder, resumable
    mien.evaluate("photos", "public")           # can anyone be found again, are the data still good

Heavy modules are imported on first use, so that `import mien` and `mien --help` answer at once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.api import Result, anonymize, anonymize_dataset, evaluate
    from mien.errors import MienError
    from mien.recipe import Recipe

__all__ = ["MienError", "Recipe", "Result", "anonymize", "anonymize_dataset", "evaluate"]

# Threads with nothing to do sleep. Left to itself OpenMP waits awake, which gains nothing where mien has the cores for
# itself, and makes it three times as slow where another process wants them. Torch must not have been imported before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES = {"Result": "mien.api", "anonymize": "mien.api", "anonymize_dataset": "mien.api",
          "evaluate": "mien.api",
          "MienError": "mien.errors", "Recipe": "mien.recipe"}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mien' has no attribute {name!r}")

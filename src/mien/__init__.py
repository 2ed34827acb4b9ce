"""mien: the same photographs, with people who do not exist.

    import mien

    result = mien.anonymize(image)              # [H, W, 3] uint8 RGB -> Result(image, faces)
    mien.anonymize_dataset("photos", "public")  # a folder; the same call again goes on where it stopped
    mien.evaluate("photos", "public")           # can anyone be found again, are the data still good

The names in `__all__` are the public interface. Everything else may change in any version. They are imported on first
use, so that `import mien` is quick; it changes nothing in the process.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mien import errors

if TYPE_CHECKING:
    from mien.anonymizer.image_anonymizer import Anonymizer, Result
    from mien.api import anonymize, anonymize_dataset, evaluate
    from mien.errors import MienError
    from mien.evaluation.evaluation import Evaluation
    from mien.jobs.executors.workers import Workers
    from mien.jobs.progress import Progress
    from mien.jobs.summary import Summary
    from mien.recipe import Recipe
    from mien.types import FaceOutcome

    __version__: str

__all__ = ["Anonymizer", "Evaluation", "FaceOutcome", "MienError", "Progress", "Recipe", "Result", "Summary", "Workers",
           "__version__", "anonymize", "anonymize_dataset", "errors", "evaluate"]

logging.getLogger(__name__).addHandler(logging.NullHandler())

_MODULES = {
    "Anonymizer": "mien.anonymizer.image_anonymizer", "Result": "mien.anonymizer.image_anonymizer",
    "Evaluation": "mien.evaluation.evaluation", "FaceOutcome": "mien.types", "MienError": "mien.errors",
    "Progress": "mien.jobs.progress", "Recipe": "mien.recipe", "Summary": "mien.jobs.summary",
    "Workers": "mien.jobs.executors.workers",
    "anonymize": "mien.api", "anonymize_dataset": "mien.api", "evaluate": "mien.api"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mien")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'mien' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

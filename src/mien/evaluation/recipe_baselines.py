"""The originals anonymized by a recipe, to hold another set against: a run of its own, kept and gone on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mien.anonymizer.load import Loaded
from mien.datasets.dataset import Dataset
from mien.evaluation.work_folder import key_of
from mien.jobs.request import Request
from mien.jobs.run import Progress, Run
from mien.recipe import Recipe


def make_recipe_set(recipe: Recipe, root: Path, names: Sequence[str], folder: Path, ready: Loaded,
                    progress: Callable[[int, int], None] = lambda done, total: None) -> list[Path]:
    """Anonymize what is not anonymized yet.

    Args:
        recipe: settled. root, names: the originals. folder: where sets are kept. ready: the recipe's own.

    Returns:
        The file of every photograph; of one that cannot be read it is not there.

    Raises:
        OutputError: the folder cannot be written.
    """
    target = folder / f"recipe-{recipe.name}-{key_of([recipe.hash, ready.weights, list(names)])}"
    request = Request(root, target, target.with_name(f"{target.name}.work"), recipe,
                      Dataset("folder", root, list(names)), weights=ready.weights)

    def tell(event: Progress) -> None:
        progress(event.photos, event.total)

    outputs = Run(request, ready.networks, ready.pool).execute(tell).outputs
    return [target / outputs.get(name, name) for name in names]

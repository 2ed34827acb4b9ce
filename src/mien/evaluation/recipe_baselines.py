"""Makes baselines by recipes: the originals anonymized by a run of its own, which is kept and can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mien.anonymizer.load import Loaded
from mien.datasets.dataset import Dataset
from mien.evaluation.progress_callbacks import CountProgress
from mien.evaluation.work_folder import key_of
from mien.jobs.progress import Progress
from mien.jobs.request import Request
from mien.jobs.run import Run
from mien.recipe import Recipe


def make_recipe_baseline(recipe: Recipe, root: Path, names: Sequence[str], folder: Path, loaded: Loaded,
                         progress: CountProgress = lambda done, total: None) -> list[Path]:
    """Anonymizes the photographs that are not anonymized yet.

    Unlike a run for its owner it is repeatable: without a seed in the recipe it takes 0.

    Args:
        recipe: with its precision settled. root, names: the originals. folder: where baselines are kept.
        loaded: networks and pool of the recipe.

    Returns:
        The file of every photograph; it does not exist where the original cannot be read.

    Raises:
        OutputError: the folder cannot be written.
    """
    if recipe.seed is None:
        recipe = recipe.with_changes({"seed": 0})
    target = folder / f"recipe-{recipe.name}-{key_of([recipe.hash, loaded.weights, list(names)])}"
    request = Request(root, target, target.with_name(f"{target.name}.work"), recipe,
                      Dataset("folder", root, list(names)), weights=loaded.weights)

    def tell(event: Progress) -> None:
        progress(event.photos, event.total)

    outputs = Run(request, loaded.networks, loaded.pool).execute(tell).outputs
    return [target / outputs.get(name, name) for name in names]

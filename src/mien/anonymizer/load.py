"""Prepares what a run needs before its first photo: fetches weights, loads the networks, loads or builds the pool."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mien.anonymizer.pool import Pool, PoolProgress, build_pool, load_pool, pool_key
from mien.errors import OutputError
from mien.models.bundle import Networks
from mien.models.hub.cache import cache_folder
from mien.models.hub.fetch import FetchProgress
from mien.models.model_sets import model_set
from mien.recipe import PoolSettings, Recipe
from mien.util.devices import CPU, open_device
from mien.util.locks import locked


@dataclass(frozen=True)
class Loaded:
    """Holds the networks, the pool, and the SHA-256 of every weights file that decides the result, by name."""

    networks: Networks
    pool: Pool
    weights: dict[str, str]


def pool_name(recipe: Recipe, weights: dict[str, str]) -> str:
    """Computes the cache name of a recipe's pool from its settings and from all weights that its numbers depend on."""
    joined = "".join(weights[name] for name in model_set(recipe.models, recipe.features).pool)
    return pool_key(recipe.pool, hashlib.sha256(joined.encode()).hexdigest())


def prepare(recipe: Recipe, fetching: FetchProgress | None = None,
            building: PoolProgress = lambda done, total: None, device: str = "auto") -> Loaded:
    """Fetches missing weights, loads the networks, and loads or builds the pool.

    Args:
        fetching: called with the progress of fetching. building: called with pool faces built so far and in all.
        device: the device that the networks compute on, see `mien.util.devices`.

    Raises:
        FetchError, ModelError: weights cannot be fetched or loaded. OutputError: the cache cannot be written.
        UsageError: there is no such device.
    """
    recipe, opened = recipe.settled(device), open_device(device)
    chosen = model_set(recipe.models, recipe.features, recipe.detect.network)
    paths = chosen.gather(fetching)
    networks = chosen.load(paths, recipe.detect.score, recipe.precision, opened)
    weights = chosen.hashes()
    folder, key = cache_folder() / "pools", pool_name(recipe, weights)
    key += "" if opened == CPU else f"-{opened.type}"  # a GPU rounds differently; all CPUs build the same bytes
    # Built with the default detector, score and precision: those of the photos must not decide what is in the pool.
    pool = load_pool(folder, key)
    if pool is None:
        builders = model_set(recipe.models, recipe.features).load(paths, device=opened)
        pool = _build(builders, recipe.pool, folder, key, building)
    return Loaded(networks, pool, weights)


def _build(networks: Networks, settings: PoolSettings, folder: Path, key: str, building: PoolProgress) -> Pool:
    """Builds the pool. Of several runs that start together one builds it, and the others wait."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{key}.lock", patience=None):
            return load_pool(folder, key) or build_pool(networks, settings, folder, key, building)
    except OSError as error:
        raise OutputError(f"cannot keep the pool in {folder}: {error.strerror or error}",
                          "set MIEN_CACHE to a folder with room (about 100 MB)") from error

"""Everything a run needs before its first photo: weights in the cache, networks loaded, pool built."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mien.anonymizer.pool import Pool, build_pool, load_pool, pool_key
from mien.errors import OutputError
from mien.models.bundle import Networks
from mien.models.hub.cache import cache_folder, locked
from mien.models.hub.fetch import FetchProgress as FetchProgress
from mien.models.model_sets import model_set
from mien.recipe import PoolSettings, Recipe
from mien.util.devices import CPU, open_device

PoolProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Loaded:
    """Loaded networks, the pool, and the SHA-256 of every weights file that decides the result."""

    networks: Networks
    pool: Pool
    weights: dict[str, str]


def pool_name(recipe: Recipe, weights: dict[str, str]) -> str:
    """The cache's name of a recipe's pool: settings and all weights that its numbers come from."""
    joined = "".join(weights[name] for name in model_set(recipe.models, recipe.features).pool)
    return pool_key(recipe.pool, hashlib.sha256(joined.encode()).hexdigest())


def prepare(recipe: Recipe, fetching: FetchProgress | None = None,
            building: PoolProgress = lambda done, total: None, device: str = "auto") -> Loaded:
    """Fetch what is missing, load the networks, load or build the pool.

    Args:
        device: that the networks compute on, see `mien.util.devices`.

    Raises:
        FetchError, ModelError: weights cannot be had. OutputError: the cache cannot be written. UsageError: there is
            no such device.
    """
    recipe, place = recipe.settled(device), open_device(device)
    chosen = model_set(recipe.models, recipe.features, recipe.detect.network)
    paths = chosen.gather(fetching)
    networks = chosen.load(paths, recipe.detect.score, recipe.precision, place)
    weights = chosen.hashes()
    folder, key = cache_folder() / "pools", pool_name(recipe, weights)
    key += "" if place == CPU else f"-{place.type}"  # whose sums are others: processors' runs are equal byte by byte
    # The pool's own networks: who finds a photo's faces, and how surely, must not decide who its people are.
    pool = load_pool(folder, key)
    if pool is None:
        usual = model_set(recipe.models, recipe.features).load(paths, device=place)
        pool = _build(usual, recipe.pool, folder, key, building)
    return Loaded(networks, pool, weights)


def _build(networks: Networks, settings: PoolSettings, folder: Path, key: str, building: PoolProgress) -> Pool:
    """Build the pool. Of several runs that start together one builds, the others wait for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{key}.lock", lambda: None):
            return load_pool(folder, key) or build_pool(networks, settings, folder, key, building)
    except OSError as error:
        raise OutputError(f"cannot keep the pool in {folder}: {error.strerror or error}",
                          "set MIEN_CACHE to a folder with room (about 100 MB)") from error

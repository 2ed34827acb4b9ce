"""The features command: what the paper pairs by, in a file that anybody can read, or make with their own network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mien.errors import UsageError
from mien.images.encode import write_bytes
from mien.models.hub.cache import sha256_of
from mien.steps.context import StepContext
from mien.steps.face_folder import CROP, EMBEDDINGS, FaceFolder, listed
from mien.util.image_tensors import to_tensor

SAVED = 256  # faces between two writings; a killed command loses at most so many


@dataclass(frozen=True)
class _File:
    """The rows [N, E] of a file and, where it says so: whose they are, of which crops (SHA-256), by which weights."""

    rows: Tensor
    names: list[str] | None
    crops: list[str]
    weights: str


@torch.inference_mode()
def embed_tray(folder: Path, kit: StepContext, again: bool) -> None:
    """Compute the embeddings of all crops that are not in the file yet, as they are and by the same network.

    Raises:
        UsageError: there are no crops, or the file is damaged.
    """
    tray = FaceFolder(folder)
    names, path = tray.names(), tray.folder / EMBEDDINGS
    tray.missing(names, CROP, "crop", "align PHOTO")
    weights = "-".join(sorted(kit.weights.values()))
    crops = {name: sha256_of(tray.path(name, CROP)) for name in names}
    rows = {} if again or not path.exists() else _kept(_read(path), crops, weights)
    kept = len(rows)
    todo = [name for name in names if name not in rows]
    for first in range(0, len(todo), kit.recipe.batch):
        batch = todo[first : first + kit.recipe.batch]
        pixels = np.stack([tray.crop(name, tray.record(name)).pixels for name in batch])
        there = to_tensor(pixels).to(kit.networks.device)
        rows |= zip(batch, kit.networks.features.embed(there).cpu(), strict=True)
        if first // SAVED != (first + len(batch)) // SAVED:
            _write(path, rows, crops, weights)
            kit.say(f"features: {first + len(batch)}/{len(todo)}")
    _write(path, {name: rows[name] for name in names}, crops, weights)
    kit.say(f"{len(todo)} embeddings made, {kept} kept: {path}")


def _kept(file: _File, crops: dict[str, str], weights: str) -> dict[str, Tensor]:
    """Rows that are still right: of the crops as they are, by these weights."""
    if file.weights != weights or file.names is None:
        return {}
    rows = zip(file.names, file.crops, file.rows, strict=True)
    return {name: row for name, crop, row in rows if crops.get(name) == crop}


def read_embeddings(path: Path, names: list[str] | int) -> Tensor:
    """Embeddings [N, E] of a file, for some faces by name, or for so many pool faces by number.

    The file holds a tensor `embeddings`; where it says `names` (a JSON list in its metadata), rows go by them,
    else by their order.

    Raises:
        UsageError: the file is damaged or does not fit; the message names it.
    """
    file = _read(path)
    count = names if isinstance(names, int) else len(names)
    if file.names is None or isinstance(names, int):
        if len(file.rows) != count:
            raise UsageError(f"{path} has {len(file.rows)} embeddings for {count} faces", "make it anew")
        return file.rows
    places = {name: i for i, name in enumerate(file.names)}
    lacking = [name for name in names if name not in places]
    if lacking:
        raise UsageError(f"{path} has no embedding of {listed(lacking)}", "run: mien features FOLDER")
    return file.rows[[places[name] for name in names]]


def _read(path: Path) -> _File:
    try:
        with safe_open(path, "pt") as file:
            rows = file.get_tensor("embeddings").float()
            said = file.metadata() or {}
            names, crops = (json.loads(said.get(key, "null")) for key in ("names", "crops"))
    except (OSError, SafetensorError, ValueError) as error:
        raise UsageError(f"{path} holds no embeddings: {error}", "run: mien features FOLDER") from error
    crops = [""] * len(rows) if crops is None else crops
    if rows.ndim != 2 or 0 in rows.shape or not torch.isfinite(rows).all():
        raise UsageError(f"{path}: embeddings must be finite numbers [N, E], not {list(rows.shape)}")
    if not all(part is None or _is_list(part, len(rows)) for part in (names, crops)):
        raise UsageError(f"{path} must have one name and one crop's hash for each of its {len(rows)} embeddings")
    return _File(rows, names, crops, said.get("weights", ""))


def _is_list(value: object, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(isinstance(one, str) for one in value)


def _write(path: Path, rows: dict[str, Tensor], crops: dict[str, str], weights: str) -> None:
    said = {"names": json.dumps(list(rows)), "crops": json.dumps([crops[name] for name in rows]), "weights": weights}
    write_bytes(path, save({"embeddings": torch.stack(list(rows.values()))}, said))

"""The features step: embeddings of face crops, in which FALCO pairs faces, as a safetensors file.

`mien steps pair --by` also reads such files made with other networks: a tensor `embeddings` [N, E] is enough.
"""

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
from mien.models.hub.cache import sha256_of
from mien.steps.context import StepContext
from mien.steps.face_folder import CROP, EMBEDDINGS, FaceFolder, listed
from mien.util.files import write_file
from mien.util.image_tensors import to_tensor

SAVE_EVERY = 256  # faces between two writes: the most that a killed command loses
REMAKE = "run: mien steps features FOLDER"


@dataclass(frozen=True)
class _File:
    """The content of an embeddings file: rows [N, E]; if given, names of faces, SHA-256 of crops and of the weights."""

    rows: Tensor
    names: list[str] | None
    crops: list[str]
    weights: str


@torch.inference_mode()
def embed_folder(folder: Path, context: StepContext, again: bool) -> None:
    """Computes the embeddings of all crops. Rows of the file are kept if crop and network are unchanged.

    Raises:
        UsageError: the folder has no crops, or the file is damaged.
    """
    face_folder = FaceFolder(folder)
    names, path = face_folder.names(), face_folder.folder / EMBEDDINGS
    face_folder.require(names, CROP, "crop", "align PHOTO")
    weights = "-".join(sorted(context.weights.values()))
    crops = {name: sha256_of(face_folder.path(name, CROP)) for name in names}
    rows = {} if again or not path.exists() else _kept(_read(path), crops, weights)
    kept = len(rows)
    todo = [name for name in names if name not in rows]
    for first in range(0, len(todo), context.recipe.batch):
        batch = todo[first : first + context.recipe.batch]
        pixels = np.stack([face_folder.crop(name, face_folder.record(name)).pixels for name in batch])
        there = to_tensor(pixels).to(context.networks.device)
        rows |= zip(batch, context.networks.features.embed(there).cpu(), strict=True)
        if first // SAVE_EVERY != (first + len(batch)) // SAVE_EVERY:
            _write(path, rows, crops, weights)
            context.say(f"features: {first + len(batch)}/{len(todo)}")
    _write(path, {name: rows[name] for name in names}, crops, weights)
    context.say(f"{len(todo)} embeddings made, {kept} kept: {path}")


def _kept(file: _File, crops: dict[str, str], weights: str) -> dict[str, Tensor]:
    """Gives the rows that are still valid: of crops that did not change, by these weights."""
    if file.weights != weights or file.names is None:
        return {}
    rows = zip(file.names, file.crops, file.rows, strict=True)
    return {name: row for name, crop, row in rows if crops.get(name) == crop}


def read_embeddings(path: Path, names: list[str] | int) -> Tensor:
    """Reads the embeddings [N, E] of faces from a safetensors file with a tensor `embeddings`.

    Args:
        names: the faces' names, or the number of pool faces. Names are looked up in the JSON list `names` in the file's
            metadata; without that list, rows are taken in order.

    Raises:
        UsageError: the file is damaged or does not fit; the message names it.
    """
    file = _read(path)
    count = names if isinstance(names, int) else len(names)
    if file.names is None or isinstance(names, int):
        if len(file.rows) != count:
            raise UsageError(f"{path} has {len(file.rows)} embeddings for {count} faces",
                             "make the file again with one embedding for each face")
        return file.rows
    places = {name: i for i, name in enumerate(file.names)}
    lacking = [name for name in names if name not in places]
    if lacking:
        raise UsageError(f"{path} has no embedding of {listed(lacking)}", REMAKE)
    return file.rows[[places[name] for name in names]]


def _read(path: Path) -> _File:
    try:
        with safe_open(path, "pt") as file:
            rows = file.get_tensor("embeddings").float()
            said = file.metadata() or {}
            names, crops = (json.loads(said.get(key, "null")) for key in ("names", "crops"))
    except (OSError, SafetensorError, ValueError) as error:
        raise UsageError(f"{path} holds no embeddings: {error}", REMAKE) from error
    crops = [""] * len(rows) if crops is None else crops
    if rows.ndim != 2 or 0 in rows.shape or not torch.isfinite(rows).all():
        raise UsageError(f"{path}: embeddings must be finite numbers [N, E], not {list(rows.shape)}", REMAKE)
    if not all(part is None or _is_list(part, len(rows)) for part in (names, crops)):
        raise UsageError(f"{path} must have one name and one crop's hash for each of its {len(rows)} embeddings",
                         REMAKE)
    return _File(rows, names, crops, said.get("weights", ""))


def _is_list(value: object, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(isinstance(one, str) for one in value)


def _write(path: Path, rows: dict[str, Tensor], crops: dict[str, str], weights: str) -> None:
    said = {"names": json.dumps(list(rows)), "crops": json.dumps([crops[name] for name in rows]), "weights": weights}
    write_file(path, save({"embeddings": torch.stack(list(rows.values()))}, said))

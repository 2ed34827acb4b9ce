"""The features command: what the paper pairs by, in a file that anybody can read, or make with their own network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mien.errors import UsageError
from mien.geometry import to_tensor
from mien.stage_commands.kit import Kit
from mien.stages.export import write_bytes
from mien.tray import CROP, EMBEDDINGS, Tray, listed

SAVED = 256  # faces between two writings; a killed command loses at most so many
Rows = dict[str, Tensor]


@torch.inference_mode()
def embed_tray(folder: Path, kit: Kit, again: bool) -> None:
    """Compute the embeddings of all crops that are not in the file yet.

    Raises:
        UsageError: there are no crops, or the file is damaged.
    """
    tray = Tray(folder)
    names, path = tray.names(), tray.folder / EMBEDDINGS
    tray.missing(names, CROP, "crop", "align PHOTO")
    rows = _named(path) if path.exists() and not again else {}
    rows = {name: rows[name] for name in names if name in rows}
    todo = [name for name in names if name not in rows]
    for first in range(0, len(todo), kit.recipe.batch):
        batch = todo[first : first + kit.recipe.batch]
        crops = np.stack([tray.crop(name, tray.record(name)).pixels for name in batch])
        rows |= zip(batch, kit.networks.features.embed(to_tensor(crops)), strict=True)
        if first // SAVED != (first + len(batch)) // SAVED:
            _write(path, rows)
            kit.say(f"features: {first + len(batch)}/{len(todo)}")
    _write(path, {name: rows[name] for name in names})
    kit.say(f"{len(todo)} embeddings made, {len(names) - len(todo)} kept: {path}")


def read_embeddings(path: Path, names: list[str] | int) -> Tensor:
    """Embeddings [N, E] of a file, for some faces by name, or for so many pool faces by number.

    The file holds a tensor `embeddings`; where it says `names` (a JSON list in its metadata), rows go by them,
    else by their order.

    Raises:
        UsageError: the file is damaged or does not fit; the message names it.
    """
    values, named = _read(path)
    count = names if isinstance(names, int) else len(names)
    if named is None or isinstance(names, int):
        if len(values) != count:
            raise UsageError(f"{path} has {len(values)} embeddings for {count} faces", "make it anew")
        return values
    places = {name: i for i, name in enumerate(named)}
    lacking = [name for name in names if name not in places]
    if lacking:
        raise UsageError(f"{path} has no embedding of {listed(lacking)}", "run: mien features FOLDER")
    return values[[places[name] for name in names]]


def _named(path: Path) -> Rows:
    values, names = _read(path)
    if names is None:
        raise UsageError(f"{path} does not say whose its embeddings are", "run: mien features --again FOLDER")
    return dict(zip(names, values, strict=True))


def _read(path: Path) -> tuple[Tensor, list[str] | None]:
    """The rows of a file, and their names where it has them."""
    try:
        with safe_open(path, "pt") as file:
            values = file.get_tensor("embeddings").float()
            names = json.loads((file.metadata() or {}).get("names", "null"))
    except (OSError, SafetensorError, ValueError) as error:
        raise UsageError(f"{path} holds no embeddings: {error}", "run: mien features FOLDER") from error
    fits = names is None or (isinstance(names, list) and len(names) == len(values))
    if values.ndim != 2 or not fits or not torch.isfinite(values).all():
        raise UsageError(f"{path}: embeddings must be [N, E], finite, one a name, not {list(values.shape)}")
    return values, names


def _write(path: Path, rows: Rows) -> None:
    write_bytes(path, save({"embeddings": torch.stack(list(rows.values()))}, {"names": json.dumps(list(rows))}))

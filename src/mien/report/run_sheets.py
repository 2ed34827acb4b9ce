"""Draws contact sheets of a finished run, for the owner: original, inversion, pool face, new face, finished photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mien.anonymizer.align import SIZE, align
from mien.anonymizer.invert import invert
from mien.anonymizer.load import Loaded
from mien.anonymizer.losses import faces_of
from mien.anonymizer.render import render
from mien.errors import PhotoError, UsageError
from mien.jobs.published import refuse_published
from mien.jobs.shard import SHARD, SHARD_SIZE
from mien.jobs.state import known_files
from mien.models.bundle import Networks
from mien.recipe import Recipe
from mien.report.before_after import read_original_and_result
from mien.report.contact_sheet import Row, write_contact_sheets
from mien.report.read_run import read_faces
from mien.types import Face, Pixels
from mien.util.files import error_text, read_object, write_errors

COLUMNS = ("original", "inversion", "pair", "new face", "in the photo")


def write_sheets(src: Path, dst: Path, work: Path, out: Path, loaded: Loaded, recipe: Recipe,
                 every: int = 1) -> list[Path]:
    """Writes sheets of every n-th anonymized face to OUT/sheet-001.png and so on.

    Args:
        loaded: the run's networks and pool. recipe: the run's; faces that the run did not invert are inverted by it.

    Raises:
        UsageError: WORK does not hold a finished run, or another version of mien made it.
        OutputError: OUT cannot be written.
    """
    chosen = list(_anonymized_faces(work))[::every]
    if not chosen:
        raise UsageError(f"no anonymized face with its codes in {work}", "give SRC, DST and WORK of a finished run")
    rows = (row for face in chosen for row in _draw(src, dst, loaded, recipe, *face))
    refuse_published(out)
    with write_errors(out):
        out.mkdir(mode=0o700, parents=True, exist_ok=True)  # it shows originals
    return list(write_contact_sheets(out, rows, COLUMNS))


def _draw(src: Path, dst: Path, loaded: Loaded, recipe: Recipe, row: dict[str, Any], codes: dict[str, torch.Tensor],
          index: int) -> Iterator[Row]:
    """Yields the pictures and the caption of a face, or nothing where its photographs cannot be read."""
    try:
        original, new = read_original_and_result(row["file"], src, dst)
    except PhotoError:
        return
    face = Face((row["x"], row["y"], row["width"], row["height"]), np.array(row["points"], dtype=np.float32), 1.0)
    crop = align(original.pixels, face)
    if "inversion" not in codes:
        faces = faces_of(loaded.networks, [face], [crop])
        codes["inversion"] = invert(loaded.networks, faces, recipe.invert).codes[0]
    yield ([crop.pixels, *_generated_pictures(loaded, codes, index), align(new.pixels, face).pixels],
           f"{row['file']} face {row['face']}: judge {row['judge_distance']:.2f}, "
           f"cosine {row['similarity']:.2f}, attempts {row['attempts']}")


def _anonymized_faces(work: Path) -> Iterator[tuple[dict[str, Any], dict[str, torch.Tensor], int]]:
    """Yields the private table's row, codes and pool index of each anonymized face."""
    table, names = read_faces(work), known_files(work)
    places = {name: i for i, name in enumerate(names)}
    size = read_object(work / "run.json").get(SHARD_SIZE, SHARD)
    shards: dict[int, dict[str, torch.Tensor]] = {}
    for row in table:
        if row["status"] != "anonymized" or row["file"] not in places:
            continue
        shard, place = divmod(places[row["file"]], size)
        if shard not in shards:
            shards = {shard: _codes(work / "latents" / f"{shard:06d}.safetensors")}
        key = f"{place}.{row['face']}"
        if f"{key}.pair" in shards[shard]:
            codes = {kind: shards[shard][f"{key}.{kind}"].float() for kind in ("inversion", "result")
                     if f"{key}.{kind}" in shards[shard]}
            yield row, codes, int(shards[shard][f"{key}.pair"])


def _codes(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path} is missing or damaged: {error_text(error)}",
                         "give the WORK of this run, as it left it") from error


def _generated_pictures(loaded: Loaded, codes: dict[str, torch.Tensor], index: int) -> Sequence[Pixels]:
    paired = loaded.pool.codes[index].expand(loaded.networks.generator.n_layers, -1)
    return [_render_small(loaded.networks, one) for one in (codes["inversion"], paired, codes["result"])]


def _render_small(networks: Networks, codes: torch.Tensor) -> Pixels:
    picture = render(networks, codes[None])[0]
    return np.asarray(cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA), dtype=np.uint8)

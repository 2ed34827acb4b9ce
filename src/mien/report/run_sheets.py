"""Contact sheets of a finished run, for the owner's eyes: original, inversion, pair, new face, and its photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import load_file

from mien.anonymizer.align import SIZE, align
from mien.anonymizer.invert import invert
from mien.anonymizer.load import Loaded
from mien.anonymizer.losses import faces_of
from mien.anonymizer.render import render
from mien.errors import PhotoError, UsageError
from mien.images.decode import read_photo
from mien.jobs.shard import SHARD, SHARD_SIZE
from mien.jobs.state import JobState
from mien.models.bundle import Networks
from mien.recipe import Recipe
from mien.report.contact_sheet import pages
from mien.types import Face, Pixels
from mien.util.files import read_object

HEADINGS = ("original", "inversion", "pair", "new face", "in the photo")


def write_sheets(src: Path, dst: Path, work: Path, out: Path, ready: Loaded, recipe: Recipe,
                 every: int = 1) -> list[Path]:
    """Write sheets of every n-th anonymized face to OUT/sheet-001.png and so on.

    Args:
        recipe: the run's; by it faces are inverted whose inversion the run did not need.

    Raises:
        UsageError: DST or WORK does not hold a finished run.
    """
    chosen = list(_faces(dst, work))[::every]
    if not chosen:
        raise UsageError(f"no anonymized face with its codes in {work}", "give SRC, DST and WORK of a finished run")
    rows, captions = [], []
    root = src if src.is_dir() else src.parent
    for row, codes, index in chosen:
        try:
            original = read_photo(root / row["file"], row["file"])
            new = read_photo(_output(dst, row["file"]), row["file"])
        except PhotoError:
            continue
        face = Face((row["x"], row["y"], row["width"], row["height"]), np.array(row["points"], dtype=np.float32), 1.0)
        crop = align(original.pixels, face)
        if "inversion" not in codes:
            seen = faces_of(ready.networks, [face], [crop])
            codes["inversion"] = invert(ready.networks, seen, recipe.invert).codes[0]
        rows.append([crop.pixels, *_pictures(ready, codes, index), align(new.pixels, face).pixels])
        captions.append(f"{row['file']} face {row['face']}: judge {row['judge_distance']:.2f}, "
                        f"cosine {row['similarity']:.2f}, attempts {row['attempts']}")
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, page in enumerate(pages(rows, HEADINGS, captions), 1):
        paths.append(out / f"sheet-{number:03d}.png")
        Image.fromarray(page).save(paths[-1])
    return paths


def _faces(dst: Path, work: Path) -> Iterator[tuple[dict[str, Any], dict[str, torch.Tensor], int]]:
    """Manifest row, codes and pool index of each anonymized face."""
    try:
        names = JobState(dst, work).files([])
        table = pq.read_table(dst / "mien.parquet").to_pylist()
    except (OSError, ValueError) as error:
        raise UsageError(f"{dst} holds no finished run: {error}") from error
    places = {name: i for i, name in enumerate(names)}
    size = read_object(work / "run.json").get(SHARD_SIZE, SHARD)
    shards: dict[int, dict[str, torch.Tensor]] = {}
    for row in table:
        if row["status"] != "anonymized" or row["file"] not in places:
            continue
        shard, place = divmod(places[row["file"]], size)
        if shard not in shards:
            shards = {shard: load_file(work / "latents" / f"{shard:06d}.safetensors")}
        key = f"{place}.{row['face']}"
        if f"{key}.pair" in shards[shard]:
            codes = {kind: shards[shard][f"{key}.{kind}"].float() for kind in ("inversion", "result")
                     if f"{key}.{kind}" in shards[shard]}
            yield row, codes, int(shards[shard][f"{key}.pair"])


def _pictures(ready: Loaded, codes: dict[str, torch.Tensor], index: int) -> Sequence[Pixels]:
    paired = ready.pool.codes[index].expand(ready.networks.generator.n_layers, -1)
    return [_small(ready.networks, one) for one in (codes["inversion"], paired, codes["result"])]


def _small(networks: Networks, codes: torch.Tensor) -> Pixels:
    picture = render(networks, codes[None])[0]
    return np.asarray(cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _output(dst: Path, name: str) -> Path:
    return dst / name if (dst / name).exists() else dst / f"{name}.png"

"""Nothing in DST tells a distance, a point, a seed or the secret of a run, whatever form the dataset has."""

from __future__ import annotations

import base64
import io
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import mien
from helpers import containers, drawn_datasets, fake_run
from helpers.fake_run import ANNA, CLEO, TINY, album, save, squares
from helpers.made_up_runs import Page
from mien.jobs.secret import SECRET
from mien.recipe import Recipe
from mien.types import Face

SEED = 987_654_321
SCORE = 0.912345
RECIPE = Recipe(**(TINY.model_dump() | {"seed": None}))


def saved(root: Path) -> Path:
    """Writes what `datasets.Dataset.save_to_disk` writes."""
    import datasets

    table = containers.rows(0, 6)
    features = datasets.Features(image=datasets.Image(), label=datasets.Value("int64"),
                                 caption=datasets.Value("string"))
    datasets.Dataset(table.replace_schema_metadata(None)).cast(features).save_to_disk(root)
    return root


DRAW: dict[str, Callable[[Path], Path]] = {
    "folder": lambda root: album(root, 8), "celeba": drawn_datasets.celeba, "celebahq": drawn_datasets.celebahq,
    "lfw": drawn_datasets.lfw, "imagefolder": drawn_datasets.image_folder,
    "tars": lambda root: containers.tars(root, {"train-000000.tar": 4, "val-000000.tar": 2}),
    "parquet": lambda root: containers.parquets(root, 4), "save_to_disk": saved}


@pytest.fixture(autouse=True)
def telling_faces(brush: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces are found at fractions of a pixel that occur nowhere else."""
    found = fake_run._found

    def shifted(photo: Any, blue: int) -> list[Face]:
        return [Face((x + 0.371, y + 0.413, w + 0.117, h + 0.259), one.points + np.float32(0.1237), SCORE)
                for one in found(photo, blue) for x, y, w, h in (one.box,)]

    monkeypatch.setattr(fake_run, "_found", shifted)


def numbers(summary: mien.Summary) -> set[float]:
    """All that a run knows of its faces and that is nobody else's to know."""
    known: set[float] = set()
    for row in summary.outcomes:
        measured = [row.similarity, row.judge_distance, row.attribute_distance, row.score]
        known |= {value for value in measured if value is not None} | set(np.ravel(row.points).tolist()) | set(row.box)
    return {value for value in known if round(value, 2) != round(value, 6)}


def texts(value: float) -> set[str]:
    """A number to three places, rounded and cut off: whatever else is written of it begins so."""
    return {f"{value:.3f}", f"{math.floor(value * 1000) / 1000:.3f}"}


def columns(path: Path) -> Iterator[Any]:
    """The values of a Parquet file, however nested."""
    def leaves(value: Any) -> Iterator[Any]:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else None
        if parts is None:
            yield value
        for part in parts or ():
            yield from leaves(part)

    for column in pq.read_table(path).to_pydict().values():
        yield from leaves(column)


def contents(dst: Path) -> Iterator[tuple[str, bytes, list[float]]]:
    """Name, bytes and numbers of every file; of Parquet files, whose pages are packed, all values as text."""
    for path in sorted(one for one in dst.rglob("*") if one.is_file()):
        if path.suffix != ".parquet":
            yield path.name, path.read_bytes(), []
            continue
        buffer, floats = io.BytesIO(str(pq.read_schema(path).metadata).encode()), list[float]()
        for value in columns(path):
            buffer.write(value if isinstance(value, bytes) else f" {value} ".encode())
            floats += [value] if isinstance(value, float) else []
        yield path.name, buffer.getvalue(), floats


@pytest.mark.parametrize("form", DRAW)
def test_no_number_of_a_face_is_in_dst(tmp_path: Path, form: str) -> None:
    src, dst = DRAW[form](tmp_path / "src"), tmp_path / "dst"
    summary = mien.anonymize_dataset(src, dst, RECIPE)
    private = numbers(summary)
    assert len(private) >= 16 and SCORE in private  # or nothing is looked for
    secret = (tmp_path / "dst.work" / SECRET).read_bytes()
    hidden = [secret, secret.hex().encode(), base64.b64encode(secret)[:40]]
    hidden += [struct.pack(kind, value) for value in private for kind in ("<f", "<d", ">f", ">d")]
    hidden += [text.encode() for value in private for text in texts(value)]
    seen = set[str]()
    for name, data, floats in contents(dst):
        seen.add(name)
        assert not [one for one in hidden if one in data], name
        assert not [value for value in floats for one in private if abs(value - one) < 1e-3], name
    assert {"mien.json", "mien.parquet", "report.html"} < seen


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """In WORK, where all of it is."""
    summary = mien.anonymize_dataset(album(tmp_path / "src", 4), tmp_path / "dst", RECIPE)
    found = {name: floats for name, _, floats in contents(tmp_path / "dst.work")}["faces.parquet"]
    for value in numbers(summary):
        assert [one for one in found if abs(one - value) < 1e-3]


def test_the_public_page_has_no_distance_of_two_places_either(tmp_path: Path) -> None:
    """One face alone: the least, the median and the largest of a run would be its own."""
    save(tmp_path / "src" / "a.png", squares(ANNA, CLEO))
    summary = mien.anonymize_dataset(tmp_path / "src", tmp_path / "dst", RECIPE)
    html = (tmp_path / "dst" / "report.html").read_text()
    for row in summary.outcomes:
        assert row.judge_distance is not None and row.similarity is not None
        for value in (row.judge_distance, row.similarity):
            assert f"{math.floor(100 * value) / 100:.2f}" not in Page(html).text
    assert "<svg" not in html


def test_the_order_of_the_public_page_tells_nothing(tmp_path: Path) -> None:
    rows = [("c", 0.9), ("a", 1.2), ("b", 1.1)]  # all far
    from helpers.made_up_runs import face, run_of
    from mien.report.run_page import write_report

    pages = set()
    for distances in ([one for _, one in rows], [one for _, one in rows[::-1]]):
        outcomes = [face(f"{name}.png", distance=one) for (name, _), one in zip(rows, distances, strict=True)]
        write_report(tmp_path / "page.html", run_of(outcomes), Recipe())
        pages.add((tmp_path / "page.html").read_text())
    assert len(pages) == 1


def test_a_seed_is_in_dst_neither_itself_nor_by_a_hash_of_it(tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 5), tmp_path / "dst"
    recipe = RECIPE.with_changes({"seed": SEED})
    mien.anonymize_dataset(src, dst, recipe)
    mien.anonymize_dataset(src, tmp_path / "other", recipe.with_changes({"seed": 1}))
    hashes = set()
    for name, data, _ in [*contents(dst), *contents(tmp_path / "other")]:
        assert str(SEED).encode() not in data and recipe.hash.encode() not in data, name
        hashes |= {data[data.index(b'"recipe_hash"'):][:34]} if name == "mien.json" else set()
    assert len(hashes) == 1, "an owner's seed does not show in the hash"

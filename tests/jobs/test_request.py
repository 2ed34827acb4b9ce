"""What is asked of a run, and what of that its workers get."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from helpers import containers, drawn_datasets, fake_run
from helpers.fake_run import TINY
from mien.jobs.job import make_request

KEY = b"nobody may know!"


@pytest.mark.parametrize("draw", [drawn_datasets.celeba, lambda root: containers.tars(root, {"a.tar": 30}),
                                  containers.parquets])
def test_workers_get_what_they_need_and_neither_names_nor_key(tmp_path: Path, draw: object) -> None:
    src: Path = draw(tmp_path / "src")  # type: ignore[operator]
    recipe = TINY.with_changes({"identity": "per-person"})
    request = make_request(src, tmp_path / "dst", recipe, key=KEY)
    sent = pickle.dumps(request.for_workers())
    assert KEY not in sent and KEY in pickle.dumps(request)
    name = request.dataset.photos[-1]
    assert name.rpartition("/")[2].encode() not in sent
    worker: object = pickle.loads(sent)
    source = worker.dataset.reader  # type: ignore[attr-defined]
    assert source.stamp(name) == request.dataset.reader.stamp(name) is not None
    assert type(worker.writer) is type(request.writer)  # type: ignore[attr-defined]


def test_workers_keep_the_owner_s_regions(tmp_path: Path) -> None:
    fake_run.save(tmp_path / "src" / "a.png", fake_run.squares(fake_run.ANNA))
    only = tmp_path / "regions.csv"
    only.write_text("file,x,y,width,height\na.png,30,20,60,60\n")
    asked = make_request(tmp_path / "src", tmp_path / "dst", TINY, only=only)
    assert asked.for_workers().only == asked.only is not None

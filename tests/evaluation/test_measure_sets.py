"""Sets measured by the real evaluators, on generated people."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mien.evaluation import measure_sets as measuring
from mien.evaluation.measure_sets import measure_sets
from mien.evaluation.measurements import Measurements


def measure_set(originals: Sequence[Path], new: Sequence[Path], judges: Sequence[str], folder: Path,
                processes: int = 1) -> Measurements:
    """Measures one set alone."""
    return measure_sets(originals, {folder.name: new}, judges, folder.parent, processes)[folder.name]


def same(one: Measurements, other: Measurements) -> bool:
    return one.rows.tolist() == other.rows.tolist() and one.columns.keys() == other.columns.keys() and all(
        np.array_equal(x, other.columns[name], equal_nan=True) for name, x in one.columns.items())


def test_what_was_measured_is_not_measured_again(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted(source.rglob("*.png"))[:2]
    copies = [Path(shutil.copy(path, tmp_path / path.name)) for path in files]
    first = measure_set(files, copies, ("dlib",), tmp_path / "seen")

    def refuse(judges: object) -> None:
        raise AssertionError("measured again")

    with monkeypatch.context() as patch:
        patch.setattr("mien.evaluation.measure_sets.load_evaluators", refuse)
        again = measure_set(files, copies, ("dlib",), tmp_path / "seen")
        assert all(np.array_equal(again.columns[name], x, equal_nan=True) for name, x in first.columns.items())
        shutil.copy(files[1], copies[0])
        with pytest.raises(AssertionError, match="again"):
            measure_set(files, copies, ("dlib",), tmp_path / "seen")


def test_two_processes_measure_the_same(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted(source.rglob("*.png"))[:3]
    monkeypatch.setattr("mien.evaluation.measure_sets.PHOTOS_PER_FILE", 2)
    one, two = (measure_set(files, files, ("dlib",), tmp_path / str(n), processes=n) for n in (1, 2))
    assert one.columns.keys() == two.columns.keys() and one.rows.tolist() == two.rows.tolist() == [0, 1, 2]
    for name, x in one.columns.items():
        # Degrees and colors follow points that are rounded to pixels on their way.
        near = 0.1 if name in ("gaze", "pose", "skin", "iris", "light") else 1e-3
        assert np.allclose(x, two.columns[name], rtol=1e-3, atol=near, equal_nan=True), name


@pytest.fixture
def copies(source: Path, tmp_path: Path) -> list[Path]:
    """Five photographs that are no originals."""
    (tmp_path / "copies").mkdir()
    return [Path(shutil.copy(path, tmp_path / "copies")) for path in sorted(source.rglob("*.png"))[:5]]


def test_originals_are_read_once_for_all_sets(source: Path, copies: list[Path], tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted(source.rglob("*.png"))[:2]
    read, real = list[Path](), measuring.read_photo
    monkeypatch.setattr(measuring, "read_photo", lambda path, name: (read.append(path), real(path, name))[1])
    sets = {"originals": files, "one": copies[:2], "other": copies[1:3]}
    told: list[tuple[int, int]] = []
    found = measure_sets(files, sets, ("dlib",), tmp_path / "seen", progress=lambda *done: told.append(done))
    assert sorted(read) == sorted([*files, *copies[:2], *copies[1:3]]) and told == [(0, 6), (6, 6)]
    for name, new in sets.items():
        assert same(found[name], measure_set(files, new, ("dlib",), tmp_path / name))


def test_what_another_evaluation_has_measured_is_reused(source: Path, copies: list[Path], tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Other photographs, in another order; what has changed, or is in a damaged file, is measured."""
    monkeypatch.setattr(measuring, "PHOTOS_PER_FILE", 2)
    files, earlier = sorted(source.rglob("*.png"))[:5], tmp_path / "earlier"
    measure_set(files, copies, ("dlib",), earlier / "set")
    some = [3, 0, 1]
    originals, new = ([paths[place] for place in some] for paths in (files, copies))
    wanted = measure_set(originals, new, ("dlib",), tmp_path / "alone" / "set")
    measured, real = list[Path](), measuring._measure_photo
    monkeypatch.setattr(measuring, "_measure_photo", lambda *asked: (measured.append(asked[2]), real(*asked))[1])

    def again(folder: str) -> Measurements:
        return measure_sets(originals, {"set": new}, ("dlib",), tmp_path / folder, reuse=earlier)["set"]

    assert same(again("second"), wanted) and measured == []
    shutil.copy(files[4], copies[3])
    again("third")
    assert measured == [copies[3]]
    measured.clear()
    (earlier / "set" / "0000000.npz").write_bytes(b"PK")
    again("fourth")
    assert measured == new
    shutil.copy(files[2], copies[0])
    measure_set(files, copies, ("dlib",), earlier / "set")  # writes a file anew that was read before
    wanted = measure_set(originals, new, ("dlib",), tmp_path / "alone" / "set")
    measured.clear()
    assert same(again("anew"), wanted) and measured == [copies[3]]  # its size is not the original's


def test_no_file_s_name_is_in_a_reason(source: Path, tmp_path: Path) -> None:
    good = sorted(source.rglob("*.png"))[0]
    for name in ("Trip: Anna.jpg", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    found = measure_set([good, tmp_path / "b.png"], [tmp_path / "Trip: Anna.jpg", good], ("dlib",), tmp_path / "seen")
    assert len(found.skipped) == 2 and not any("Anna" in one.reason or "b.png" in one.reason for one in found.skipped)


def test_large_columns_stay_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.evaluation.measurements.LARGE", 100)
    monkeypatch.setattr("mien.evaluation.measurements.ROWS_AT_ONCE", 3)
    whole = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (20, 5))
    whole[:] = np.arange(100).reshape(20, 5)
    found = Measurements(np.arange(20), {"x": whole}, [])
    some = found.only([3, 1, 19, 7])
    assert isinstance(some.columns["x"], np.memmap) and np.array_equal(some.columns["x"], whole[[3, 1, 19, 7]])
    fewer = some.at(np.array([2, 0]))
    assert np.array_equal(fewer.columns["x"], whole[[19, 3]])
    assert not len(some.at(np.zeros(0, np.int64)).columns["x"])
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]

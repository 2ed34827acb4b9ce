from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.errors import UsageError
from mien.evaluation.lfw.pairs import read_lfw_pairs

COUNTS = {"Ann_A": 4, "Bo_B": 1, "Cy_C": 2, "Di_D": 3}


@pytest.fixture
def lfw(tmp_path: Path) -> Path:
    """Ten photographs of four people; nothing reads their pixels."""
    folder = tmp_path / "copy"
    for person, count in COUNTS.items():
        for number in range(1, count + 1):
            photo = folder / "lfw" / person / f"{person}_{number:04d}.jpg"
            photo.parent.mkdir(parents=True, exist_ok=True)
            photo.write_bytes(b"a photograph")
    return folder


def persons(names: list[str], rows: np.ndarray) -> list[tuple[str, ...]]:
    return [tuple(names[i].split("/")[-2] for i in row) for row in rows]


def test_all_pairs_are_drawn_where_there_are_few(lfw: Path) -> None:
    found = read_lfw_pairs(lfw)
    assert not found.listed and len(found.names) == 10 and (found.root / found.names[0]).is_file()
    assert len(found.mated) == 6 + 1 + 3 and len(found.non_mated) == 45 - 10
    for rows, same in ((found.mated, True), (found.non_mated, False)):
        assert len({tuple(sorted(row)) for row in rows.tolist()}) == len(rows)
        assert all((a == b) is same for a, b in persons(found.names, rows))
        assert ((found.people[rows[:, 0]] == found.people[rows[:, 1]]) == same).all()


def test_a_draw_is_of_all_people_and_depends_on_the_seed_alone(lfw: Path) -> None:
    some = read_lfw_pairs(lfw, 3, seed=1)
    assert sorted(a for a, _ in persons(some.names, some.mated)) == ["Ann_A", "Cy_C", "Di_D"]
    assert len(some.non_mated) == 3 and set(some.mated.ravel()) | set(some.non_mated.ravel()) == set(
        range(len(some.names)))
    again, other = read_lfw_pairs(lfw, 3, seed=1), [read_lfw_pairs(lfw, 3, seed=seed) for seed in range(2, 6)]
    assert again.names == some.names and (again.mated == some.mated).all() and (again.non_mated == some.non_mated).all()
    assert any(one.names != some.names for one in other)


def test_a_list_of_others_alone_is_said_to_be_of_no_use(lfw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lfw / "pairs.txt").write_text("1\t1\nXa_X\t1\t2\nXa_X\t1\tYb_Y\t1\n")
    found = read_lfw_pairs(lfw)
    assert not found.listed and found.absent == 2 and len(found.mated) and len(found.non_mated)


def test_the_list_s_own_pairs_are_taken_as_far_as_their_photographs_are_there(lfw: Path) -> None:
    (lfw / "pairs.txt").write_text("1\t3\nAnn_A\t1\t4\nDi_D\t1\t2\nDi_D\t2\t9\n"
                                   "Ann_A\t1\tBo_B\t1\nCy_C\t1\tZo_Z\t1\nCy_C\t2\tDi_D\t3\n")
    found = read_lfw_pairs(lfw)
    assert found.listed and found.absent == 2
    stems = [[tuple(Path(found.names[i]).stem for i in row) for row in rows] for rows in (found.mated, found.non_mated)]
    assert stems == [[("Ann_A_0001", "Ann_A_0004"), ("Di_D_0001", "Di_D_0002")],
                     [("Ann_A_0001", "Bo_B_0001"), ("Cy_C_0002", "Di_D_0003")]]
    assert len(found.names) == 7
    one = read_lfw_pairs(lfw, most=1)
    assert len(one.mated) == len(one.non_mated) == 1 and one.listed


def test_pairs_without_one_of_their_photographs_are_left_out(lfw: Path) -> None:
    found = read_lfw_pairs(lfw)
    kept = found.only({name for name in found.names if "Ann_A" not in name})
    assert len(kept.names) == 6 and len(kept.mated) == 4 and len(kept.non_mated) == 15 - 4
    assert all(a == b for a, b in persons(kept.names, kept.mated))


def test_folders_that_cannot_be_tested_are_refused(lfw: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no pair to compare.*two photographs of one person"):
        for photo in sorted(lfw.rglob("*_000[234].jpg")):
            photo.unlink()
        read_lfw_pairs(lfw)
    alone = tmp_path / "alone"
    for number in (1, 2):
        photo = alone / "Ann_A" / f"Ann_A_{number:04d}.jpg"
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(b"a photograph")
    with pytest.raises(UsageError, match="photographs of two people"):
        read_lfw_pairs(alone)
    (tmp_path / "nobody" / "lfw" / "one").mkdir(parents=True)
    (tmp_path / "nobody" / "lfw" / "one" / "picture.jpg").write_bytes(b"a photograph")
    with pytest.raises(UsageError, match="no person is named"):
        read_lfw_pairs(tmp_path / "nobody")
    with pytest.raises(UsageError):
        read_lfw_pairs(tmp_path / "nowhere")

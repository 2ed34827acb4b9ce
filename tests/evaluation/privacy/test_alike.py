from __future__ import annotations

import numpy as np

from mien.evaluation.privacy.alike import AGES, kinds_of_people
from mien.models.features.attribute_network import ATTRIBUTES


def attributes(*rows: tuple[str, ...]) -> np.ndarray:
    return np.array([[name in row for name in ATTRIBUTES] for row in rows])


def looks(man: list[float], age: list[float], group: list[int]) -> dict[str, np.ndarray]:
    return {"look_man": np.float32(man), "look_age": np.float32(age), "look_group": np.eye(5, dtype=np.float32)[group]}


def test_the_finest_level_is_first_and_each_level_lets_one_thing_go() -> None:
    columns = looks([0.9, 0.8, 0.7, 0.6, 0.9, 0.1], [25, 20, 20, 20, 45, 25], [0, 0, 0, 2, 0, 0])
    truth = attributes(("Black_Hair",), ("Black_Hair",), ("Gray_Hair", "Black_Hair"), (), (), ("Black_Hair",))
    kinds = kinds_of_people(columns, truth)
    alike = (kinds == kinds[0]).tolist()
    assert alike == [[True] * 4, [True] * 4, [False, True, True, True], [False, False, True, True],
                     [False, False, False, True], [False] * 4]


def test_the_bands_of_age() -> None:
    years = [0, 12.9, 13, 29, 30, 59, 60, 90]
    kinds = kinds_of_people(looks([0.9] * 8, years, [1] * 8), attributes(*[()] * 8))[:, -2]
    assert len(np.unique(kinds)) == len(AGES) + 1
    assert (kinds[0::2] == kinds[1::2]).all()


def test_a_face_without_a_value_is_like_no_other_kind() -> None:
    columns = looks([np.nan, 0.9, 0.1], [20, np.nan, 20], [0, 0, 0])
    columns["look_group"][2] = np.nan
    kinds = kinds_of_people(columns, attributes((), (), ()))
    assert all(len(np.unique(level)) == 3 for level in kinds.T[:3])

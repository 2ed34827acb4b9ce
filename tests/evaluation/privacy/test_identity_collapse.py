from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.evaluation.privacy.identity_collapse import MOST, count_identities, share_of_identities
from mien.evaluation.privacy.reidentification import thresholds


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed))


PEOPLE = np.repeat(np.arange(100), 3)
ORIGINALS = 4 * vectors(100)[PEOPLE] + vectors(300, 1)
LIMIT = thresholds(ORIGINALS, PEOPLE)[0][1e-3]


def test_real_people_are_about_as_many_as_they_are_and_one_face_is_one_person() -> None:
    share, faces = share_of_identities(ORIGINALS, PEOPLE, LIMIT)
    assert faces == 100 and 0.85 < share <= 1
    same = vectors(1, 2).expand(300, -1) + 0.01 * vectors(300, 3)
    assert share_of_identities(same, PEOPLE, LIMIT) == (pytest.approx(0.01), 100)


def test_it_does_not_depend_on_whether_people_are_linked() -> None:
    linked, apart = 4 * vectors(100, 4)[PEOPLE] + vectors(300, 5), 4 * vectors(300, 6) + vectors(300, 7)
    a, b = (share_of_identities(one, PEOPLE, LIMIT)[0] for one in (linked, apart))
    assert a == pytest.approx(b, abs=0.1) and a > 0.85


def test_a_few_new_faces_for_everyone_are_a_few_people() -> None:
    few = 4 * vectors(10, 8)[PEOPLE % 10] + 0.5 * vectors(300, 9)
    assert share_of_identities(few, PEOPLE, LIMIT)[0] == pytest.approx(0.1, abs=0.02)


def test_so_many_people_are_drawn_and_no_more() -> None:
    people = np.arange(2 * MOST)
    assert share_of_identities(4 * vectors(len(people)), people, 0.1) == (1, MOST)
    assert share_of_identities(vectors(len(people)), people, 0.1)[0] == 1
    assert np.isnan(share_of_identities(vectors(3), np.zeros(3, np.int64), 1.0)[0])
    assert np.isnan(share_of_identities(vectors(3), np.arange(3), float("nan"))[0])


def test_a_chain_of_look_alikes_is_not_one_person() -> None:
    line = np.arange(10.0)
    assert count_identities(np.abs(line[:, None] - line), 1.5) > 3
    assert count_identities(np.abs(line[:, None] - line), 0.5) == 10
    assert count_identities(np.zeros((4, 4)), 0.5) == 1

"""What is published of an evaluation holds no number of a single face."""

from __future__ import annotations

import numpy as np
import pytest

from mien.evaluation.attacks.scoring import ATTACK_METRICS
from mien.evaluation.confidence import LEAST_FACES, LEAST_PEOPLE, Estimate, estimate, estimate_ratio
from mien.evaluation.evaluation import AttackResult, Figure
from mien.evaluation.metrics import METRICS
from mien.evaluation.withholding import publish, publish_attack

DISTANCE, VERIFIED = "distance_own_original", "verified_own_original_far1e-3"
FEW = [(1, 1), (LEAST_FACES - 1, LEAST_PEOPLE), (LEAST_FACES, LEAST_PEOPLE - 1)]  # faces, people


def found(faces: int, people: int, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Estimates of some faces in every group, of random numbers."""
    rng = np.random.default_rng(seed)
    x, whose = rng.uniform(0.3, 1, faces), np.arange(faces) % people
    distance, share = estimate(x, whose), estimate(x < 0.35, whose, share=True)
    # Pairs may be many where faces are few.
    pairs = estimate(rng.uniform(0, 1, 50), np.arange(50) % people)
    return {"privacy/dlib": {DISTANCE: distance, VERIFIED: share, "auc_new_to_new": pairs},
            "look": {"sex_kept": share, "points5_difference": distance, "grain_ratio": estimate_ratio(x, whose)},
            "utility": {"found_yunet": share}, "quality": {"seam": distance}}


@pytest.mark.parametrize(("faces", "people"), FEW)
def test_of_too_few_faces_or_people_only_shares_of_look_and_utility_are_published(faces: int, people: int) -> None:
    figures, withheld = publish(found(faces, people))
    assert figures["privacy/dlib"] == figures["quality"] == {}
    assert set(figures["look"]) == {"sex_kept"} and set(figures["utility"]) == {"found_yunet"}
    assert withheld == {"privacy/dlib": [DISTANCE, VERIFIED, "auc_new_to_new"],
                        "look": ["points5_difference", "grain_ratio"], "quality": ["seam"]}


def test_of_enough_faces_all_is_published() -> None:
    figures, withheld = publish(found(LEAST_FACES, LEAST_PEOPLE))
    assert withheld == {} and {name: set(group) for name, group in figures.items()} == {
        name: set(group) for name, group in found(LEAST_FACES, LEAST_PEOPLE).items()}


def test_a_figure_of_fewer_faces_than_its_group_is_withheld_alone() -> None:
    asked = found(60, 20)
    asked["privacy/dlib"][VERIFIED] = found(4, 4)["privacy/dlib"][VERIFIED]
    figures, withheld = publish(asked)
    assert withheld == {"privacy/dlib": [VERIFIED]} and set(figures["privacy/dlib"]) == {DISTANCE, "auc_new_to_new"}


@pytest.mark.parametrize(("faces", "people", "told"), [(10, 4, False), (90, 30, False), (91, 30, True), (400, 2, False),
                                                       (400, 3, True)])
def test_a_worst_tenth_has_as_many_faces_and_people_itself(faces: int, people: int, told: bool) -> None:
    """That of at most ten faces was one face's distance."""
    one = found(faces, people)["privacy/dlib"][DISTANCE]
    assert (Figure.of(one, METRICS[DISTANCE].better).worst_tenth is not None) == told
    worst = np.sort(np.random.default_rng(0).uniform(0.3, 1, faces))[: -(-faces // 10)].mean()
    assert not told or one.least == pytest.approx(worst)


def test_a_worst_tenth_of_one_person_is_none() -> None:
    """One of very many faces may be of one person alone."""
    values, people = np.append(np.zeros(20), np.ones(180)), np.append(np.zeros(20), np.arange(180) % 30 + 1)
    assert np.isnan(estimate(values, people).least) and estimate(values, people).most == 1


def test_the_rest_of_a_part_does_not_give_a_single_face_away() -> None:
    """The mean over all and that over all but one face told the distance of that one."""
    rng = np.random.default_rng(0)
    x, people = rng.uniform(0.3, 1, 51), np.arange(51)
    means = [publish({"privacy/dlib": {DISTANCE: estimate(x[:n], people[:n])}})[0]["privacy/dlib"][DISTANCE].value
             for n in (51, 50)]
    assert means == [pytest.approx(x.mean(), abs=0.0051), pytest.approx(x[:50].mean(), abs=0.0051)]
    assert all(round(mean, 2) == mean for mean in means)


def test_the_worst_person_counts_by_people() -> None:
    """The count of that figure is the number of one person's faces, which is small for everyone."""
    def worst(people: int) -> dict[str, Estimate]:
        one = Estimate(0.5, float("nan"), float("nan"), 4, people, most=0.4)
        return {DISTANCE: found(90, 30)["privacy/dlib"][DISTANCE], "worst_person_rank1": one}

    assert publish({"privacy/dlib": worst(2)})[1] == {"privacy/dlib": ["worst_person_rank1"]}
    for people, tenth in ((20, None), (21, 0.4)):
        assert publish({"privacy/dlib": worst(people)})[0]["privacy/dlib"]["worst_person_rank1"].worst_tenth == tenth


@pytest.mark.parametrize(("faces", "people", "kept"), [(*few, False) for few in FEW] + [(60, 20, True)])
def test_an_attack_on_too_few_victims_is_not_published(faces: int, people: int, kept: bool) -> None:
    name = "auc_own_original_cross"
    figure = Figure.of(estimate(np.linspace(0, 1, 200), np.arange(200)), ATTACK_METRICS[name].better)
    attack = AttackResult(title="", budget="", seed=0, seconds=1, known=2, people=people, faces=faces,
                          attackers={"one": {name: figure}, "other": {name: figure.model_copy(update={"count": 9})}})
    assert publish_attack(attack).attackers == {"one": {name: figure} if kept else {}, "other": {}}

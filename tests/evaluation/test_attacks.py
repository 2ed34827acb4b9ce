"""Attackers: what they find where there is something to find, and where there is nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import fake_run
from helpers.fake_run import save
from mien.errors import UsageError
from mien.evaluation.attacks import parrot, reversal, run_attack
from mien.evaluation.attacks.layers import code_fingerprints, layers_changed
from mien.evaluation.attacks.run_attack import run_attacks
from mien.evaluation.attacks.scoring import ATTACK_METRICS, score
from mien.evaluation.attacks.split import AttackSplit, make_split
from mien.evaluation.crops import Crops
from mien.evaluation.evaluators import load_detector
from mien.evaluation.pairs import PhotoPairs, find_pairs
from mien.evaluation.people import half_of_people
from mien.models.generators.mobilestylegan import MobileStyleGAN
from mien.models.recognition.sface import SFace
from mien.recipe import Recipe

PEOPLE = 8
CHANGED = (3, 4, 5, 6, 7)
TEMPLATE = np.array([[98, 118], [158, 118], [128, 150], [104, 182], [152, 182]], np.float32)


def crops(pixels: np.ndarray) -> Crops:
    return Crops(pixels, np.repeat(TEMPLATE[None], len(pixels), axis=0))


@pytest.fixture(scope="module")
def portraits(weights: Callable[[str], Path]) -> np.ndarray:
    """Eight generated people, [8, 256, 256, 3]."""
    generator = MobileStyleGAN.from_file(weights("mobilestylegan"))
    return np.stack(fake_run.portraits(generator, list(range(801, 801 + PEOPLE))))


@pytest.fixture(scope="module")
def negatives(portraits: np.ndarray) -> AttackSplit:
    """Two photographs of each, the second darker; the new ones are negatives, which no recognizer was trained on."""
    old = np.concatenate([portraits, portraits // 4 * 3 + 20])
    people = np.tile(np.arange(PEOPLE), 2)
    return AttackSplit(crops(old), crops(255 - old), people, half_of_people(people, 0), Path())


def test_half_of_the_people_are_known() -> None:
    people = np.repeat(np.arange(11), 3)
    known = half_of_people(people, 1)
    assert len(np.unique(people[known])) == 5 and not set(people[known]) & set(people[~known])
    assert (known == half_of_people(people, 1)).all() and (known != half_of_people(people, 2)).any()


def test_the_score_of_everything_and_of_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    people = np.repeat(np.arange(40), 3)
    who = torch.randn(40, 16, generator=rng)[people]
    originals = who + 0.1 * torch.randn(120, 16, generator=rng)
    found = score(originals.clone(), originals, people)
    assert found.keys() <= ATTACK_METRICS.keys()
    assert found["rank1_own_original_victims"].value == 1 and found["auc_own_original_cross"].value == 1
    assert found["rank1_other_photo_victims"].value == 1 and found["auc_other_photo_cross"].value > 0.999
    lifts = [name for name in found if name.startswith("lift_")]
    assert len(lifts) == 4 and all(found[name].value > 10 for name in lifts)
    nothing = score(torch.randn(120, 16, generator=rng), originals, people)
    assert all(nothing[name].low <= 1 <= nothing[name].high for name in lifts)
    assert abs(nothing["auc_own_original_cross"].value - 0.5) < 0.1
    assert abs(nothing["auc_other_photo_cross"].value - 0.5) < 0.1
    assert nothing["rank1_other_photo_victims"].value < 0.2


def test_a_person_with_one_photograph_has_no_other() -> None:
    found = score(torch.eye(6), torch.eye(6), np.arange(6))
    assert "rank1_other_photo_victims" not in found and "auc_other_photo_cross" not in found


@pytest.mark.parametrize("left_alone", [True, False])
def test_layers_left_alone_are_a_fingerprint(left_alone: bool) -> None:
    """The made-up encoder reads who somebody is from the picture into layers that are changed, or into others."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(44), 3)  # of whom 22 are victims: enough for a lift
    faces = rng.integers(0, 256, (44, 3))[people] + rng.integers(-6, 7, (132, 3))
    pixels = np.clip(faces, 0, 255).astype(np.uint8)[:, None, None].repeat(256, 1).repeat(256, 2)
    layer = 10 if left_alone else CHANGED[0]
    noise = torch.Generator().manual_seed(0)

    def encode(image: torch.Tensor) -> torch.Tensor:
        codes = torch.randn(len(image), 16, 512, generator=noise)
        codes[:, layer, :3] = image[:, :, 0, 0] * 3
        return codes

    split = AttackSplit(crops(pixels), crops(pixels), people, half_of_people(people, 0), Path())
    found = score(*code_fingerprints(split, encode, CHANGED), people[~split.known])
    lift = found["lift_rank1_other_photo_victims"]
    if left_alone:
        assert found["auc_other_photo_cross"].value > 0.8 and found["rank5_other_photo_victims"].value > 0.5
        assert lift.low > 2
    else:
        assert abs(found["auc_other_photo_cross"].value - 0.5) < 0.1
        assert lift.low <= 1 <= lift.high


def test_a_run_records_which_layers_it_changed(tmp_path: Path) -> None:
    assert layers_changed(tmp_path) == ()
    for told in ("", "[]", '{"recipe": 3}', '{"recipe": {"optimize": {"layers": [9, 1]}}}',
                 '{"recipe": {"optimize": {"layers": 4}}}'):
        (tmp_path / "mien.json").write_text(told)
        assert layers_changed(tmp_path) == ()
    (tmp_path / "mien.json").write_text('{"recipe": {"optimize": {"layers": [2, 5]}}}')
    assert layers_changed(tmp_path) == (2, 5)
    (tmp_path / "mien.json").write_text(Recipe().model_dump_json().join(['{"recipe": ', '}']))
    assert layers_changed(tmp_path) == ()


@pytest.mark.slow
def test_the_parrot_learns_a_change_that_strangers_share(negatives: AttackSplit, weights: Callable[[str], Path],
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parrot, "STEPS", 40)
    adapted, before = (SFace.from_file(weights("sface")) for _ in range(2))
    parrot.adapt(adapted, negatives, seed=0)
    old, new, people = negatives.part(known=False)

    def area(network: SFace) -> float:
        return score(parrot.recognize(network, new), parrot.recognize(network, old),
                     people)["auc_own_original_cross"].value

    assert area(adapted) > area(before) + 0.02
    assert not any(p.requires_grad for p in adapted.parameters())


@pytest.mark.slow
def test_what_can_be_undone_is_undone_for_strangers_too(negatives: AttackSplit, weights: Callable[[str], Path],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reversal, "STEPS", 60)
    network = reversal.learn(negatives, SFace.from_file(weights("sface")), seed=0)
    old, new, _ = negatives.part(known=False)
    undone = reversal.undo(network, new)
    assert undone.pixels.shape == old.pixels.shape and undone.pixels.dtype == np.uint8

    def apart(one: Crops) -> float:
        return float(np.abs(one.pixels.astype(int) - old.pixels).mean())

    assert apart(undone) < 0.75 * apart(new)  # in so few steps; 0.63 was measured


def test_the_gate_is_no_attacker(negatives: AttackSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would find nothing by construction; the independent judge looks for what was undone, and knows the faces."""
    asked: list[str] = []
    ensured = run_attack.ensure
    monkeypatch.setattr(run_attack, "ensure", lambda names: asked.extend(names) or ensured(names))
    monkeypatch.setattr(reversal, "learn", lambda *_: reversal.UndoNetwork())  # which changes nothing yet
    same = replace(negatives, new=negatives.old)
    found = run_attack.run_attack("reversal", same).attackers
    assert list(found)[:2] == ["faceplugin on the faces undone", "faceplugin, knowing nothing"]
    assert found["faceplugin, knowing nothing"]["rank1_own_original_victims"].value == 1
    assert found["faceplugin on the faces undone"]["rank1_own_original_victims"].value > 0.7  # at 96 px
    run_attack._weights("reversal")
    assert asked and not {"dlib_resnet", "shape_predictor"} & set(asked)


def test_faces_are_cut_out_of_the_same_place(portraits: np.ndarray, tmp_path: Path) -> None:
    for i, pixels in enumerate(portraits[:4]):
        save(tmp_path / "src" / f"P{i}" / f"P{i}_0001.png", pixels)
        changed = pixels.copy()
        changed[100:160, 90:170] = 0
        save(tmp_path / "dst" / f"P{i}" / f"P{i}_0001.png", changed)
    save(tmp_path / "src" / "P9" / "P9_0001.png", np.zeros((64, 64, 3), np.uint8))
    save(tmp_path / "dst" / "P9" / "P9_0001.png", np.zeros((64, 64, 3), np.uint8))
    pairs = find_pairs(tmp_path / "src", tmp_path / "dst", "lfw")
    split = make_split(pairs, load_detector(), 0)
    assert len(split) == 4 and split.known.sum() == 2
    same = (split.old.pixels == split.new.pixels).all(axis=3).mean(axis=(1, 2))
    assert ((same > 0.4) & (same < 0.995)).all()
    assert split.old.views().shape == (4, 3, 112, 112)


def test_faces_without_a_name_are_no_victims(portraits: np.ndarray, tmp_path: Path) -> None:
    for i, pixels in enumerate(portraits[:4]):
        save(tmp_path / f"P{i}" / f"P{i}_0001.png", pixels)
        save(tmp_path / f"P{i}" / f"holiday {i}.png", pixels)
    split = make_split(find_pairs(tmp_path, tmp_path, "lfw"), load_detector(), 0)
    assert len(split) == 4 and split.people.tolist() == [0, 1, 2, 3]


def test_what_cannot_be_attacked_is_said(portraits: np.ndarray, tmp_path: Path) -> None:
    for i, pixels in enumerate(portraits[:3]):
        save(tmp_path / f"P{i}" / f"P{i}_0001.png", pixels)
    named = find_pairs(tmp_path, tmp_path, "lfw")
    with pytest.raises(UsageError, match="at least 4 people, and 3"):
        make_split(named, load_detector(), 0)
    with pytest.raises(UsageError, match="nobody is named"):
        make_split(find_pairs(tmp_path, tmp_path, "folder"), load_detector(), 0)
    with pytest.raises(UsageError, match="no attack 'magic'"):
        run_attacks(("magic",), named, tmp_path / "work", 0, lambda *_: None)


def test_an_attack_is_run_once(portraits: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On photographs that were not changed at all, the layers tell everybody, and so does everything else."""
    for i, pixels in enumerate(portraits):
        save(tmp_path / "src" / f"P{i}" / f"P{i}_0001.png", pixels)
    pairs: PhotoPairs = find_pairs(tmp_path / "src", tmp_path / "src", "lfw")
    (found,) = run_attacks(("layers",), pairs, tmp_path / "work", 0, lambda *_: None).values()
    assert (found.known, found.people, found.faces) == (4, 4, 4)
    assert list(found.attackers) == ["the layers", "faceplugin, knowing nothing",
                                     "likeness of the pictures, knowing nothing"]
    for figures in found.attackers.values():
        assert figures["rank1_own_original_victims"].value == 1
        assert not any(name.startswith("lift_") for name in figures)  # four victims are too few
    again: list[str] = []
    monkeypatch.setattr("mien.evaluation.attacks.run_attack.run_attack", lambda name, *_: again.append(name) or found)
    assert run_attacks(("layers",), pairs, tmp_path / "work", 0, lambda *_: None) == {"layers": found} and again == []
    monkeypatch.setattr("mien.evaluation.attacks.run_attack.weights_sha256", lambda name: f"another {name}")
    run_attacks(("layers",), pairs, tmp_path / "work", 0, lambda *_: None)
    assert again == ["layers"]

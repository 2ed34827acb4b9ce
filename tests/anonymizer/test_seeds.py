from __future__ import annotations

from mien.anonymizer.seeds import SECRET_BYTES, secret_of, seed_of

FACE = [("a.png", 0)]


def test_a_seed_stands_for_one_secret_and_none_for_a_new_one_each_time() -> None:
    assert secret_of(7) == secret_of(7) != secret_of(8)
    assert len({secret_of(None) for _ in range(8)}) == 8
    assert {len(secret_of(seed)) for seed in (None, 0, 10**30)} == {SECRET_BYTES}


def test_every_part_counts() -> None:
    secret = secret_of(0)
    seeds = [seed_of(secret, 0, FACE), seed_of(secret, 1, FACE), seed_of(secret_of(1), 0, FACE),
             seed_of(secret, 0, [("a.png", 1)]), seed_of(secret, 0, [("b.png", 0)]),
             seed_of(secret, 0, [("a.png", 0), ("a.png", 1)]), seed_of(secret, 0, [])]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(0, 0, FACE) == seeds[0]
    assert seed_of(secret, 0, [("\udcff.png", 0)]) != seeds[0]  # a name that is not UTF-8

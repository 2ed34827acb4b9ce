"""The fill rule gives on this machine the tensors that the reference networks were run with."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NETWORKS = sorted(path.name.removesuffix(".manifest.json.gz")
                  for path in (Path(__file__).parent / "data").glob("*.manifest.json.gz"))


@pytest.mark.parametrize("network", NETWORKS)
def test_small_tensors_have_their_probes(fill: Any, manifest: Any, network: str) -> None:
    content = manifest(network)
    entries = content["tensors"] + ([content["latent_avg"]] if network.startswith("e4e") else [])
    small = [entry for entry in entries if prod(entry["shape"]) <= 1 << 16]
    assert len(small) > 20
    for entry in small:
        found = fill.tensor(entry)
        assert (found.dtype, list(found.shape)) == (entry["dtype"], entry["shape"])
        probe = [found.flat[0], found.flat[-1], found.sum(dtype=np.float64)]
        assert probe == pytest.approx(entry["probe"], rel=1e-9, abs=1e-9), entry["key"]

"""Pairing finds the nearest neighbors that the reference finds, by both distances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mien.anonymizer.pairing import embedding_distances


@pytest.mark.parametrize("kind", ["euclidean", "cosine"])
def test_nearest_neighbors(kind: str, vectors: Any, fill: Any) -> None:
    reference = vectors("knn_pairing")
    real, fake = (torch.from_numpy(fill.normal(f"knn/{name}", shape))
                  for name, shape in (("real", (200, 512)), ("fake", (1000, 512))))
    table = embedding_distances(real, fake, kind)
    nearest = table.argsort(dim=1, stable=True)[:, 0]
    assert nearest.tolist() == reference[f"{kind}_index"].tolist()
    found = table[torch.arange(len(real)), nearest].numpy()
    assert np.abs(found / reference[f"{kind}_distance"] - 1).max() < 1e-5

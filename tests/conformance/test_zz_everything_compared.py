"""Every reference number is compared. The name puts this file last: it looks at what the other tests asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def test_every_array_was_asked_for(arrays_read: set[tuple[str, str]]) -> None:
    """Is deselected when only some of the conformance tests run, see conftest.py."""
    stored = set()
    for path in (Path(__file__).parent / "data").glob("*.npz"):
        with np.load(path, allow_pickle=False) as found:
            stored |= {(path.stem, key) for key in found.files}
    assert stored and arrays_read == stored

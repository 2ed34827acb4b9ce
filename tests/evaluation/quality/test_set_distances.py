from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.evaluation.quality.set_distances import frechet, kernel_distance


def normal(count: int, seed: int, shift: float = 0.0, scale: float = 1.0, dims: int = 6) -> torch.Tensor:
    return scale * torch.randn(count, dims, generator=torch.Generator().manual_seed(seed)) + shift


def plain_frechet(a: torch.Tensor, b: torch.Tensor) -> float:
    """By the eigenvalues of the covariances' product, as it is written."""
    x, y = a.double().numpy(), b.double().numpy()
    product = np.cov(x.T) @ np.cov(y.T)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(product).real, 0)).sum()
    means = np.square(x.mean(0) - y.mean(0)).sum()
    return float(means + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * roots)


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.floats(-2, 2), st.floats(0.2, 3))
def test_frechet_is_the_formula(n: int, m: int, shift: float, scale: float) -> None:
    a, b = normal(n, 0), normal(m, 1, shift, scale)
    assert frechet(a, b) == pytest.approx(plain_frechet(a, b), rel=1e-4, abs=1e-5)


def test_distances_know_equal_from_different() -> None:
    a, b, far = normal(600, 0), normal(600, 1), normal(600, 2, shift=0.7)
    assert frechet(a, a) == pytest.approx(0, abs=1e-8)
    assert frechet(a, b) < 0.1 < 6 * 0.49 * 0.8 < frechet(a, far)
    mean, spread = kernel_distance(a, b)
    assert abs(mean) < 3 * spread + 0.02
    assert kernel_distance(a, far)[0] > 10 * abs(mean)
    assert np.isnan(frechet(a[:1], b)) and np.isnan(kernel_distance(a[:1], b)[0])


@pytest.mark.parametrize("count", [300, 800])
def test_a_picture_is_not_compared_with_its_own_pair(count: int) -> None:
    """The same pictures again are no nearer than others of the same kind, however much they are changed."""
    a = normal(count, 0, scale=2)
    assert kernel_distance(a, a, paired=True)[0] == pytest.approx(0, abs=1e-9)
    assert kernel_distance(a, a)[0] < -0.02  # each is compared with itself: less than no distance
    found = [kernel_distance(one, one + normal(count, 90 + seed, scale=0.05), paired=True)
             for seed, one in ((seed, normal(count, seed, scale=2)) for seed in range(8))]
    assert abs(np.mean([mean for mean, _ in found])) < 0.02
    with pytest.raises(ValueError, match="no pairs"):
        kernel_distance(a, a[1:], paired=True)


def test_a_paired_distance_is_the_formula() -> None:
    a, b = normal(7, 0).double(), normal(7, 1, shift=0.5).double()
    kernel = [(p @ q.T / 6 + 1).numpy() ** 3 for p, q in ((a, a), (b, b), (a, b), (b, a))]
    apart = ~np.eye(7, dtype=bool)
    wanted = np.mean((kernel[0] + kernel[1] - kernel[2] - kernel[3])[apart])
    assert kernel_distance(a, b, paired=True)[0] == pytest.approx(wanted)


MEASURE = """
import resource, sys
import numpy as np, torch
from mien.evaluation.quality.set_distances import frechet, kernel_distance
count, path = int(sys.argv[1]), sys.argv[2]
x = np.lib.format.open_memmap(path, "w+", np.float32, (count, 256))
rng = np.random.default_rng(0)
for first in range(0, count, 1000):
    x[first : first + 1000] = rng.normal(size=(1000, 256))
x.flush()
del x
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
features = torch.from_numpy(np.load(path, mmap_mode="c"))
frechet(features, features), kernel_distance(features, features)
with open("/proc/self/status") as status:
    print(next(line for line in status if line.startswith("RssAnon")).split()[1])
"""


def test_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    """Features of 5,000 and of 100,000 faces, in files: what is not the file stays as small."""
    given_back = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 17)}  # else the C library keeps what has been freed
    used = [int(subprocess.run([sys.executable, "-c", MEASURE, str(count), str(tmp_path / f"{count}.npy")],
                               check=True, capture_output=True, text=True, env=given_back).stdout)
            for count in (5_000, 100_000)]
    assert used[1] < used[0] + 20_000  # kB; the larger set is 100 MB

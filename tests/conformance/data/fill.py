"""Fills weights and draws inputs for the conformance vectors; see README.md beside it. It needs numpy alone.

A tensor is described by one entry of a manifest, and filled independently of every other tensor:

    {"key": str, "shape": [int, ...], "dtype": str, "fill": str, "a": float, "b": float, "probe": [first, last, sum]}

    n = numpy.random.RandomState(zlib.crc32(key)).standard_normal(shape)

    "affine"  a + b * n, computed in float64, then cast to dtype
    "abs"     a + b * |n|
    "const"   a everywhere; integer counters too
    "blur"    a * outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64, reshaped: a fixed buffer of the reference, never random

`probe` holds the first element, the last one and the float64 sum of the filled tensor, after the cast.
"""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def rng(name: str) -> np.random.RandomState:
    """Returns the random state that a string names."""
    return np.random.RandomState(zlib.crc32(name.encode("utf-8")))


def tensor(entry: dict[str, Any]) -> Array:
    """Fills one entry of a manifest."""
    shape, rule, a, b = tuple(entry["shape"]), entry["fill"], entry.get("a", 0.0), entry.get("b", 0.0)
    if rule == "affine":
        out = a + b * rng(entry["key"]).standard_normal(shape)
    elif rule == "abs":
        out = a + b * np.abs(rng(entry["key"]).standard_normal(shape))
    elif rule == "const":
        out = np.full(shape, a)
    elif rule == "blur":
        taps = np.array([1.0, 3.0, 3.0, 1.0])
        out = a * np.outer(taps, taps) / 64.0
    else:
        raise ValueError(f"unknown fill rule: {rule!r}")
    return np.asarray(out).astype(entry["dtype"]).reshape(shape)


def read_json(name: str) -> dict[str, Any]:
    """Reads NAME.json.gz of this folder."""
    with gzip.open(Path(__file__).parent / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def manifest(network: str) -> dict[str, Any]:
    """Reads the manifest of a network."""
    return read_json(f"{network}.manifest")


def load(network: str, prefix: str = "") -> dict[str, Array]:
    """Fills all tensors of a network whose keys start with `prefix`, and takes the prefix off the keys.

    The seed of a tensor is its whole key, prefix included.
    """
    entries = manifest(network)["tensors"]
    return {entry["key"].removeprefix(prefix): tensor(entry) for entry in entries if entry["key"].startswith(prefix)}


def normal(name: str, shape: tuple[int, ...]) -> Array:
    """Draws normal numbers, float32, by name."""
    return rng(name).standard_normal(shape).astype(np.float32)


def wave_image(name: str, c: int, h: int, w: int, lo: float = -1.0, hi: float = 1.0) -> Array:
    """Draws by name 12 random plane waves a channel and a little noise, clipped to lo..hi, float32 [C, H, W]."""
    r, waves = rng(name), 12
    fx, fy = r.uniform(-8, 8, (c, waves)), r.uniform(-8, 8, (c, waves))
    phase, amp = r.uniform(0, 2 * np.pi, (c, waves)), r.uniform(0.2, 1.0, (c, waves))
    amp = amp / np.sqrt((amp**2).sum(axis=1, keepdims=True))
    grain = r.standard_normal((c, h, w))
    x, y = np.arange(w) / w, np.arange(h) / h
    out = np.empty((c, h, w))
    for i in range(c):
        s = np.zeros((h, w))
        for k in range(waves):
            s += amp[i, k] * np.cos(2 * np.pi * (fx[i, k] * x[None, :] + fy[i, k] * y[:, None]) + phase[i, k])
        out[i] = 0.5 * s + 0.02 * grain[i]
    middle, half = 0.5 * (hi + lo), 0.5 * (hi - lo)
    return (middle + half * np.clip(out, -1.0, 1.0)).astype(np.float32)


def _triangle(t: Array, period: int) -> Array:
    """A triangle wave of integers, 0..255."""
    return np.abs(np.mod(t, 2 * period) - period) * 255 // period


def formula_image(h: int, w: int, variant: int = 0) -> Array:
    """Draws a test picture in exact integers, uint8 RGB [H, W, 3]."""
    y, x = np.mgrid[0:h, 0:w].astype(np.int64)
    red = _triangle(x + y // 2 + 37 * variant, 97 + 10 * variant)
    green = _triangle(2 * y - x // 3 + 53 * variant, 131 + 7 * variant)
    blue = _triangle((x * y) // 256 + 19 * variant, 211 + 3 * variant)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)

"""Measures how well real faces are inverted: by the encoder alone, and after a refinement.

`measure.py encoder` finds the codes of CelebA-HQ's val photographs (they are kept in WORK, so that a killed run goes
on) and compares the pictures of these codes with the photographs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from photos import Photos
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from mien.anonymizer.invert import invert
from mien.anonymizer.losses import targets
from mien.models.bundle import Detector, Networks
from mien.models.detection.centerface import CenterFace
from mien.models.features.attribute_network import AttributeJudge
from mien.models.generators.base import DIM
from mien.models.hub.fetch import ensure
from mien.models.hub.shipped import shipped_file
from mien.models.model_sets import model_set
from mien.recipe import Recipe
from mien.types import Floats, Pixels
from mien.util.files import replace_file
from mien.util.image_tensors import ellipse, to_pixels
from mien.util.precision import fastest

REFINEMENT = 30  # steps
PART = 8
SIZES = (224, 256, 288, 320, 384)  # px, at which the five points are detected: at one size alone they are 4 % off
SWAPPED = [3, 4, 5, 6, 7]  # the layers that the paper edits
EVERY = 10  # one photograph in so many is compared at the generator's full output too
Renderer = Callable[[Tensor], Tensor]  # W+ -> pictures [B, 3, 256, 256]


@dataclass(frozen=True)
class Found:
    """Holds the measurements of one way of inverting N photographs.

    Attributes:
        error: mean squared error [N] of the whole aligned picture in -1..1, with its mirrored borders.
        inside: the same [N] of the pixels within the photograph. face: the same [N] within the face's ellipse.
        points: mean distance [N] of the five points in eye distances, NaN where no face is found.
        attributes: share [N] of the 40 attributes that the judge predicts as the labels say.
        natural: 0 or 1 [N], whether the second detector finds a face with the middle layers swapped.
    """

    error: Floats
    inside: Floats
    face: Floats
    points: Floats
    attributes: Floats
    natural: Floats


def find_codes(photos: Photos, rows: np.ndarray, work: Path, steps: int) -> tuple[Tensor, float]:
    """Finds the whitened codes [N, 16, 512] of photographs by so many steps, kept in WORK, and the seconds a face."""
    chosen = model_set("mobile")
    networks = chosen.load(chosen.gather(), precision=fastest())
    how = Recipe().invert.model_copy(update={"steps": steps})
    decided = f"{how.model_dump_json()}{fastest()}{sorted(chosen.hashes().items())}"
    folder = work / f"codes_{steps}_{hashlib.sha256(decided.encode()).hexdigest()[:8]}"
    folder.mkdir(exist_ok=True)
    parts = []
    for first in range(0, len(rows), PART):
        some = rows[first : first + PART]
        path = folder / f"{some[0]:05d}_{some[-1]:05d}_{len(some)}.safetensors"
        if not path.exists():
            faces = targets(networks, photos.images(some),
                            torch.from_numpy(photos.inside[some].copy()).float()[:, None], photos.views[some])
            started = time.perf_counter()
            codes = invert(networks, faces, how).codes
            spent = torch.tensor((time.perf_counter() - started) / len(some))
            tensors = {"codes": codes.contiguous(), "seconds": spent}
            replace_file(path, lambda target, tensors=tensors: save_file(tensors, target))
        parts.append(load_file(path))
        print(f"{steps} steps: {min(first + PART, len(rows))} of {len(rows)}", flush=True)
    return torch.cat([part["codes"] for part in parts]), float(torch.stack([p["seconds"] for p in parts]).median())


@torch.inference_mode()
def compare(networks: Networks, preview: Renderer, photos: Photos, rows: np.ndarray, codes: Tensor) -> Found:
    """Compares pictures of the codes with the photographs of these rows."""
    judge = AttributeJudge.from_file(shipped_file("attribute_judge"))
    second = CenterFace(ensure(["centerface"])["centerface"])
    rng = torch.Generator().manual_seed(0)
    mask, recipe = ellipse(256)[0, 0], Recipe()
    values: dict[str, list[float]] = {name: [] for name in Found.__dataclass_fields__}
    for i, row in enumerate(rows):
        photo, code = photos.images([row]), codes[i : i + 1]
        picture = preview(networks.generator.color(code)).clamp(-1, 1)
        stranger = networks.generator.whiten(networks.generator.map(torch.randn(1, DIM, generator=rng)))
        swapped = code.clone()
        swapped[:, SWAPPED] = recipe.pool.truncation * stranger[:, None]
        other = preview(networks.generator.color(swapped))
        wrong = (picture - photo).square().mean(dim=1)
        inside = torch.from_numpy(photos.inside[row].copy()).float()
        values["error"].append(float(wrong.mean()))
        values["inside"].append(float((wrong * inside).sum() / inside.sum()))
        values["face"].append(float((wrong * mask).sum() / mask.sum()))
        values["points"].append(points_apart(networks.detector, photo, picture))
        right = (judge(picture) > 0) == (photos.attributes[row] > 0)
        values["attributes"].append(float(right.float().mean()))
        values["natural"].append(float(len(second.detect(to_pixels(other)[0].numpy())) > 0))
    return Found(**{name: np.array(numbers, np.float32) for name, numbers in values.items()})


def points_apart(detector: Detector, photo: Tensor, picture: Tensor) -> float:
    """Measures the five points' mean distance in two pictures [1, 3, S, S], in eye distances; NaN without a face."""
    a, b = (steady_points(detector, to_pixels(one)[0].numpy()) for one in (photo, picture))
    if a is None or b is None:
        return float("nan")
    return float(np.linalg.norm(a - b, axis=1).mean() / np.linalg.norm(a[0] - a[1]))


def steady_points(detector: Detector, picture: Pixels, sizes: tuple[int, ...] = SIZES) -> Floats | None:
    """Finds the five points [5, 2] of the largest face: the mean of detections at several sizes and mirrored."""
    found, side = [], len(picture)
    for size in sizes:
        way = cv2.INTER_AREA if size < side else cv2.INTER_CUBIC
        for mirrored in (False, True):
            shown = cv2.resize(picture[:, ::-1] if mirrored else picture, (size, size), interpolation=way)
            face = max(detector.detect(shown), key=lambda one: one.area, default=None)
            if face is None:
                continue
            points = face.points.copy()
            if mirrored:
                points[:, 0] = size - 1 - points[:, 0]
                points = points[[1, 0, 2, 4, 3]]
            found.append((points + 0.5) * side / size - 0.5)
    return np.mean(found, axis=0) if found else None


@torch.inference_mode()
def unsteady(networks: Networks, photos: Photos, rows: np.ndarray) -> float:
    """Measures how far apart the points of one photograph are found at two sets of sizes, in eye distances."""
    apart = []
    for row in rows:
        picture = to_pixels(photos.images([row]))[0].numpy()
        a, b = (steady_points(networks.detector, picture, sizes) for sizes in (SIZES[::2], SIZES[1::2]))
        if a is not None and b is not None:
            apart.append(np.linalg.norm(a - b, axis=1).mean() / np.linalg.norm(a[0] - a[1]))
    return float(np.mean(apart))


@torch.inference_mode()
def judged_right(photos: Photos, rows: np.ndarray) -> float:
    """Measures the share of attributes that the judge predicts as the labels say, on the photographs themselves."""
    judge = AttributeJudge.from_file(shipped_file("attribute_judge"))
    right = [(judge(photos.images([row])) > 0) == (photos.attributes[row] > 0) for row in rows]
    return float(torch.cat(right).float().mean())


def full_output(networks: Networks) -> Renderer:
    """Renders the generator's full output, shrunk to 256 px."""
    return lambda wp: F.interpolate(networks.generator(wp), size=(256, 256), mode="area")


def section(photos: Photos, work: Path, every: int) -> str:
    """Writes the results' section: both ways of inverting, by the preview and by the full output.

    Args:
        every: one photograph in so many is refined; the encoder alone is measured on all.
    """
    rows = np.array(photos.val)
    chosen = model_set("mobile")
    networks = chosen.load(chosen.gather())
    baseline = judged_right(photos, rows)
    some = slice(None, None, EVERY)
    lines = [f"{len(rows)} photographs of val, aligned, 256 px; every {EVERY}th of those compared at the generator's "
             "full output too. Error: mean squared, pictures in -1..1, the whole aligned crop with what is mirrored "
             f"beyond the photograph's edge. The judge tells {100 * baseline:.2f} % of the attributes right on the "
             "photographs themselves. Points: YuNet's, the mean of five sizes and their mirror images; two such means "
             f"of one photograph are {100 * unsteady(networks, photos, rows[some]):.2f} % apart. Swapped: layers 3 to "
             "7 are those of a random face, and the second detector sees a face.", "",
             "| codes | pictures | error: mean (median, 95th percentile) | within the photograph | within the face | "
             "five points, of the eye distance: mean (95th percentile) | attributes right (against the photographs') | "
             "swapped: a face | seconds a face |", "|---|---|---|---|---|---|---|---|---|"]
    ways = [("encoder alone", 0, rows)]
    if every > 1:
        ways.append((f"encoder alone, every {every}th", 0, rows[::every]))
    ways.append((f"and {REFINEMENT} steps" + (f", every {every}th" if every > 1 else ""), REFINEMENT, rows[::every]))
    for name, steps, taken in ways:
        codes, seconds = find_codes(photos, taken, work, steps)
        for kind, preview, which in (("256 px preview", networks.preview, slice(None)),
                                     ("full output", full_output(networks), some)):
            found = compare(networks, preview, photos, taken[which], codes[which])
            known = judged_right(photos, taken[which])
            lines.append(_row(name, f"{kind}, {len(found.error)}", found, known, seconds))
    wanted = ["0.06 alone, 0.03 refined", "", "", "4 %", "4 points alone, 2 refined", "99 %", ""]
    return "\n".join([*lines, f"| wanted | | {' | '.join(wanted)} |"])


def _row(name: str, pictures: str, found: Found, baseline: float, seconds: float) -> str:
    error, points = found.error, found.points[np.isfinite(found.points)]
    missing = len(found.points) - len(points)
    right = 100 * found.attributes.mean()
    return (f"| {name} | {pictures} | {error.mean():.4f} ({np.median(error):.4f}, {np.percentile(error, 95):.4f}) | "
            f"{found.inside.mean():.4f} | {found.face.mean():.4f} | {100 * points.mean():.2f} % "
            f"({100 * np.percentile(points, 95):.2f} %{f'; {missing} without a face' if missing else ''}) | "
            f"{right:.2f} % ({right - 100 * baseline:+.2f}) | {100 * found.natural.mean():.1f} % | {seconds:.2f} |")

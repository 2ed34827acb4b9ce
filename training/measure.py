"""Measures the trained networks and writes the figures to training/RESULTS.md.

    python training/measure.py heads --work FOLDER --inverted FOLDER/inverted.safetensors
    python training/measure.py attributes --work FOLDER
    python training/measure.py encoder --work FOLDER

FOLDER of --work holds what the trainings left: the photographs (`photos.py`) and, in head/, the pairs of features and
pictures (`image_head.py pairs`). Photographs are CelebA-HQ's val split, which took no part in any training.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from attributes import right_answers
from image_head import HELD_OUT, KINDS, Pairs, psnr
from inversions import section
from photos import Photos, load_photos
from probes import attribute_probe, generated_pictures, pairs_of, person_auc, probe_auc
from safetensors.torch import load_file
from torch import Tensor

from mien.models.features.attribute_network import ATTRIBUTES, AttributeJudge, AttributeNetwork
from mien.models.features.base import ConvFeatures
from mien.models.features.efficientnet_lite import EfficientNetLite0
from mien.models.generators.base import DIM
from mien.models.generators.mobilestylegan import MobileStyleGAN
from mien.models.generators.preview_head import SHAPES, PreviewHead
from mien.models.hub.fetch import ensure
from mien.models.hub.shipped import SHIPPED, shipped_file
from mien.util.memory import keep_freed_memory

# The results file is written as the benchmarks' is.
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from results import put_section, stamp

OUT = Path(__file__).with_name("RESULTS.md")
WANTED = {256: "30 mean, 26 worst", 128: "29 mean"}
SECONDS = {256: "0.3", 128: "0.1"}
ROUNDS = 5
Renderer = Callable[[Tensor], Tensor]  # W+ -> pictures
MALE, YOUNG, PALE = ATTRIBUTES.index("Male"), ATTRIBUTES.index("Young"), ATTRIBUTES.index("Pale_Skin")


def heads(work: Path, inverted: Path) -> None:
    """Measures the peak signal-to-noise ratio of previews on held-out codes, by kind, and the time of a preview."""
    generator = MobileStyleGAN.from_file(ensure(["mobilestylegan"])["mobilestylegan"]).requires_grad_(False)
    pairs = Pairs(generator, load_file(inverted)["codes"], HELD_OUT, work / "head")
    lines = [f"`python training/measure.py heads`. {stamp()} {HELD_OUT} codes that no training saw, a quarter each: "
             f"{', '.join(KINDS)}. dB of the picture in -1..1 against the full output shrunk by area.", "",
             "| head | mean (spread) | worst | below 26 | " + " | ".join(f"{kind}: mean, worst" for kind in KINDS)
             + " | wanted | MB |", "|---|---|---|---|" + "---|" * len(KINDS) + "---|---|"]
    for size in SHAPES:
        head = PreviewHead.from_file(shipped_file(f"image_head_{size}"), size)
        values = psnr(head, pairs)
        kinds = [values[i :: len(KINDS)] for i in range(len(KINDS))]
        lines.append(f"| {size} px | {values.mean():.2f} ({values.std():.2f}) | {values.min():.2f} | "
                     f"{int((values < 26).sum())} | "
                     + " | ".join(f"{kind.mean():.2f}, {kind.min():.2f}" for kind in kinds)
                     + f" | {WANTED[size]} | {SHIPPED[f'image_head_{size}'].path.stat().st_size / 1e6:.1f} |")
    lines += ["", f"Forward and backward through generator and head, batch 4, {torch.get_num_threads()} threads, "
              f"{ROUNDS} rounds.", "", "| preview | s a face: median (least, most) | wanted |", "|---|---|---|"]
    full = ("whole picture, shrunk", lambda wp: torch.nn.functional.avg_pool2d(generator(wp), 4), "")
    previews = [(f"{size} px, {str(precision).removeprefix('torch.')}", _renderer(size, generator, precision),
                 SECONDS[size]) for size in SHAPES for precision in (torch.float32, torch.bfloat16)]
    for name, preview, wanted in [*previews, full]:
        seconds = _timed(generator, preview)
        lines.append(f"| {name} | {median(seconds):.3f} ({min(seconds):.3f}, {max(seconds):.3f}) | {wanted} |")
    put_section("Image heads", "\n".join(lines), OUT)


def _renderer(size: int, generator: MobileStyleGAN, precision: torch.dtype) -> Renderer:
    head = PreviewHead.from_file(shipped_file(f"image_head_{size}"), size)
    if precision is not torch.float32:
        generator, head = generator.reduced(precision), head.reduced(precision)
    return lambda wp: head.preview(generator, wp)


def _timed(generator: MobileStyleGAN, preview: Renderer) -> list[float]:
    wp = generator.map(torch.randn(4, DIM, generator=torch.Generator().manual_seed(0)))[:, None].repeat(1, 16, 1)
    seconds = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        preview(wp.requires_grad_()).square().mean().backward()
        seconds.append((time.perf_counter() - started) / len(wp))
    return seconds[1:]


@torch.inference_mode()
def attributes(work: Path) -> None:
    """Measures the accuracy of both networks, and what the pairing vector tells of person, origin and attributes."""
    photos = load_photos(work)
    judge = AttributeJudge.from_file(shipped_file("attribute_judge"))
    network = AttributeNetwork.from_file(shipped_file("attribute_network"))
    rows = np.array(photos.val)
    labels = photos.attributes[: photos.train].float().mean(0)
    constant = ((photos.attributes[rows] > 0) == (labels > 0.5)).float().mean()
    lines = [f"`python training/measure.py attributes`. {stamp()} {len(rows)} photographs of val, "
             f"{len(photos.people[rows].unique())} people, none of them in train.", "",
             "| network | mean accuracy over 40 attributes | balanced | wanted |", "|---|---|---|---|",
             f"| always the commoner answer | {100 * constant:.2f} % | 50 % | |"]
    for name, one, wanted in (("attribute network", network, 89), ("attribute judge", judge, 88.5)):
        right = right_answers(one, photos, rows)
        balanced = _balanced(right, photos.attributes[rows] > 0)
        lines.append(f"| {name} | {100 * right.float().mean():.2f} % | {100 * balanced:.2f} % | {wanted} % |")
    lines += ["", *_pairing(network, photos, rows)]
    put_section("Attribute networks", "\n".join(lines), OUT)


def _balanced(right: Tensor, truth: Tensor) -> float:
    rates = [right[:, i][truth[:, i] == side].float().mean()
             for i in range(len(ATTRIBUTES)) for side in (True, False)]
    return float(torch.stack(rates).nanmean())


def _pairing(network: AttributeNetwork, photos: Photos, rows: np.ndarray) -> list[str]:
    maps = ConvFeatures(EfficientNetLite0.from_file(ensure(["efficientnet_lite0"])["efficientnet_lite0"]))
    train = np.random.default_rng(0).permutation(photos.train)[:3000]
    pictures = list(generated_pictures(1000, seed=2))
    people, truth = photos.people[rows], photos.attributes[rows]
    groups = truth[:, MALE] * 4 + truth[:, YOUNG] * 2 + truth[:, PALE]
    table = {}
    for name, embed in (("pairing vector", lambda batch: network.describe(network.pooled(batch))),
                        ("ImageNet's features in its place", lambda batch: maps.pairing(*maps.observe(batch)))):
        known, real, fake = (torch.cat([embed(batch) for batch in batches]) for batches in (
            _batches(photos, train), _batches(photos, rows), pictures))
        table[name] = _row(known, photos.attributes[train], real, fake, people, groups, truth)
    table["the 40 labels themselves"] = (person_auc(truth.float(), people), person_auc(truth.float(), people, groups),
                                         None, None, 1.0, None)
    same, other = pairs_of(people)
    lines = [f"Who: area under the curve of one person's photographs ({len(same)} pairs) against strangers' "
             f"({len(other)}), by distance; among strangers of one sex, age group and paleness too. Origin: of a "
             "linear probe and of a small network that tell real photographs from generated faces, trained on half of "
             f"{len(rows)} and 1,000, measured on the other half (other people). Attributes: how much of them ridge "
             "regression reads; and how many of the 40 are equal in the nearest of 3,000 photographs of other people.",
             "",
             "| vector | who (wanted: 0.75) | among like strangers | origin: linear (wanted: 0.6) | origin: network | "
             "attributes read | attributes of the nearest |", "|---|---|---|---|---|---|---|"]
    for name, values in table.items():
        cells = ["" if value is None else f"{value:.3f}" for value in values[:4]]
        cells += ["" if value is None else f"{100 * value:.1f} %" for value in values[4:]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    chance = (photos.attributes[train][torch.randperm(len(train))[: len(rows)]] == truth).float().mean()
    return [*lines, "", f"A random photograph shares {100 * chance:.1f} % of the attributes."]


def _row(known: Tensor, known_labels: Tensor, real: Tensor, fake: Tensor, people: Tensor, groups: Tensor,
         truth: Tensor) -> tuple[float, float, float, float, float, float]:
    # Other people in the other half: else a probe knows these few by their attributes.
    everybody = people.unique()
    order = torch.randperm(len(everybody), generator=torch.Generator().manual_seed(0))
    first = torch.isin(people, everybody[order[: len(everybody) // 2]])
    halves = (real[first], fake[: len(fake) // 2], real[~first], fake[len(fake) // 2 :])
    with torch.inference_mode(False):
        halves = tuple(half.clone() for half in halves)
        linear, network = probe_auc(*halves), probe_auc(*halves, hidden=32)
    read = ((attribute_probe(known, known_labels, real) > 0.5) == (truth > 0)).float().mean()
    nearest = torch.cdist(real, known).argmin(1)
    shared = (known_labels[nearest] == truth).float().mean()
    return (person_auc(real, people), person_auc(real, people, groups), linear, network, float(read), float(shared))


def _batches(photos: Photos, rows: np.ndarray) -> list[Tensor]:
    return [photos.images(part) for part in np.array_split(rows, max(1, len(rows) // 32))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("heads", "attributes", "encoder"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--inverted", type=Path, help="needed for heads")
    parser.add_argument("--every", type=int, default=1, help="for encoder: refine one photograph in so many")
    arguments = parser.parse_args()
    keep_freed_memory()
    if arguments.what == "heads":
        heads(arguments.work, arguments.inverted)
    elif arguments.what == "encoder":
        found = section(load_photos(arguments.work), arguments.work, arguments.every)
        put_section("Encoder", f"`python training/measure.py encoder`. {stamp()} {found}", OUT)
    else:
        attributes(arguments.work)


if __name__ == "__main__":
    main()

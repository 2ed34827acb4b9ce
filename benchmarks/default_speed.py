"""Measures mien's default loop against the paper's plain one (plain_falco.py), both on the default's networks.

    python benchmarks/default_speed.py [--rounds 5 --faces 4 --steps 12 --threads 2]    # measures and writes RESULTS.md
    python benchmarks/default_speed.py --device cuda --faces 64                         # the same on a GPU, apart

Both take as many steps, in one process, in turns; a ratio is taken within a round. The plain loop takes one face at a
time and at each step the whole picture of 1024 px, both targets anew, gradients for all weights of generator and
attribute network; it uses the default's networks, whose layers are already arranged for speed, in float32. The default
loop takes a batch, targets included, as in a run. Faces are generated ones; a round that is not timed comes first.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np
import torch
from plain_falco import plain_loop
from results import OUT, put_section, stamp
from torch import Tensor

from mien.anonymizer.align import align
from mien.anonymizer.load import prepare
from mien.anonymizer.losses import faces_of
from mien.anonymizer.optimize import Optimized
from mien.anonymizer.pipeline import optimize_faces, render_faces
from mien.anonymizer.pool import Pool
from mien.models.bundle import Networks
from mien.models.features.base import AttributeFeatures
from mien.models.model_sets import model_set
from mien.models.recognition.arcface import face_view
from mien.recipe import Recipe
from mien.types import Crop, Face
from mien.util.image_tensors import to_pixels
from mien.util.memory import keep_freed_memory

TITLE = "The default loop against the paper's plain one"


@dataclass(frozen=True)
class Scene:
    """Generated people, as they are found in their photographs, and those they start from.

    Attributes:
        real, paired: whitened codes [N, 512]. identities: of the paired ones.
    """

    faces: list[Face]
    crops: list[Crop]
    real: Tensor
    paired: Tensor
    identities: Tensor


def scene(networks: Networks, pool: Pool, count: int) -> Scene:
    """Generates as many people as fill a batch."""
    generator, rng = networks.generator, torch.Generator().manual_seed(1)
    w = generator.truncate(generator.map(torch.randn(count, 512, generator=rng).to(networks.device)), 0.7)
    photos = [to_pixels(networks.render(row.repeat(1, generator.n_layers, 1)))[0].cpu().numpy() for row in w]
    faces = [networks.detector.detect(photo)[0] for photo in photos]
    crops = [align(photo, face) for photo, face in zip(photos, faces, strict=True)]
    return Scene(faces, crops, generator.whiten(w), pool.codes[:count], pool.identities[:count])


def in_layers(codes: Tensor, networks: Networks) -> Tensor:
    """[N, 512] -> [N, L, 512]."""
    return codes[:, None].repeat(1, networks.generator.n_layers, 1)


def now(networks: Networks) -> float:
    """The time in seconds, once a GPU has done all that it was asked for."""
    if networks.device.type == "cuda":
        torch.cuda.synchronize(networks.device)
    return time.perf_counter()


def take_plain(networks: Networks, here: Scene, number: int, steps: int) -> float:
    """Seconds of one face by the plain loop; each round takes another face of the batch."""
    features = cast(AttributeFeatures, networks.features)
    weights = [value for part in (networks.generator, features.attributes)
               for value in (*part.buffers(), *part.parameters()) if value.is_floating_point()]
    row = slice(number % len(here.faces), number % len(here.faces) + 1)
    photo = torch.from_numpy(np.stack([crop.pixels for crop in here.crops[row]])).permute(0, 3, 1, 2) / 127.5 - 1
    photo = photo.to(networks.device)
    real, paired = (in_layers(networks.generator.color(codes[row].to(networks.device)).detach(), networks)
                    for codes in (here.real, here.paired))
    started = now(networks)
    plain_loop(networks.generator, lambda image: networks.recognizer.identify(face_view(image)), features.tokens,
               weights, photo, real, paired, steps)
    return now(networks) - started


def take_default(networks: Networks, here: Scene, recipe: Recipe) -> tuple[float, float]:
    """Seconds a face of a batch by the default loop, and of rendering the final pictures."""
    started = now(networks)
    faces = faces_of(networks, here.faces, here.crops, recipe.optimize.size)
    done: Optimized = optimize_faces(networks, faces, in_layers(here.real, networks), here.paired, recipe.optimize, 0,
                                     here.identities)
    looped = now(networks)
    assert done.steps.tolist() == [recipe.optimize.steps] * len(here.faces), "as many steps"
    render_faces(networks, done, recipe.optimize)
    return (looped - started) / len(here.faces), (now(networks) - looped) / len(here.faces)


def table(rounds: list[dict[str, float]]) -> list[str]:
    lines = ["| way | s a face: median (least, most) | faster than the plain loop (at least 20 x): median "
             "(least, most) |", "|---|---|---|"]
    for name in rounds[0]:
        spent = [one[name] for one in rounds]
        ratio = [one["plain loop"] / one[name] for one in rounds]
        lines.append(f"| {name} | {median(spent):.3g} ({min(spent):.3g}, {max(spent):.3g}) | "
                     f"{median(ratio):.1f} x ({min(ratio):.1f}, {max(ratio):.1f}) |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--faces", type=int, default=Recipe().batch, help="of the default loop's batch")
    parser.add_argument("--steps", type=int, default=Recipe().optimize.steps)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cuda: a GPU")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed_memory()
    recipe = Recipe().with_changes({"optimize.steps": asked.steps}).settled(asked.device)
    ready, mobile = prepare(recipe, device=asked.device), model_set("mobile")
    # A copy of its own, since its weights are to have gradients.
    plain = mobile.load(mobile.gather(), device=ready.networks.device)
    here = scene(ready.networks, ready.pool, asked.faces)
    take_plain(plain, here, 0, asked.steps)
    take_default(ready.networks, here, recipe)
    rounds: list[dict[str, float]] = []
    for number in range(asked.rounds):
        spent = {"plain loop": take_plain(plain, here, number, asked.steps)}
        looped, rendered = take_default(ready.networks, here, recipe)
        spent |= {"default loop": looped, "default loop and the final picture of 1024 px": looped + rendered}
        print(f"round {number + 1}: {spent}", file=sys.stderr)
        rounds.append(spent)
    head = (f"`python benchmarks/default_speed.py`. {stamp()} {asked.threads} threads, {asked.steps} steps, "
            f"{asked.rounds} rounds in turns; default: batches of {asked.faces}, {recipe.precision}.")
    title = TITLE if asked.device == "cpu" else f"{TITLE}, on a GPU"
    put_section(title, "\n".join([head, "", *table(rounds)]), asked.out)


if __name__ == "__main__":
    main()

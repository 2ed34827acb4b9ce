"""Measures how much of the optimization's way can be predicted from its start, and so whether a learned start helps.

    python benchmarks/warm_start.py SRC WORK [--write]

WORK is that of a finished run over SRC by a recipe that changes all layers (`mien anonymize SRC DST --work WORK`). Of
every face whose first attempt passed, the way from the start to the result is predicted by ridge regression from the
encoder's guess and the pool face, learned from the other faces; beside it, how much of the way the optimizer's own
first steps go. A start that goes less far than one step goes saves less than a step.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from results import put_section, stamp
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from mien.anonymizer.align import align
from mien.anonymizer.load import Loaded, prepare
from mien.anonymizer.losses import Faces, faces_of
from mien.anonymizer.optimize import optimize
from mien.images.decode import read_photo
from mien.jobs.face_index import FaceIndex
from mien.recipe import Recipe
from mien.types import Face

FOLDS = 5
STRENGTHS = (1e3, 3e3, 1e4, 3e4, 1e5, 3e5)
STEPS = (1, 2, 3)
SAMPLED = 30  # faces whose first steps are taken


@dataclass(frozen=True)
class Found:
    """One face: its photo's name, where it is, its pool face and the codes [L, 512] that it got."""

    name: str
    face: Face
    index: int
    result: Tensor


def found(work: Path) -> Iterator[Found]:
    """Yields the faces whose first attempt passed."""
    for file in sorted((work / "latents").glob("*.safetensors")):
        face_index, codes = FaceIndex.from_file(work / "faces" / file.name), load_file(file)
        marker = json.loads((work / "shards" / f"{file.stem}.json").read_text("utf-8"))
        assert face_index is not None, "the run is not finished"
        places = {name: place for place, name in enumerate(face_index.states)}
        for row in marker["outcomes"]:
            if row["status"] == "anonymized" and row["attempts"] == 1:
                place, number = places[row["file"]], row["face"]
                yield Found(row["file"], face_index.faces(place)[number], int(codes[f"{place}.{number}.pair"]),
                            codes[f"{place}.{number}.result"].float())


def seen(src: Path, one: Found, ready: Loaded, size: int) -> Faces:
    photo = read_photo(src / one.name, one.name)
    return faces_of(ready.networks, [one.face], [align(photo.pixels, one.face)], size)


def predicted(inputs: Tensor, ways: Tensor, count: int) -> tuple[float, float]:
    """Predicts ways [N, D] by a ridge of `count` others: the share explained and the cosine, at the best strength."""
    order = torch.randperm(len(ways), generator=torch.Generator().manual_seed(0))
    rests, cosines = torch.zeros(len(STRENGTHS)), torch.zeros(len(STRENGTHS))
    for fold in range(FOLDS):
        held = order[fold::FOLDS]
        known = torch.cat([order[other::FOLDS] for other in range(FOLDS) if other != fold])[:count]
        mean_x, mean_y = inputs[known].mean(dim=0), ways[known].mean(dim=0)
        x, y = inputs[known] - mean_x, ways[known] - mean_y
        kernel, across = x @ x.T, (inputs[held] - mean_x) @ x.T
        for i, strength in enumerate(STRENGTHS):
            guess = mean_y + across @ torch.linalg.solve(kernel + strength * torch.eye(len(x)), y)
            rests[i] += (ways[held] - guess).square().sum()
            cosines[i] += F.cosine_similarity(guess, ways[held], dim=1).sum()
    best = int(rests.argmin())
    return 1 - float(rests[best] / ways.square().sum()), float(cosines[best] / len(ways))


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("src", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    args = parser.parse_args()
    recipe = Recipe(**json.loads((args.work / "run.json").read_text("utf-8"))["recipe"]).settled()
    ready, rows = prepare(recipe), list(found(args.work))
    settings = recipe.optimize
    sampled = set(torch.linspace(0, len(rows) - 1, SAMPLED).long().tolist())
    guesses, starts, steps = [], [], {count: list[tuple[float, float]]() for count in STEPS}
    for i, one in enumerate(rows):
        faces = seen(args.src, one, ready, settings.size)
        with torch.no_grad():
            guess = ready.networks.encoder(faces.image)
        paired = ready.pool.codes[one.index][None]
        guesses.append(guess[0])
        starts.append(paired[:, None].lerp(guess, settings.share)[0])
        if i in sampled:
            way, target = (one.result - starts[i]).flatten(), ready.pool.identities[one.index][None]
            for count in STEPS:
                # The last step is not kept, since its picture was not measured: one more is asked for.
                asked = settings.model_copy(update={"steps": count + 1})
                gone = optimize(ready.networks, faces, guess, paired, asked, 0, target).codes[0] - starts[i]
                rest = (way - gone.flatten()).square().sum() / way.square().sum()
                steps[count].append((1 - float(rest), float(F.cosine_similarity(gone.flatten(), way, dim=0))))
        print(f"{i + 1}/{len(rows)}", end="\r", flush=True)
    pairs = ready.pool.codes[[row.index for row in rows]]
    ways = torch.stack([row.result for row in rows]).flatten(1) - torch.stack(starts).flatten(1)
    inputs = torch.cat([torch.stack(guesses).flatten(1), pairs], dim=1)
    lines = ["| start | of the way explained | cosine to the way |", "|---|---|---|"]
    most = len(rows) * (FOLDS - 1) // FOLDS
    for count in (most // 4, most // 2, most):
        share, cosine = predicted(inputs, ways, count)
        lines.append(f"| learned from {count} faces | {share:.1%} | {cosine:.2f} |")
    for count, gone in steps.items():
        share, cosine = torch.tensor(gone).mean(dim=0).tolist()
        lines.append(f"| {count} of the optimizer's {settings.steps} steps | {share:.1%} | {cosine:.2f} |")
    table = "\n".join(lines)
    about = (f"`python benchmarks/warm_start.py`. {stamp()} Recipe {recipe.name}, {len(rows)} faces, in "
             f"{FOLDS} folds; steps of {len(sampled)} faces.")
    if args.write:
        put_section("A learned start", f"{about}\n\n{table}")
    print(f"{about}\n\n{table}")


if __name__ == "__main__":
    main()

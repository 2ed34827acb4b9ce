"""Trains the look judge: sex, age and ethnic group.

    python training/utkface.py --data FOLDER --work FOLDER
    python training/look.py --work FOLDER --out src/mien/weights/look_judge.safetensors

It learns from the part of UTKFace that is for what judges (`utkface.PARTS`). What the attribute judge, which stays as
it is, knows of every face is computed once and kept in FOLDER. A training that was stopped goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from checkpoints import Averaged, load_checkpoint, save_checkpoint, save_half
from safetensors.torch import load_file, save_file
from schedule import warmed
from torch import Tensor
from torch.nn import functional as F
from utkface import Faces, load_faces

from mien.models.features.attribute_network import AttributeJudge
from mien.models.features.look_judge import AGES, GROUPS, LookJudge
from mien.models.hub.shipped import shipped_file
from mien.models.recognition.independent_judge import IndependentJudge
from mien.util.image_tensors import to_tensor

BATCH, EPOCHS, RATE, TRUNK_RATE, DECAY = 64, 10, 1e-3, 2e-4, 0.05
FROZEN = 5  # first blocks that keep the recognizer's weights, stem included
DROP = 0.4
SMOOTH = 0.05  # of the labels
VIEWS = ("plain", "mirrored")
EDGES = np.array([0, 2, 3, 4, 5, 7, 9, 11, 13, 15, 18, 21, 25, 29, 33, 38, 43, 49, 55, 61, 68, 75, 83, 90])  # years


def know(faces: Faces, part: str, kind: str, work: Path) -> Tensor:
    """Computes the attribute judge's features [N, 1280] of a part's faces in one of `VIEWS`, or reads them."""
    path = work / f"look_{part.replace(' ', '_')}_{kind}.safetensors"
    if path.exists():
        return load_file(path)["features"]
    attributes, known = AttributeJudge.from_file(shipped_file("attribute_judge")), []
    for rows in np.array_split(faces.of(part), max(len(faces.of(part)) // 32, 1)):
        crops = to_tensor(faces.pixels[rows])
        with torch.inference_mode():
            known.append(attributes.pooled(crops.flip(3) if kind == "mirrored" else crops))
    save_file({"features": torch.cat(known)}, path)
    print(f"{part}, {kind}: {len(faces.of(part))} faces", flush=True)
    return torch.cat(known)


def changed(chips: Tensor, rng: torch.Generator) -> Tensor:
    """Turns, scales and shifts aligned faces [B, 3, 112, 112] a little, and changes their light, tint and sharpness."""
    angle, scale, x, y, light, contrast = ((torch.rand(len(chips), generator=rng) * 2 - 1) * size
                                           for size in (0.1, 0.08, 0.05, 0.05, 0.15, 0.2))
    cos, sin = (1 + scale) * angle.cos(), (1 + scale) * angle.sin()
    theta = torch.stack([torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)], 1)
    grid = F.affine_grid(theta, list(chips.shape), align_corners=False)
    moved = F.grid_sample(chips, grid, padding_mode="reflection", align_corners=False)
    coarse = F.interpolate(F.avg_pool2d(moved, 2), scale_factor=2, mode="bilinear")
    moved = torch.where((torch.rand(len(chips), generator=rng) < 0.2)[:, None, None, None], coarse, moved)
    tint = 0.06 * (2 * torch.rand(len(chips), 3, 1, 1, generator=rng) - 1)
    return (moved * (1 + contrast)[:, None, None, None] + light[:, None, None, None] + tint).clamp(-1, 1)


def age_class(age: Tensor) -> Tensor:
    """The class [N] of ages in years [N]."""
    return torch.bucketize(age, torch.from_numpy(EDGES[1:]).float(), right=True)


def start(faces: Faces, known: Tensor) -> LookJudge:
    """Begins with the independent judge's weights, and with the statistics of what is known [N, 1280] of the faces."""
    judge, rows = LookJudge(), faces.of("judge")
    recognizer = IndependentJudge.from_file(shipped_file("independent_judge"))
    judge.trunk.load_state_dict(recognizer.state_dict())
    judge.requires_grad_(True)
    judge.trunk.stem.requires_grad_(False)
    judge.trunk.blocks[:FROZEN].requires_grad_(False)
    with torch.inference_mode():
        vectors = torch.cat([recognizer.identify(to_tensor(faces.chips[some]))
                             for some in np.array_split(rows[:1024], 16)])
    mean, spread = (torch.cat([one(known), one(vectors)]) for one in (lambda x: x.mean(0), lambda x: x.std(0)))
    judge.mean.copy_(mean)
    judge.scale.copy_(1 / (spread + 0.05 * spread.mean()))
    age = faces.age[rows]
    judge.years.copy_(torch.stack([age[age_class(age) == one].mean() for one in range(AGES)]))
    return judge


def loss_of(judge: LookJudge, known: Tensor, chips: Tensor, age: Tensor, man: Tensor, group: Tensor,
            weights: Tensor) -> Tensor:
    """The loss of a batch: age in years, man, group; weights [5] of the groups."""
    told_man, told_age, told_group = judge.logits(known, chips, DROP)
    sex = F.binary_cross_entropy_with_logits(told_man, man.float() * (1 - SMOOTH) + SMOOTH / 2)
    ages = F.cross_entropy(told_age, age_class(age), label_smoothing=SMOOTH)
    years = (told_age.softmax(1) @ judge.years - age).abs().mean()
    return sex + 0.5 * ages + 0.04 * years + F.cross_entropy(told_group, group, weights, label_smoothing=SMOOTH)


def train(work: Path, out: Path, epochs: float) -> None:
    """Trains the judge and writes its weights."""
    torch.manual_seed(3)
    faces = load_faces(work)
    rows, known = faces.of("judge"), [know(faces, "judge", kind, work) for kind in VIEWS]
    judge = start(faces, known[0])
    counts = torch.bincount(faces.group[rows], minlength=len(GROUPS)).float()
    weights = (counts.mean() / counts).sqrt()
    trunk = {id(one) for one in judge.trunk.parameters()}
    moving = [p for p in judge.trunk.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([{"params": moving, "factor": TRUNK_RATE},
                                   {"params": [p for p in judge.parameters() if id(p) not in trunk], "factor": RATE}],
                                  weight_decay=DECAY)
    averaged, steps, began = Averaged(judge), int(epochs * len(rows) / BATCH), time.monotonic()
    for step in range(load_checkpoint(work / "look.pt", judge, optimizer, averaged.mean), steps):
        torch.manual_seed(step)  # for dropout
        rng, draws = torch.Generator().manual_seed(step), np.random.default_rng(step)
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * warmed(step, steps, 100)
        some, mirrored = draws.integers(len(rows), size=BATCH), step % 2
        chips = to_tensor(faces.chips[rows[some]])
        chips = changed(chips.flip(3) if mirrored else chips, rng)
        at = rows[some]
        loss = loss_of(judge, known[mirrored][some], chips, faces.age[at], ~faces.woman[at], faces.group[at], weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        averaged.update(step)
        if (step + 1) % 50 == 0 or step + 1 == steps:
            print(f"step {step + 1}/{steps} {(time.monotonic() - began) / 60:.1f} min, loss {loss.item():.3f}",
                  flush=True)
            save_checkpoint(work / "look.pt", judge, optimizer, step + 1, averaged.mean)
            save_half(averaged.copy(), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    train(arguments.work, arguments.out, arguments.epochs)


if __name__ == "__main__":
    main()

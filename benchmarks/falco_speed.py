"""Measures the paper's optimization (`--recipe falco`) against its plain loop: seconds a step, memory, and the codes.

    python benchmarks/falco_speed.py --work FOLDER                              # with imported checkpoints
    python benchmarks/falco_speed.py --work FOLDER --vectors tests/conformance/data    # with filled weights

Every way runs in a process of its own, in turns, a few rounds each; a ratio is taken within a round. All start from
the same codes and pictures, and what they end in is compared with the plain loop's end. What the 256 px output changes
is also measured with trained weights, those of the mobile set: filled ones draw noise on top of it at 512 and 1024 px.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from plain_falco import PlainStyleGAN2, plain_loop
from results import put_section, stamp
from safetensors.torch import load_file, save_file
from torch import Tensor

from mien.anonymizer.optimize_falco import WPlus, descend, measure, targets_of
from mien.models.bundle import Networks
from mien.models.features.base import TokenFeatures
from mien.models.features.vit import VisionTransformer
from mien.models.generators.stylegan2 import StyleGAN2, prepare_stylegan2
from mien.models.hub.imported import published_path
from mien.models.model_sets import model_set
from mien.models.recognition.arcface import ArcFace, face_view
from mien.recipe import Recipe
from mien.util.precision import PRECISIONS

NAMES = ("stylegan2_ffhq1024", "arcface", "farl")
TITLE = "The paper's optimization against its plain loop"


@dataclass(frozen=True)
class Way:
    """One way to take the steps; `size` 1024 looks at the whole picture."""

    title: str
    size: int = 256
    batch: int = 4
    precision: str = "float32"


WAYS = {"plain": Way("plain loop: batch 1, 1024 px, targets anew, gradients for all weights", 1024, 1),
        "once": Way("ours at 1024 px: targets once, gradients for the codes alone, batch 1", 1024, 1),
        "small": Way("ours through the 256 px output, batch 1", 256, 1),
        "batch": Way("ours through the 256 px output, batch 4"),
        "bfloat16": Way("the same in bfloat16", precision="bfloat16")}


def fill(vectors: Path, work: Path) -> dict[str, Path]:
    """Makes weights of the published shapes by the vectors' rule, and keeps them under `work`."""
    spec = importlib.util.spec_from_file_location("fill", vectors / "fill.py")
    assert spec is not None and spec.loader is not None
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    paths = {}
    for name, manifest, prefix in zip(NAMES, ("stylegan2_ffhq1024", "arcface_ir_se50", "farl_vitb16_visual"),
                                      ("", "", "visual."), strict=True):
        paths[name] = work / f"{name}.safetensors"
        if not paths[name].exists():
            state = {key: torch.from_numpy(value) for key, value in rule.load(manifest, prefix).items()}
            save_file(prepare_stylegan2(state) if name == NAMES[0] else state, paths[name])
    return paths


def scene(generator: StyleGAN2, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Generates pictures [N, 3, 256, 256] of "real" faces, their W+, and that of their pool faces [N, 18, 512]."""
    rng = torch.Generator().manual_seed(1)
    real, paired = (generator.truncate(generator.map(torch.randn(count, 512, generator=rng)), 0.7)[:, None]
                    .repeat(1, generator.n_layers, 1) for _ in range(2))
    with torch.inference_mode():
        photo = generator(real, 256)
    return photo.clone(), real, paired


def take(way: Way, name: str, paths: dict[str, Path], work: Path, steps: int) -> dict[str, Any]:
    """Runs one way once in this process: gives seconds by step and face and peak memory, and writes codes to a file."""
    precision = PRECISIONS[way.precision]
    generator = StyleGAN2.from_file(paths[NAMES[0]])
    recognizer, attributes = ArcFace.from_file(paths[NAMES[1]], precision), VisionTransformer.from_file(
        paths[NAMES[2]], precision)
    photo, real, paired = (rows[: way.batch] for rows in scene(generator, WAYS["batch"].batch))
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(time.perf_counter())

    if name == "plain":
        plain = PlainStyleGAN2(load_file(paths[NAMES[0]]))
        del generator
        codes = plain_loop(plain, lambda image: recognizer(face_view(image)), TokenFeatures(attributes).tokens,
                           [*attributes.buffers(), *attributes.parameters()], photo, real, paired, steps, tick)
    else:
        networks = cast(Networks, SimpleNamespace(
            generator=generator, preview=lambda wp: generator(wp, 256, precision), recognizer=recognizer,
            features=TokenFeatures(attributes), precision=precision))
        settings = Recipe.load("falco").optimize.model_copy(update={"steps": steps, "full_size": way.size == 1024})
        moving = WPlus(networks, real, paired, settings.layers)
        picture = moving.picture

        def watched(size: int | None) -> Tensor:
            tick()
            return picture(size)

        moving.picture = watched  # type: ignore[method-assign]
        descend(networks, targets_of(networks, photo, raw=False), moving, settings)
        tick()
        codes = moving.w_plus().detach()
    save_file({"codes": codes.contiguous(), "start": torch.cat([real[:, :3], paired[:, 3:8], real[:, 8:]], dim=1)},
              work / f"{name}.codes.safetensors")
    spent = (np.diff(ticks) / way.batch).tolist()
    return {"seconds": spent, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def distance(work: Path, name: str, to: str) -> str:
    """The distance of the first face's end from another way's, relative to the way that one went from the start."""
    one, other = (load_file(work / f"{each}.codes.safetensors") for each in (name, to))
    gap, way = one["codes"][:1] - other["codes"][:1], other["codes"][:1] - other["start"][:1]
    return f"{100 * float(gap.norm() / way.norm()):.3g} %"


def trained(count: int, steps: int) -> str:
    """Compares optimizing through 256 px with optimizing through the whole picture, with the mobile set's networks."""
    chosen = model_set("mobile")
    networks = chosen.load(chosen.gather())
    generator, base = networks.generator, Recipe.load("falco").optimize
    rng = torch.Generator().manual_seed(1)
    real, paired = (generator.truncate(generator.map(torch.randn(count, 512, generator=rng)), 0.7)[:, None]
                    .repeat(1, generator.n_layers, 1) for _ in range(2))
    with torch.no_grad():
        goal = targets_of(networks, networks.preview(real), raw=False)
    ends = [WPlus(networks, real, paired, base.layers).w_plus().detach()]
    for full in (True, False):
        codes = WPlus(networks, real, paired, base.layers)
        descend(networks, goal, codes, base.model_copy(update={"steps": steps, "full_size": full}))
        ends.append(codes.w_plus().detach())
    with torch.inference_mode():
        losses = [[float(value.abs().mean()) for value in measure(networks, goal, networks.render(end), raw=False)]
                  for end in ends]
    start, whole, small = ends
    gap = (small - whole).flatten(1).norm(dim=1) / (whole - start).flatten(1).norm(dim=1)
    rows = [f"| {name} | {cosine:.3f} | {attribute:.2f} |" for name, (cosine, attribute) in
            zip(("start", "end, through the whole picture", "end, through 256 px"), losses, strict=True)]
    said = (f"With the mobile set's trained weights, {count} faces, {steps} steps, float32; losses of the whole "
            "picture, mean over faces. Its preview head, a network that guesses the 256 px picture, stands in for "
            "StyleGAN2's own output, which is a part of the picture: what is lost here is an upper bound. Most of the "
            "numbers hardly show, and Adam moves them all the same: the two ends "
            f"are {100 * float(gap.mean()):.0f} % of the way gone apart.")
    return "\n".join([said, "", "| | cosine to the original | attribute loss |", "|---|---|---|", *rows])


def table(rounds: list[dict[str, dict[str, Any]]], work: Path, steps: int, weights: str) -> str:
    lines = [f"`python benchmarks/falco_speed.py`. {stamp()} {weights} weights, {steps} steps, {len(rounds)} rounds.",
             "", "Codes: how far the end is from the plain loop's, and from that of the 256 px output in float32, "
             "batch 1, relative to the way gone from the start.", "",
             "| way | s a step and face: median (least, most) | faster than the plain loop (at least 20 x): median "
             "(least, most) | peak GB | codes, to the plain loop's | to 256 px's |", "|---|---|---|---|---|---|"]
    for name, way in WAYS.items():
        spent = [median(one[name]["seconds"]) for one in rounds]
        ratio = [median(one["plain"]["seconds"]) / value for one, value in zip(rounds, spent, strict=True)]
        memory = max(one[name]["memory"] for one in rounds)
        lines.append(f"| {way.title} | {median(spent):.2f} ({min(spent):.2f}, {max(spent):.2f}) | "
                     f"{median(ratio):.1f} x ({min(ratio):.1f}, {max(ratio):.1f}) | {memory:.1f} | "
                     f"{distance(work, name, 'plain')} | {distance(work, name, 'small')} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--vectors", type=Path, help="folder of the conformance vectors, for filled weights")
    parser.add_argument("--steps", type=int, default=6, help="at each way and round; the first is not timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--faces", type=int, default=4, help="of the comparison with trained weights")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    paths = (fill(arguments.vectors, arguments.work) if arguments.vectors
             else {name: published_path(name) for name in NAMES})
    if arguments.one:
        print(json.dumps(take(WAYS[arguments.one], arguments.one, paths, arguments.work, arguments.steps)))
        return
    rounds: list[dict[str, dict[str, Any]]] = []
    for number in range(arguments.rounds):
        rounds.append({})
        for name in WAYS:
            call = [sys.executable, *sys.argv, "--one", name]
            rounds[-1][name] = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
            print(f"round {number + 1}, {name}: {median(rounds[-1][name]['seconds']):.2f} s", file=sys.stderr)
    text = table(rounds, arguments.work, arguments.steps, "Filled" if arguments.vectors else "Published")
    put_section(TITLE, f"{text}\n\n{trained(arguments.faces, 50)}")


if __name__ == "__main__":
    main()

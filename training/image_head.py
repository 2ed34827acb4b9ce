"""Trains a preview head: the generator's features -> the full output shrunk by area.

    python training/image_head.py pairs --work FOLDER --inverted codes.safetensors
    python training/image_head.py train --work FOLDER --size 256 --out src/mien/weights/image_head_256.safetensors
    python training/image_head.py train --work FOLDER --size 128 --out src/mien/weights/image_head_128.safetensors

`pairs` generates features and shrunk pictures once into WORK (seeded: sample i is always the same code) and goes on
where it was stopped. So does `train`, which takes random crops, and which trains further when it is given more steps.
The codes are, a quarter each: one w with truncation 0.5 to 1.0; two w mixed at a random layer; every layer jittered in
whitened coordinates; inverted real photographs (a file with `codes` [N, 16, 512], whitened), whose first HELD_OUT / 4
are kept for measuring and whose others are mixed in training.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import cast

import numpy as np
import torch
from checkpoints import load_checkpoint, save_checkpoint, save_half
from safetensors.torch import load_file
from schedule import falling
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.generators.base import DIM
from mien.models.generators.mobilestylegan import N_LAYERS, Block, MobileStyleGAN
from mien.models.generators.preview_head import SCALE, SHAPES, PreviewHead
from mien.models.hub.fetch import ensure
from mien.util.memory import keep_freed_memory

HELD_OUT = 200  # the first samples are never trained on
KINDS = ("one w", "mixed styles", "jittered layers", "inverted photographs")
BATCH = 8
CROPS = {256: 48, 128: 32}  # size of the head -> side of the feature maps' crops
RATE = 2e-3


def sample_code(generator: MobileStyleGAN, inverted: Tensor, i: int) -> Tensor:
    """Makes the W+ code [1, 16, 512] number i, of the four kinds in turn; `inverted`: whitened [N, 16, 512]."""
    rng = torch.Generator().manual_seed(1_000_003 * (i + 1))
    kind, kept = i % len(KINDS), HELD_OUT // len(KINDS)
    if kind == 3 and i < HELD_OUT:
        return generator.color(inverted[i // len(KINDS)][None])
    if kind == 3:
        a, b = inverted[kept + torch.randint(len(inverted) - kept, (2,), generator=rng)]
        return generator.color(torch.lerp(a, b, 0.4 * torch.rand(1, generator=rng).item())[None])
    w = generator.map(torch.randn(2, DIM, generator=rng))
    w = generator.truncate(w, 0.5 + 0.5 * torch.rand(1, generator=rng).item())
    wp = w[:1, None].repeat(1, N_LAYERS, 1)
    if kind == 1:
        wp[:, int(torch.randint(2, 14, (1,), generator=rng)) :] = w[1:, None]
    if kind == 2:
        v = generator.whiten(wp)
        wp = generator.color(v + 0.4 * torch.randn(v.shape, generator=rng))
    return wp


@torch.no_grad()
def start_from(head: PreviewHead, generator: MobileStyleGAN) -> None:
    """Initializes a head with the generator's own layers; of the first layer's channels it takes the strongest."""
    block = cast(Block, generator.blocks[head.shape.blocks])
    after = cast(Block, generator.blocks[head.shape.blocks + 1]).up
    a, b = head.shape.widths
    keep = block.conv2.weight[:b, :, 0, 0].square().sum(0).topk(a).indices.sort().values
    head.style1.weight.copy_(block.conv1.affine)
    head.style1.bias.copy_(block.conv1.affine_bias)
    head.depthwise1.weight.copy_(block.conv1.depthwise)
    head.pointwise1.weight.copy_(block.conv1.weight[keep])
    cast(Tensor, head.pointwise1.bias).copy_(block.conv1.bias.flatten()[keep] * SCALE)
    head.style2.weight.copy_(block.conv2.affine[keep])
    head.style2.bias.copy_(block.conv2.affine_bias[keep])
    head.depthwise2.weight.copy_(block.conv2.depthwise[keep])
    head.pointwise2.weight.copy_(block.conv2.weight[:b][:, keep])
    cast(Tensor, head.pointwise2.bias).copy_(block.conv2.bias.flatten()[:b] * SCALE)
    for noise, layer in zip(head.noise, (block.conv1, block.conv2), strict=False):
        noise.copy_(layer.noise[0] * SCALE)
    head.style3.weight.copy_(after.affine[:b])
    head.style3.bias.copy_(after.affine_bias[:b])
    nn.init.normal_(head.later.weight, std=0.002)
    head.later.bias.zero_()
    head.depthwise3.weight[:, :, 1, 1] += 1


class Pairs:
    """Holds memory-mapped features and pictures of both sizes, and the codes [N, 16, 512] that they come from."""

    def __init__(self, generator: MobileStyleGAN, inverted: Tensor, count: int, work: Path) -> None:
        self.work, self.count, self.generator = work, count, generator
        self.codes = torch.cat([sample_code(generator, inverted, i) for i in range(count)])
        self.features = {size: _mapped(work / f"features_{size}.f16", (count, s.channels, size // 2, size // 2))
                         for size, s in SHAPES.items()}
        self.pictures = {size: _mapped(work / f"pictures_{size}.f16", (count, 3, size, size)) for size in SHAPES}

    @property
    def done(self) -> int:
        """How many pairs are generated so far."""
        path = self.work / "done.txt"
        return int(path.read_text()) if path.exists() else 0

    @torch.inference_mode()
    def generate(self) -> None:
        """Generates the pairs that are missing, from where an earlier run stopped."""
        for i in range(self.done, self.count):
            wp = self.codes[i : i + 1]
            full = self.generator(wp)
            for size, shape in SHAPES.items():
                self.features[size][i] = self.generator.modulated(wp, shape.blocks)[0].half().numpy()
                shrunk = F.interpolate(full, size=(size, size), mode="area")
                self.pictures[size][i] = shrunk[0].half().numpy()
            (self.work / "done.txt").write_text(str(i + 1))
            if i % 50 == 0:
                print(f"generated {i}/{self.count}", flush=True)


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Maps the first rows of a file, which grows where it has fewer and keeps further ones."""
    with path.open("ab") as handle:
        if handle.tell() < 2 * math.prod(shape):
            handle.truncate(2 * math.prod(shape))
    return np.memmap(path, np.float16, "r+", shape=shape)


@torch.inference_mode()
def psnr(head: PreviewHead, pairs: Pairs, step: int = 1) -> Tensor:
    """Measures the peak signal-to-noise ratio (dB, range -1..1) of every held-out picture, or of every `step`-th."""
    values = []
    for i in range(0, HELD_OUT, step):
        out = head(torch.from_numpy(pairs.features[head.size][i : i + 1]).float(), pairs.codes[i : i + 1])
        error = (out[0] - torch.from_numpy(pairs.pictures[head.size][i]).float()).square().mean()
        values.append(10 * torch.log10(4 / error))
    return torch.stack(values)


def train(head: PreviewHead, pairs: Pairs, steps: int, out: Path) -> None:
    """Trains by Adam on each crop's squared error and its root, with a cosine schedule; goes on from its checkpoint."""
    features, pictures = pairs.features[head.size], pairs.pictures[head.size]
    # Layers taken over from the generator are nearly right, and need a low rate: small changes of many weights add up.
    new = ("depthwise3", "pointwise3", "colors", "shortcut", "map")
    scales = {"later": 0.06, "style": 0.05} | dict.fromkeys(new, 1.0)
    optimizer = torch.optim.Adam([{"params": [p]} for p in head.parameters()], betas=(0.9, 0.99))
    checkpoint = pairs.work / f"head_{head.size}.pt"
    first = load_checkpoint(checkpoint, head, optimizer)
    for group, (name, _) in zip(optimizer.param_groups, head.named_parameters(), strict=True):
        group["scale"] = scales.get(name.split(".")[0].rstrip("12"), 0.1)
    available = pairs.done
    side, started = features.shape[-1], time.monotonic()
    crop = CROPS[head.size]
    head.to(memory_format=torch.channels_last)
    for step in range(first, steps):
        rng = np.random.default_rng(step)
        for group in optimizer.param_groups:
            group["lr"] = group["scale"] * (RATE * min(1, step / 200) * falling(step, steps) + 1e-5)
        rows = rng.integers(HELD_OUT, available, BATCH)
        y, x = rng.integers(0, side - crop + 1, 2)
        part = torch.from_numpy(np.stack([features[i, :, y : y + crop, x : x + crop] for i in rows])).float()
        part = part.contiguous(memory_format=torch.channels_last)
        wanted = torch.from_numpy(np.stack(
            [pictures[i, :, 2 * y : 2 * (y + crop), 2 * x : 2 * (x + crop)] for i in rows])).float()
        got = head(part, pairs.codes[rows], (int(y), int(x)))
        # The crop's rim lacks its neighbors.
        errors = (got - wanted)[:, :, 3:-3, 3:-3].square().mean(dim=(1, 2, 3))
        loss = errors.sqrt().mean() + 3 * errors.mean()  # the mean in dB, and the worst ones
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 250 == 0:
            values = psnr(head, pairs, 10)
            spent = (time.monotonic() - started) / 60
            print(f"step {step + 1} {spent:.1f} min, dB mean {values.mean():.2f} worst {values.min():.2f}", flush=True)
            save_checkpoint(checkpoint, head, optimizer, step + 1)
            available = pairs.done
    save_half(head.to(memory_format=torch.contiguous_format), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pairs", "train"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--inverted", type=Path, help="needed for pairs")
    parser.add_argument("--count", type=int, default=1600)
    parser.add_argument("--size", type=int, choices=tuple(SHAPES), default=256)
    parser.add_argument("--steps", type=int, default=6500)
    parser.add_argument("--out", type=Path, help="needed to train")
    arguments = parser.parse_args()
    if arguments.what == "train" and arguments.out is None:
        parser.error("train needs --out")
    keep_freed_memory()
    torch.manual_seed(0)
    arguments.work.mkdir(parents=True, exist_ok=True)
    generator = MobileStyleGAN.from_file(ensure(["mobilestylegan"])["mobilestylegan"])
    inverted = load_file(arguments.inverted)["codes"]
    pairs = Pairs(generator, inverted, arguments.count, arguments.work)
    if arguments.what == "pairs":
        pairs.generate()
        return
    head = PreviewHead(arguments.size)
    start_from(head, generator)
    train(head, pairs, arguments.steps, arguments.out)
    values = psnr(head, pairs)
    print(f"{HELD_OUT} held-out codes: {values.mean():.2f} dB mean, {values.min():.2f} dB worst")


if __name__ == "__main__":
    main()

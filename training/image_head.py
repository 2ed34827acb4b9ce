"""Train the image head: generator features -> the full output shrunk by area.

    python training/image_head.py --work FOLDER --out src/mien/weights/image_head_256.safetensors

Two phases, each restartable: pairs of features and shrunk pictures are generated once into WORK (seeded:
sample i is always the same code), then the head is trained on random crops. Codes: one w with truncation 0.5
to 1.0, two w mixed at a random layer, and W+ with every layer jittered in whitened coordinates.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from mien.models.fetch import ensure
from mien.models.generator import DIM
from mien.models.image_head import BLOCKS, CHANNELS, SIZE, ImageHead
from mien.models.mobilestylegan import N_LAYERS, MobileStyleGAN

HELD_OUT = 60  # the first samples are never trained on
CROP = 32


def sample_code(generator: MobileStyleGAN, i: int) -> Tensor:
    """W+ [1, 16, 512] number i, of the three kinds in turn."""
    rng = torch.Generator().manual_seed(1_000_003 * (i + 1))
    w = generator.map(torch.randn(2, DIM, generator=rng))
    psi = 0.5 + 0.5 * torch.rand(1, generator=rng).item()
    w = generator.truncate(w, psi)
    wp = w[:1, None].repeat(1, N_LAYERS, 1)
    if i % 3 == 1:
        wp[:, int(torch.randint(2, 14, (1,), generator=rng)) :] = w[1:, None]
    if i % 3 == 2:
        v = generator.whiten(wp)
        wp = generator.colour(v + 0.4 * torch.randn(v.shape, generator=rng))
    return wp


@torch.inference_mode()
def generate(generator: MobileStyleGAN, count: int, work: Path) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Memory-mapped modulated features and pictures, and the codes; resumes where an earlier run stopped."""
    side = SIZE // 4
    features = _mapped(work / "features.f16", (count, CHANNELS, side, side))
    pictures = _mapped(work / "pictures.f16", (count, 3, SIZE, SIZE))
    done = work / "done.txt"
    start = int(done.read_text()) if done.exists() else 0
    for i in range(start, count):
        wp = sample_code(generator, i)
        features[i] = generator.modulated(wp, BLOCKS)[0].half().numpy()
        pictures[i] = F.interpolate(generator(wp), size=(SIZE, SIZE), mode="area")[0].half().numpy()
        done.write_text(str(i + 1))
        if i % 50 == 0:
            print(f"generated {i}/{count}", flush=True)
    return features, pictures, torch.cat([sample_code(generator, i) for i in range(count)])


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    mode = "r+" if path.exists() and path.stat().st_size == 2 * math.prod(shape) else "w+"
    return np.memmap(path, np.float16, mode, shape=shape)


@torch.inference_mode()
def psnr(head: ImageHead, features: np.ndarray, pictures: np.ndarray, codes: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (dB, range -1..1) of every held-out picture."""
    values = []
    for i in range(HELD_OUT):
        out = head(torch.from_numpy(features[i : i + 1]).float(), codes[i : i + 1])
        error = (out[0] - torch.from_numpy(pictures[i]).float()).square().mean()
        values.append(10 * torch.log10(4 / error))
    return torch.stack(values)


def train(head: ImageHead, data: tuple[np.ndarray, np.ndarray, Tensor], minutes: float, out: Path) -> None:
    features, pictures, codes = data
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(head.parameters(), lr=2e-3, betas=(0.9, 0.99))
    side, end = features.shape[-1], time.monotonic() + 60 * minutes
    started, step = time.monotonic(), 0
    while (now := time.monotonic()) < end:
        done = (now - started) / (end - started)
        optimizer.param_groups[0]["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * done)) + 1e-5
        rows = rng.integers(HELD_OUT, len(features), 8)
        y, x = rng.integers(0, side - CROP + 1, 2)
        part = torch.from_numpy(np.stack([features[i, :, y : y + CROP, x : x + CROP] for i in rows])).float()
        wanted = torch.from_numpy(np.stack(
            [pictures[i, :, 4 * y : 4 * (y + CROP), 4 * x : 4 * (x + CROP)] for i in rows])).float()
        got = head(part, codes[rows], (int(y), int(x)))
        # the crop's rim lacks its neighbours
        loss = (got - wanted)[:, :, 6:-6, 6:-6].square().mean().sqrt()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 500 == 0:
            values = psnr(head, features, pictures, codes)
            print(f"step {step} {done:.2f} dB mean {values.mean():.2f} worst {values.min():.2f}", flush=True)
            save(head, out)


def save(head: ImageHead, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in head.state_dict().items()}, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=700)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    arguments.work.mkdir(parents=True, exist_ok=True)
    generator = MobileStyleGAN.from_file(ensure(["mobilestylegan"])["mobilestylegan"])
    data = generate(generator, arguments.count, arguments.work)
    head = ImageHead()
    train(head, data, arguments.minutes, arguments.out)
    save(head, arguments.out)
    values = psnr(head, *data)
    print(f"{HELD_OUT} held-out codes: {values.mean():.2f} dB mean, {values.min():.2f} dB worst")


if __name__ == "__main__":
    main()

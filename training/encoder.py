"""Trains the encoder: an aligned face -> whitened W+ codes.

    python training/encoder.py --work FOLDER --out src/mien/weights/encoder.safetensors

WORK holds the photographs (`photos.py`). Every batch has real faces of CelebA-HQ's train split, whose pictures the
codes must give back (by pixels at three sizes, the attribute network's features, the five points predicted from these,
and later SFace's identity), and generated ones, whose codes are also known. Pictures are the generator's previews of
128 px, in bfloat16. A training that was stopped goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from checkpoints import Averaged, load_checkpoint, save_checkpoint, save_half
from photos import Photos, load_photos
from schedule import warmed
from torch import Tensor
from torch.nn import functional as F

from mien.models.features.attribute_network import AttributeNetwork
from mien.models.features.efficientnet_lite import EfficientNetLite0
from mien.models.generators.base import DIM
from mien.models.generators.mobile_encoder import PASSES, SIZE, MobileEncoder
from mien.models.generators.mobilestylegan import N_LAYERS, MobileStyleGAN
from mien.models.generators.preview_head import PreviewHead
from mien.models.hub.fetch import ensure
from mien.models.hub.shipped import shipped_file
from mien.models.recognition.sface import SFace
from mien.util.image_tensors import ellipse, view
from mien.util.memory import keep_freed_memory

BATCH = 16
RATE = 7e-4
FEATURES = (2, 4, 10)  # blocks whose maps are compared: 32x32, 16x16 and 8x8 at 128 px
POINTED = 4000  # photographs to which the prediction of the five points is fitted


class Training:
    """Holds the frozen networks and the photographs, and computes the loss of codes."""

    def __init__(self, photos: Photos, head: Path) -> None:
        paths = ensure(["mobilestylegan", "efficientnet_lite0", "sface"])
        self.photos = photos
        self.generator = MobileStyleGAN.from_file(paths["mobilestylegan"]).requires_grad_(False)
        self.fast = self.generator.reduced(torch.bfloat16)
        self.head = PreviewHead.from_file(head, SIZE).reduced(torch.bfloat16)
        self.features = AttributeNetwork.from_file(shipped_file("attribute_network")).trunk
        self.recognizer = SFace.from_file(paths["sface"])
        self.weights = paths["efficientnet_lite0"]
        self.face = 0.5 + 0.5 * ellipse(SIZE, grow=0.12, soft=0.15)
        self.points = self._points()
        # Errors in directions of large spread show more in the picture; the smallest weight is above 0.
        spread = self.generator.whiten_spread
        self.visible = (spread / spread.mean()).clamp(0.05, 4)
        self.compiled = torch.compile(self._look, dynamic=False)
        with torch.no_grad():
            self.first = self.preview(torch.zeros(1, N_LAYERS, DIM)).clamp(-1, 1)  # of the codes before the first pass

    def _points(self) -> Tensor:
        """Fits the map [N, 10] from features to the five points' coordinates, by ridge regression on train."""
        features, rows = [], np.arange(min(POINTED, self.photos.train))
        with torch.no_grad():
            for part in np.array_split(rows, max(len(rows) // BATCH, 1)):
                image = F.interpolate(self.photos.images(part), size=(SIZE, SIZE), mode="area")
                features.append(_flat([F.normalize(one, dim=1) for one in self.features(image, FEATURES)]))
        x, y = torch.cat(features), self.photos.points[rows]
        y = (y / (y[:, 0] - y[:, 1]).norm(dim=1).mean()).flatten(1)
        x, y = x - x.mean(dim=0), y - y.mean(dim=0)
        inner = x @ x.T
        inner += 0.1 * inner.diagonal().mean() * torch.eye(len(rows))
        return x.T @ torch.linalg.solve(inner, y)

    def _look(self, codes: Tensor) -> Tensor:
        return self.head.preview(self.fast, self.fast.color(codes))

    def preview(self, codes: Tensor) -> Tensor:
        """Renders previews [B, 3, 128, 128] of whitened codes [B, 16, 512]."""
        return torch.as_tensor(self.compiled(codes))

    def generated(self, count: int, rng: torch.Generator) -> Tensor:
        """Draws codes [count, 16, 512] of generated faces, randomly nearer to the mean, with layers a little apart."""
        v = self.generator.whiten(self.generator.map(torch.randn(count, DIM, generator=rng)))[:, None]
        v = v * (0.6 + 0.4 * torch.rand(count, 1, 1, generator=rng))
        apart = 0.35 * torch.rand(count, 1, 1, generator=rng)
        return v + apart * torch.randn(count, N_LAYERS, DIM, generator=rng)

    def batch(self, step: int, real: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Makes a batch: pictures [B, 3, 128, 128], `real` ones first, pixel weights, views, and generated codes."""
        rng = torch.Generator().manual_seed(step)
        rows = np.random.default_rng(step).integers(0, self.photos.train, real)
        image = F.interpolate(self.photos.images(rows), size=(SIZE, SIZE), mode="area")
        inside = torch.from_numpy(self.photos.inside[rows]).float()[:, None]
        weight = F.interpolate(inside, size=(SIZE, SIZE), mode="area") * self.face
        views = self.photos.views[rows].clone()
        views[:, :, :2] *= 256 / SIZE
        if torch.rand(1, generator=rng) < 0.5:
            # A mirrored face is aligned by the mirrored view: x -> 127 - x on both sides.
            image, weight = image.flip(3), weight.flip(3)
            views = mirrored(views)
        codes = self.generated(BATCH - real, rng)
        with torch.no_grad():
            fake = self.preview(codes).clamp(-1, 1)
        return (torch.cat([image, fake]), torch.cat([weight, self.face.expand(len(fake), -1, -1, -1)]), views, codes)

    def losses(self, codes: Tensor, image: Tensor, weight: Tensor, views: Tensor, known: Tensor,
               identity: float) -> tuple[Tensor, Tensor]:
        """Computes the loss of the batch's codes, and their previews."""
        real = len(views)
        preview = self.preview(codes)
        loss = 1.5 * pixels(preview, image, weight).mean()
        got, wanted = ([F.normalize(f, dim=1) for f in self.features(one, FEATURES)] for one in (preview, image))
        for a, b in zip(got, wanted, strict=True):
            w = F.interpolate(weight, size=a.shape[-2:], mode="area")
            distance = (a - b).square().sum(dim=1, keepdim=True)
            loss = loss + 0.35 * ((distance * w).sum(dim=(1, 2, 3)) / w.sum(dim=(1, 2, 3))).mean()
        # In eye distances: the detector's five points must not move, as predicted from features of the whole face.
        moved = ((_flat(got) - _flat(wanted)) @ self.points).view(-1, 5, 2)
        loss = loss + 1.5 * moved.norm(dim=2).mean()
        if len(known):
            loss = loss + 0.25 * ((codes[real:] - known).square() * self.visible).mean()
        if identity:
            vectors = [self.recognizer.identify(view(one[:real], views, 112)) for one in (preview, image)]
            loss = loss + identity * (1 - (vectors[0] * vectors[1].detach()).sum(dim=1)).mean()
        shared = codes.mean(dim=1, keepdim=True)
        offsets = (codes - shared)[:real].square().mean()
        loss = loss + 0.01 * offsets + 0.05 * (shared.square().mean(dim=(1, 2)) - 0.8).clamp(min=0).mean()
        return loss, preview


def _flat(features: list[Tensor]) -> Tensor:
    """Joins the maps of `FEATURES` that locate points well, to [B, N]."""
    return torch.cat([one.flatten(1) for one in features[1:]], dim=1)


def mirrored(views: Tensor) -> Tensor:
    """Mirrors affines [B, 2, 3] from pixels of a picture to the recognizer's view, for the mirrored picture."""
    flip_picture = torch.tensor([[-1.0, 0.0, SIZE - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    flip_view = torch.tensor([[-1.0, 0.0, 111.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    full = torch.cat([views, views.new_tensor([[[0.0, 0.0, 1.0]]]).expand(len(views), -1, -1)], dim=1)
    return (flip_view @ full @ flip_picture)[:, :2]


def pixels(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Computes the weighted squared difference at 128 and 16 px plus the absolute one at 32 px: [B]."""
    difference, total = (a - b) * weight, weight.mean(dim=(1, 2, 3))
    fine = difference.square().mean(dim=(1, 2, 3))
    middle = F.avg_pool2d(difference, 4).abs().mean(dim=(1, 2, 3))
    coarse = F.avg_pool2d(difference, 8).square().mean(dim=(1, 2, 3))
    return (2 * fine + 0.5 * middle + 2 * coarse) / total


@torch.inference_mode()
def measure(training: Training, encoder: MobileEncoder, rows: np.ndarray) -> list[float]:
    """Measures the mean squared error at 128 px after each pass, over photographs of val."""
    sums = [0.0] * PASSES
    for part in np.array_split(rows, len(rows) // BATCH):
        image = F.interpolate(training.photos.images(part), size=(SIZE, SIZE), mode="area")
        codes, preview = image.new_zeros(len(image), N_LAYERS, DIM), training.first.expand(len(image), -1, -1, -1)
        for i in range(PASSES):
            codes = codes + encoder(image, preview)
            preview = training.preview(codes)
            sums[i] += (preview - image).square().mean().item() * len(part)
            preview = preview.clamp(-1, 1)
    return [total / len(rows) for total in sums]


def train(training: Training, work: Path, steps: int, out: Path) -> None:
    """Trains by AdamW: at first with one pass and mostly generated faces, then with more passes and more real faces."""
    encoder = MobileEncoder()
    start = EfficientNetLite0.from_file(training.weights).state_dict()
    start["stem.weight"] = torch.cat([start["stem.weight"], -0.5 * start["stem.weight"]], dim=1)
    encoder.trunk.load_state_dict(start)
    encoder.requires_grad_(True)
    trunk = list(encoder.trunk.parameters())
    others = [p for name, p in encoder.named_parameters() if not name.startswith("trunk")]
    optimizer = torch.optim.AdamW([{"params": trunk, "scale": 0.7}, {"params": others, "scale": 1.0}], lr=RATE,
                                  weight_decay=0.01)
    averaged = Averaged(encoder)
    checkpoint = work / "encoder.pt"
    first, began = load_checkpoint(checkpoint, encoder, optimizer, averaged.mean), time.monotonic()
    kept = np.array(training.photos.val)[:: len(training.photos.val) // 64][:64]
    for step in range(first, steps):
        done = step / steps
        rate = RATE * warmed(step, steps, 100)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        passes = 1 if done < 0.2 else 2 if done < 0.93 else PASSES
        image, weight, views, known = training.batch(step, real=6 if done < 0.15 else 10 if done < 0.4 else 13)
        codes, preview = image.new_zeros(BATCH, N_LAYERS, DIM), training.first.expand(BATCH, -1, -1, -1)
        told = []
        for i in range(passes):
            # Every pass is an update of its own: two or three for the price of one batch.
            codes = codes.detach() + encoder(image, preview)
            last = i + 1 == passes
            loss, preview = training.losses(codes, image, weight, views, known, 0.15 if last and done > 0.3 else 0.0)
            preview = preview.detach().clamp(-1, 1)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 2.0)
            optimizer.step()
            told.append(loss.item())
        averaged.update(step)
        if (step + 1) % 25 == 0:
            spent = (time.monotonic() - began) / 60
            print(f"step {step + 1}/{steps} {spent:.1f} min, loss {', '.join(f'{x:.3f}' for x in told)}", flush=True)
        if (step + 1) % 100 == 0 or step + 1 == steps:
            save_checkpoint(checkpoint, encoder, optimizer, step + 1, averaged.mean)
            errors = measure(training, averaged.copy(), kept)
            print(f"{len(kept)} of val, error by passes: {', '.join(f'{x:.4f}' for x in errors)}", flush=True)
    encoder.load_state_dict(averaged.mean)
    save_half(encoder, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--head", type=Path, default=Path("src/mien/weights/image_head_128.safetensors"))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    train(Training(load_photos(arguments.work), arguments.head), arguments.work, arguments.steps, arguments.out)


if __name__ == "__main__":
    main()

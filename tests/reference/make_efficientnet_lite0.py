"""Make efficientnet_lite0.npz: what the package efficientnet-lite-pytorch 0.1.0 answers for its own weights.

Run by hand, with torch and that package:

    python make_efficientnet_lite0.py efficientnet-lite0-57934424.pth
"""

import sys
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet

TAPS = (2, 4, 10, 15)


def images(height: int, width: int) -> np.ndarray:
    """[2, 3, height, width] float32, -1..1: noise and waves."""
    noise = np.random.RandomState(3).randint(0, 256, (3, height, width)) / 127.5 - 1
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / (6 + 2 * c) + y / (13 - 3 * c)) for c in range(3)])
    return np.stack([noise, waves]).astype(np.float32)


def features(model: EfficientNet, height: int, width: int) -> dict[str, np.ndarray]:
    maps: dict[str, np.ndarray] = {}
    hooks = [
        model._blocks[tap].register_forward_hook(
            lambda _module, _inputs, output, name=f"tap{tap}": maps.__setitem__(name, output.numpy().copy())
        )
        for tap in TAPS
    ]
    x255 = (torch.from_numpy(images(height, width)).double() + 1) * 127.5
    with torch.no_grad():
        # In float64, so that the reference adds no rounding of its own.
        maps["head"] = model.double().extract_features((x255 - 127) / 128).numpy().copy()
    for hook in hooks:
        hook.remove()
    return maps


def main(weights: str) -> None:
    # Static padding is worked out for one size; a model per size, as the package intends.
    name = "efficientnet-lite0"
    small = EfficientNet.from_pretrained(name, weights_path=weights, image_size=(64, 96)).eval()
    usual = EfficientNet.from_pretrained(name, weights_path=weights).eval()
    arrays = {f"small_{name}": array[:1] for name, array in features(small, 64, 96).items()}
    arrays |= {f"usual_{name}": array.mean((2, 3)) for name, array in features(usual, 224, 224).items()}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    np.savez_compressed(Path(__file__).parent / "efficientnet_lite0.npz", **arrays)


if __name__ == "__main__":
    main(sys.argv[1])

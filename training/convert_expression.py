"""Converts face-api's expression network, out of an npm package, to the weights that mien ships.

    python training/convert_expression.py --work WORK --out src/mien/weights/expression.safetensors

The package holds bytes with a scale and an offset for each tensor; the weights are rounded to 16 bits. WORK gets the
package.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from checkpoints import save_half
from packages import fetch_package
from torch import Tensor

from mien.errors import ModelError
from mien.models.features.expression import Expression

PACKAGE = ("@vladmandic/face-api", "1.7.15", "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031")
FOLDER, NAME = "model", "face_expression_model"
# Axes of TensorFlow's tensors in torch's order, and the tensor's name there.
_PARTS = {"filters": ((3, 2, 0, 1), "weight"), "depthwise_filter": ((2, 3, 0, 1), "depthwise.weight"),
          "pointwise_filter": ((3, 2, 0, 1), "pointwise.weight")}


def read_tfjs(folder: Path, name: str) -> dict[str, npt.NDArray[np.float32]]:
    """Reads the tensors of a TensorFlow.js model in one file: name-weights_manifest.json and name.bin.

    Raises:
        ModelError: the files do not fit together.
    """
    blob = (folder / f"{name}.bin").read_bytes()
    found, at = {}, 0
    for entry in json.loads((folder / f"{name}-weights_manifest.json").read_text("utf-8"))[0]["weights"]:
        count, how = int(np.prod(entry["shape"])), entry.get("quantization")
        kind: Any = np.dtype(how["dtype"] if how else entry["dtype"]).newbyteorder("<")
        values = np.frombuffer(blob, kind, count, at).astype(np.float32).reshape(entry["shape"])
        found[entry["name"]] = values * np.float32(how["scale"]) + np.float32(how["min"]) if how else values
        at += count * kind.itemsize
    if at != len(blob):
        raise ModelError(f"{folder / name}.bin has {len(blob)} bytes, of which its list names {at}")
    return found


def convert(tensors: dict[str, npt.NDArray[np.float32]]) -> Expression:
    """Returns the network with these tensors, which have face-api's names."""
    network = Expression()
    network.load_state_dict(dict(_named(name, values) for name, values in tensors.items()))
    return network


def _named(name: str, values: npt.NDArray[np.float32]) -> tuple[str, Tensor]:
    """Gives a tensor of face-api its name and its axes in `Expression`."""
    *layer, part = name.split("/")
    if layer == ["fc"]:
        return ("classify.weight", _copy(values.T)) if part == "weights" else ("classify.bias", _copy(values))
    place = f"blocks.{layer[0].removeprefix('dense')}.{layer[1]}"
    if part == "bias":
        return f"{place}.bias" if layer == ["dense0", "conv0"] else f"{place}.pointwise.bias", _copy(values)
    axes, named = _PARTS[part]
    return f"{place}.{named}", _copy(values.transpose(axes))


def _copy(values: npt.NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    save_half(convert(read_tfjs(fetch_package(*PACKAGE, arguments.work) / FOLDER, NAME)), arguments.out)


if __name__ == "__main__":
    main()

"""Make mobilestylegan.npz: what OpenVINO computes from the wheel's graphs.

    pip install openvino numpy
    python make_mobilestylegan.py FOLDER_WITH_THE_GRAPHS

Run by hand; the tests only read the result.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import openvino


def main() -> None:
    folder, core = Path(sys.argv[1]), openvino.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    networks = [core.compile_model(folder / f"mobilestylegan_ffhq_{part}.xml", "CPU", exact)
                for part in ("mnet", "snet")]
    z = np.random.RandomState(7).standard_normal((2, 512)).astype(np.float32)
    w = np.concatenate([networks[0](row[None])[0] for row in z])
    images = np.concatenate([networks[1](row[None])[0] for row in w])
    area = images.reshape(2, 3, 64, 16, 64, 16).mean(axis=(3, 5))
    corners = ((0, 0), (300, 400), (500, 500), (700, 380), (992, 992))
    patches = np.stack([images[:, :, y : y + 32, x : x + 32] for y, x in corners], axis=1)
    np.savez_compressed(Path(__file__).with_name("mobilestylegan.npz"), w=w, area=area.astype(np.float32),
                        patches=patches, corners=np.array(corners))


if __name__ == "__main__":
    main()

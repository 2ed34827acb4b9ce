"""Make sface.npz: what onnxruntime answers for SFace's ONNX file.

Run by hand, with numpy, onnx and onnxruntime:

    python make_sface.py face_recognition_sface_2021dec_int8bq.onnx
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime


def images() -> np.ndarray:
    """[3, 3, 112, 112] float32, 0..255: noise, waves, and the flat colors at which padding shows."""
    noise = np.random.RandomState(7).randint(0, 256, (3, 112, 112)).astype(np.float32)
    y, x = np.mgrid[:112, :112].astype(np.float32)
    waves = np.stack([127 + 120 * np.sin(x / (5 + 3 * c) + y / (11 - 2 * c)) for c in range(3)])
    flat = np.stack([np.full((112, 112), value) for value in (255, 0, 90)])
    return np.stack([noise, waves, flat]).astype(np.float32)


def main(source: str) -> None:
    model = onnx.load(source)
    # The file lists its (renamed) weights as inputs too, which onnxruntime would ask for.
    for value in [value for value in model.graph.input if value.name != "data"]:
        model.graph.input.remove(value)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answers = [session.run(None, {"data": image[None]})[0][0] for image in images()]
    np.savez_compressed(Path(__file__).parent / "sface.npz", embeddings=np.stack(answers))


if __name__ == "__main__":
    main(sys.argv[1])

"""Make mediapipe.npz: what TensorFlow Lite computes with mediapipe's files, and mediapipe's mesh of the astronaut.

Run by hand, with numpy, ai-edge-litert, mediapipe 0.10.21 and OpenCV on the path:

    python make_mediapipe.py MEDIAPIPE.whl ASTRONAUT.png
"""

import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

FILES = {"face_mesh": ("mediapipe/modules/face_landmark/face_landmark.tflite", 192),
         "iris": ("mediapipe/modules/iris_landmark/iris_landmark.tflite", 64)}


def inputs(size):
    """Returns [3, size, size, 3] float32, 0..1: noise, waves, and a dark blot on a light ground."""
    y, x = np.mgrid[:size, :size] / size
    waves = np.stack([np.sin(9 * x + 3 * y), np.cos(7 * y), np.sin(13 * (x + y))], axis=-1) / 2 + 0.5
    blot = np.repeat(1 - np.exp(-12 * ((x - 0.45) ** 2 + (y - 0.55) ** 2))[..., None], 3, axis=-1)
    return np.stack([np.random.RandomState(7).rand(size, size, 3), waves, blot]).astype(np.float32)


def run(file, pictures):
    """Returns the two outputs of a TFLite file, [N, outputs] each."""
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(str(file))
    network.allocate_tensors()
    found = []
    for picture in pictures:
        network.set_tensor(network.get_input_details()[0]["index"], picture[None])
        network.invoke()
        found.append([network.get_tensor(one["index"]).ravel() for one in network.get_output_details()])
    return [np.stack(part) for part in zip(*found, strict=True)]


def mesh(photo):
    """Returns mediapipe's own mesh [468, 3] of the one face of a photo, in pixels."""
    import cv2
    import mediapipe

    image = cv2.cvtColor(cv2.imread(photo), cv2.COLOR_BGR2RGB)
    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=1) as finder:
        (found,) = finder.process(image).multi_face_landmarks
    height, width = image.shape[:2]
    return np.array([[p.x * width, p.y * height, p.z * width] for p in found.landmark], np.float32)


def main():
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (member, size) in FILES.items():
            file = zipfile.ZipFile(sys.argv[1]).extract(member, folder)
            results[f"{name}_points"], results[f"{name}_second"] = run(file, inputs(size))
    if len(sys.argv) > 2:
        results["astronaut"] = mesh(sys.argv[2])
    np.savez_compressed(Path(__file__).parent / "mediapipe.npz", **results)


if __name__ == "__main__":
    main()

"""Make dlib.npz: what dlib itself answers, to compare the judge with.

Run by hand in a venv of its own that holds numpy and dlib-bin, with the two files that the judge is made of:
    python make_dlib.py shape_predictor_5_face_landmarks.dat dlib_face_recognition_resnet_model_v1.dat
The tests read the functions that make the inputs from here, too; they need numpy alone.
"""

import sys
from pathlib import Path

import numpy as np

CHIP_STEP = 7  # every so many pixels of a chip are kept


def waves(seed: int, height: int, width: int, length: float = 90.0) -> np.ndarray:
    """A smooth colorful picture: [height, width, 3] uint8."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width] / length
    picture = np.zeros((height, width, 3))
    for _ in range(6):
        turn, pace, phase = random.uniform(0, np.pi), random.uniform(1, 6), random.uniform(0, 6, 3)
        along = pace * (x * np.cos(turn) + y * np.sin(turn))
        picture += np.sin(along[..., None] + phase)
    return (127.5 + 20 * picture).round().clip(0, 255).astype(np.uint8)


def noise(seed: int, height: int, width: int) -> np.ndarray:
    """A picture of noise: [height, width, 3] uint8."""
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def boxes() -> np.ndarray:
    """[24, 4] (left, top, right, bottom), many sizes, some reaching over the edges of a 400 x 500 picture."""
    random = np.random.RandomState(1)
    corner, size = random.randint(-40, 300, (24, 2)), random.randint(40, 300, (24, 1))
    return np.concatenate([corner, corner + size], axis=1)


def faces() -> list[tuple[int, np.ndarray]]:
    """(side of a square picture, [5, 2] whole points): enlarged, kept, shrunk, turned, over the edge."""
    shape = np.array([(0.36, -0.29), (0.15, -0.27), (-0.38, -0.29), (-0.16, -0.27), (0.0, 0.13)])
    found = []
    for scale, angle, side, center in [
        (60, 10, 200, (0.5, 0.5)),
        (100, 0, 300, (0.5, 0.5)),
        (150, 180, 300, (0.5, 0.5)),
        (150, -35, 300, (0.9, 0.2)),
        (210, 70, 420, (0.5, 0.5)),
        (330, 15, 600, (0.5, 0.55)),
        (450, -100, 700, (0.5, 0.5)),
        (900, 25, 1300, (0.5, 0.5)),
        (900, -160, 1300, (0.3, 0.6)),
        (24, 5, 60, (0.5, 0.5)),
    ]:
        turn = np.exp(1j * np.radians(angle)) * scale * (shape[:, 0] + 1j * shape[:, 1])
        points = np.stack([turn.real, turn.imag], axis=1) + side * np.array(center)
        found.append((side, points.round().astype(int)))
    return found


def main(predictor_file: str, network_file: str) -> None:
    import dlib

    predictor = dlib.shape_predictor(predictor_file)
    network = dlib.face_recognition_model_v1(network_file)

    def describe(chip: np.ndarray) -> np.ndarray:
        return np.array(network.compute_face_descriptor(np.ascontiguousarray(chip)))

    def landmarks(image: np.ndarray, box: np.ndarray) -> list[tuple[int, int]]:
        return [(point.x, point.y) for point in predictor(image, dlib.rectangle(*box.tolist())).parts()]

    chips = []
    for number, (side, points) in enumerate(faces()):
        parts = [dlib.point(*point) for point in points.tolist()]
        detection = dlib.full_object_detection(dlib.rectangle(0, 0, side, side), parts)
        chips.append(dlib.get_face_chip(waves(number, side, side), detection))
    np.savez_compressed(
        Path(__file__).with_name("dlib.npz"),
        landmarks_waves=np.array([landmarks(waves(7, 400, 500), box) for box in boxes()], dtype=np.int16),
        landmarks_noise=np.array([landmarks(noise(7, 400, 500), box) for box in boxes()], dtype=np.int16),
        chips=np.stack(chips)[:, ::CHIP_STEP, ::CHIP_STEP],
        chip_descriptors=np.stack([describe(chip) for chip in chips]),
        wave_descriptors=np.stack([describe(waves(seed, 150, 150)) for seed in range(4)]),
        noise_descriptors=np.stack([describe(noise(seed, 150, 150)) for seed in range(2)]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

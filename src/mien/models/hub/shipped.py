"""Lists the networks that this project trained and ships with the package, with their roles, terms and training."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

_CELEBA_HQ = ("Trained by this project on CelebA-HQ (Karras et al. 2018; its attributes, and CelebA's identities, "
              "Liu et al. 2015), which is given out for non-commercial research only: take the weights for the same.")
_GENERATED = ("Trained by this project on what MobileStyleGAN generates, and on codes of CelebA-HQ photographs, which "
              "are for non-commercial research: take the weights for the same.")


@dataclass(frozen=True)
class Shipped:
    """Describes one network that comes with the package.

    Attributes:
        role: the only use that is allowed. license: short form, for tables. terms: of use, and what it was trained on.
        training: the command that made it. start: the card whose weights the training started from.
    """

    name: str
    role: str
    license: str
    terms: str
    training: str
    start: str

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
)}  # fmt: skip


def shipped_file(name: str) -> Path:
    """Returns the path of a weights file that comes with the package."""
    return Path(str(resources.files("mien").joinpath("weights", f"{name}.safetensors")))

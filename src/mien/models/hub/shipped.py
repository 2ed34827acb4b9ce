"""The project's own trained networks, which come with the package: what each is and how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

HINT = "install mien again: its own networks come with it"
_CELEBA_HQ = ("Trained by this project on CelebA-HQ (Karras et al. 2018; its attributes, and CelebA's identities, "
              "Liu et al. 2015), which is given out for non-commercial research only: take the weights for the same.")
_GENERATED = ("Trained by this project on what MobileStyleGAN generates, and on codes of CelebA-HQ photographs, which "
              "are for non-commercial research: take the weights for the same.")


@dataclass(frozen=True)
class Shipped:
    """One of them.

    Attributes:
        role: the one thing that it may be used for. terms: of its weights, and what they were trained on.
        preprocessing: what it eats and returns. training: the command that made it. start: the weights that it started
            from, by the name of their card.
    """

    name: str
    role: str
    license: str
    terms: str
    preprocessing: str
    training: str
    start: str

    @property
    def path(self) -> Path:
        """Its weights file."""
        return shipped_file(self.name)


SHIPPED = {one.name: one for one in (
    Shipped("image_head_256", "look at the picture while optimizing", "non-commercial research", _GENERATED,
            "features [B, 256, 128, 128] of the generator and W+ -> RGB [B, 3, 256, 256] in about -1..1",
            "training/image_head.py train --size 256", "mobilestylegan"),
    Shipped("image_head_128", "a smaller look, for encoder and inversion", "non-commercial research", _GENERATED,
            "features [B, 512, 64, 64] of the generator and W+ -> RGB [B, 3, 128, 128] in about -1..1",
            "training/image_head.py train --size 128", "mobilestylegan"),
    Shipped("encoder", "where inversion starts from", "non-commercial research", _CELEBA_HQ,
            "RGB [B, 3, 128, 128] in -1..1, aligned as FFHQ, and the look of the present codes -> their change "
            "[B, 16, 512], whitened", "training/encoder.py", "efficientnet_lite0"),
    Shipped("attribute_network", "attribute features and pairing", "non-commercial research", _CELEBA_HQ,
            "RGB [B, 3, 224, 224] in -1..1, aligned as FFHQ -> maps at 56, 28, 14 and 7 px, 40 logits, a vector of 64",
            "training/attributes.py network, training/pairing.py", "efficientnet_lite0"),
    Shipped("attribute_judge", "attribute judge, never in a loss", "non-commercial research", _CELEBA_HQ,
            "RGB [B, 3, 224, 224] in -1..1, aligned as FFHQ -> 40 logits",
            "training/attributes.py judge", "efficientnet_lite1"),
)}  # fmt: skip


def shipped_file(name: str) -> Path:
    """A weights file that comes with the package."""
    return Path(str(resources.files("mien").joinpath("weights", f"{name}.safetensors")))

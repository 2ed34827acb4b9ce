"""Tells people apart by their faces: each new face joins the nearest person known so far, or begins a new one."""

from __future__ import annotations

import numpy as np

from mien.types import Floats


class PersonGallery:
    """People as running means of their faces' identity vectors.

    Attributes:
        near: cosine from which on two faces are one person's.
        names: names of the people, in the order in which they came.
    """

    def __init__(self, near: float) -> None:
        self.near = near
        self.names: list[str] = []
        self._places: dict[str, int] = {}
        self._last = 0  # number of the last person without a name
        # Rows that are not filled yet: to stack thousands of people anew for each face would take hours.
        self._sums, self._lengths = np.zeros((0, 0), np.float32), np.zeros(0, np.float32)

    def join(self, name: str, vector: Floats) -> None:
        """Adds a unit vector [D] to the person of this name, who is made where there is none yet."""
        if name in self._places:
            self._add(self._places[name], vector)
        else:
            self._enter(name, vector)

    def assign(self, vector: Floats) -> str:
        """Adds a unit vector [D] to the person whom it is nearest to, or to a new one, and gives the person's name."""
        if self.names:
            count = len(self.names)
            cosines = self._sums[:count] @ vector / self._lengths[:count]
            best = int(cosines.argmax())
            if cosines[best] >= self.near:
                self._add(best, vector)
                return self.names[best]
        self._enter(f"person-{self._last + 1}", vector)
        return self.names[-1]

    def _enter(self, name: str, vector: Floats) -> None:
        place = len(self.names)
        if place == len(self._sums):
            size = max(64, 2 * place)
            sums, lengths = np.zeros((size, len(vector)), np.float32), np.zeros(size, np.float32)
            if place:
                sums[:place], lengths[:place] = self._sums, self._lengths
            self._sums, self._lengths = sums, lengths
        self.names.append(name)
        self._places[name] = place
        number = name.removeprefix("person-")
        self._last = max(self._last, int(number) if number.isdecimal() else 0)
        self._add(place, vector)

    def _add(self, place: int, vector: Floats) -> None:
        self._sums[place] += vector
        self._lengths[place] = np.linalg.norm(self._sums[place : place + 1], axis=1).clip(1e-9)[0]

"""Tells how strict the gate of a run is: the judge's distance to its original from which on a new face passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mien.recipe import Recipe, VerifySettings

SAME_PERSON = {"dlib": 0.6}  # judge -> its distance below which two faces are one person
JUDGES = {"mobile": "dlib", "falco": "dlib"}  # model set -> the judge that is its gate


@dataclass(frozen=True)
class Gate:
    """The gate of a run.

    Attributes:
        judge: the recognizer that decides. same_person: its own distance below which two faces are one person.
        threshold: the distance that the recipe asks for.
    """

    judge: str
    same_person: float
    threshold: float

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Returns the gate of a recipe."""
        return cls.of_settings(recipe.model_dump())

    @classmethod
    def of_settings(cls, recipe: Mapping[str, Any]) -> Self:
        """Returns the gate of a recipe that another version of mien may have written, as a mapping."""
        judge = JUDGES.get(str(recipe.get("models")), "dlib")
        verify = recipe.get("verify")
        asked = verify.get("threshold") if isinstance(verify, Mapping) else None
        threshold = asked if isinstance(asked, (int, float)) else VerifySettings().threshold
        return cls(judge, SAME_PERSON[judge], float(threshold))

    @property
    def limit(self) -> float:
        """The distance below which a new face counts as its original, however loose the recipe is."""
        return max(self.threshold, self.same_person)

    @property
    def warning(self) -> str:
        """A sentence for the owner where the recipe lets faces pass that the judge takes for their originals, or ""."""
        if self.threshold >= self.same_person:
            return ""
        least = f"{self.same_person:g}"
        return (f"The gate was loosened: verify.threshold is {self.threshold:g}, but the judge ({self.judge}) takes "
                f"two faces for one person below {least}. Anonymize again into a new DST with verify.threshold = "
                f"{least} or more.")

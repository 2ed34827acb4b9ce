"""What an evaluation found, as it is kept in a JSON file."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mien.errors import UsageError
from mien.evaluation.confidence import Better, Estimate
from mien.util.files import replace_file


class Figure(BaseModel):
    """A figure of `metrics.METRICS` with its 95 % interval over people; null where there is none.

    Attributes:
        worst_tenth: mean over the tenth of the faces that fares worst; null for shares of yes and no.
    """

    model_config = ConfigDict(frozen=True)

    value: float
    low: float | None
    high: float | None
    count: int
    people: int
    worst_tenth: float | None = None

    @classmethod
    def of(cls, one: Estimate, better: Better) -> Figure:
        """Args: better: whether more or less of it is wanted."""
        low, high, worst = (None if math.isnan(x) else x
                            for x in (one.low, one.high, one.least if better == "more" else one.most))
        return cls(value=one.value, low=low, high=high, count=one.count, people=one.people, worst_tenth=worst)


Group = dict[str, Figure]  # name in METRICS -> figure
Groups = dict[str, Group]  # "privacy/JUDGE", "utility", "quality" -> its figures


class JudgeRecord(BaseModel):
    """A recognizer and the thresholds that the originals' own pairs gave: false match rate -> distance."""

    in_loss: bool
    thresholds: dict[str, float]


class AttackResult(BaseModel):
    """How far an attacker got who knows the method.

    Attributes:
        budget: what was spent, in words. known: people the attacker learned from. people, faces: he is after.
        attackers: who -> figures of `attacks.scoring.ATTACK_METRICS`; the attack itself first, then those who know
            nothing of the method.
    """

    title: str
    budget: str
    seed: int
    seconds: float
    known: int
    people: int
    faces: int
    attackers: dict[str, Group]

    def best(self) -> Figure | None:
        """Share of new faces to whom another photograph of the person is nearest; None where nobody has two."""
        return next(iter(self.attackers.values())).get("rank1_other_photo_victims")


class Slice(BaseModel):
    """One part of the data; `small`: too few faces for more than a hint."""

    small: bool
    faces: int
    figures: Groups


class SetResult(BaseModel):
    """One set of photographs against the originals."""

    title: str
    figures: Groups
    slices: dict[str, Slice] = {}


class Evaluation(BaseModel):
    """All of it.

    Attributes:
        set: name of the set that was asked about, one of `sets`; the others are its bounds.
        faces: that every set has. people: known people, or 0. unnamed: faces of nobody known, left out of
            privacy. truth: who says which attributes a face has.
        attacks: layers, parrot, reversal -> what came of it. missing: photographs that DST lacks.
        skipped: reason -> how many. linked: whether a person was to be the same new person in all photographs.
            notes: what could not be asked, and why.
    """

    mien: str
    date: str
    source: str
    set: str
    faces: int
    people: int
    unnamed: int = 0
    truth: str
    sample: int | None
    seed: int
    judges: dict[str, JudgeRecord]
    sets: dict[str, SetResult]
    attacks: dict[str, AttackResult] = {}
    missing: int
    skipped: dict[str, int]
    linked: bool = False
    notes: list[str]

    def write(self, path: Path) -> None:
        """Write the JSON, whole or not at all."""
        replace_file(path, lambda file: file.write_text(self.model_dump_json(indent=1), "utf-8"))

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Raises UsageError: it is no such file."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} holds no evaluation: {error}", "mien evaluate SRC DST writes it") from error

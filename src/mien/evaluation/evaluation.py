"""The results of an evaluation, as they are kept in a JSON file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mien.errors import UsageError
from mien.evaluation.confidence import Better, Estimate
from mien.util.files import replace_file

# The sets that an evaluation may hold beside the evaluated one and recipes, in the order in which they are shown.
SET_TITLES = {"originals": "originals", "floor": "noise floor", "other": "another photo",
              "inversion": "inversion alone", "nearest": "nearest pool face", "random": "random pool face",
              "blur": "Gaussian blur", "pixelation": "pixelation", "blackout": "blackout"}


class Figure(BaseModel):
    """The value of a metric with its 95 % interval over people, which is null where there is none.

    Attributes:
        count: faces or pairs. people: whom they show.
        worst_tenth: mean over the worst tenth of the faces; of a ratio that is best at 1 the factor that it is off, up
            or down. Null for shares of yes and no, and where the tenth has fewer than 10 faces or 3 people.
        at_least: whether the value is a lower bound; it has no interval.
    """

    model_config = ConfigDict(frozen=True)

    value: float
    low: float | None
    high: float | None
    count: int
    people: int
    worst_tenth: float | None = None
    at_least: bool = False

    @classmethod
    def of(cls, one: Estimate, better: Better) -> Figure:
        """Makes a figure of an estimate; `better`: see `Metric`."""
        tenth = {"more": one.least, "less": one.most, "one": one.farthest}[better]
        low, high, worst = (None if math.isnan(x) else x for x in (one.low, one.high, tenth))
        return cls(value=one.value, low=low, high=high, count=one.count, people=one.people, worst_tenth=worst,
                   at_least=one.at_least)


Group = dict[str, Figure]  # name in METRICS -> figure
Groups = dict[str, Group]  # "privacy/JUDGE", "look", "utility", "quality" -> its figures
Withheld = dict[str, list[str]]  # the same groups -> metrics of too few faces or people to be published


Role = Literal["loss", "gate", "independent"]  # trained the new faces, decided which of them pass, or neither


class JudgeRecord(BaseModel):
    """A recognizer that judged.

    Attributes:
        role: its part in making the evaluated set.
        thresholds: false match rate -> distance, calibrated on the originals' own pairs of different people.
    """

    role: Role
    thresholds: dict[str, float]


class AttackResult(BaseModel):
    """How many victims an attacker found who knows the method.

    Attributes:
        budget: what was spent, in words. known: people whom the attacker learned from. people, faces: the victims.
        attackers: attacker -> figures of `attacks.scoring.ATTACK_METRICS`; the attack itself first, then attackers who
            do not know the method.
    """

    title: str
    budget: str
    seed: int
    seconds: float
    known: int
    people: int
    faces: int
    attackers: dict[str, Group]

    def best(self, metric: str = "rank1_other_photo_victims") -> Figure | None:
        """A figure of the attack itself: how many new faces have another photograph of the person as their nearest.

        Without people with several photographs there is none.
        """
        return next(iter(self.attackers.values())).get(metric)


class Slice(BaseModel):
    """The figures of one part of the data.

    Attributes:
        small: it has so few faces that the figures are hints. withheld: see `withholding.publish`.
    """

    small: bool
    faces: int
    figures: Groups
    withheld: Withheld = {}


class SetResult(BaseModel):
    """The figures of one set of photographs against the originals.

    Attributes:
        withheld: see `withholding.publish`. roles: judge -> its part in making this set; a judge that is not named had
            none. lacks: faces of the evaluation that this set does not have; the figures are of the others.
    """

    title: str
    figures: Groups
    withheld: Withheld = {}
    slices: dict[str, Slice] = {}
    roles: dict[str, Role] = {}
    lacks: int = 0


class Evaluation(BaseModel):
    """The results of an evaluation.

    Attributes:
        mien: version. source: name of the originals' folder.
        set: name of the evaluated set, one of `sets`; the others are the originals and the baselines.
        faces: that were compared in the originals and in `set`. people: named people on them, or 0. unnamed: faces
            that are not named, left out of privacy. truth: where the faces' true attributes are from.
        sample: the most photographs that were asked for, or null. missing: photographs that the set lacks.
        attacks: layers, parrot, reversal -> result. skipped: why a photograph was not compared -> how many.
        linked: whether a person was to be the same new person in all photographs.
        notes: what could not be measured, and why.
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
        """Writes the JSON, whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        replace_file(path, lambda file: file.write_text(self.model_dump_json(indent=1), "utf-8"))

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Reads the JSON.

        Raises:
            UsageError: it is no such file.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} holds no evaluation: {error}", "mien evaluate SRC DST writes it") from error

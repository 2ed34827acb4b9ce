"""Tells how well a linear probe that has seen examples spots changed faces among untouched ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mien.evaluation.confidence import Estimate, estimate
from mien.evaluation.people import People, half_of_people
from mien.evaluation.privacy.verification import placements

LEAST = 4  # people: two to learn from, two to test on
MOST = 4000  # faces, drawn by the seed; the more a probe learns from, the more it spots
RIDGE = 0.1  # penalty of the squared weights, in units of features per example
STEPS, HALVINGS, FLAT = 50, 20, 1e-10  # of the solver; slope that counts as none
CONSTANT = 1e-6  # standard deviation of a feature that does not vary

Floats64 = npt.NDArray[np.float64]


def spot_the_fake(original: npt.ArrayLike, new: npt.ArrayLike, people: People, seed: int = 0) -> Estimate:
    """Estimates the probability that a changed face looks more like a changed one than an untouched face does.

    The protocol is fixed. Half of the people, drawn at random, train a logistic regression on the features of their
    untouched and changed faces; it scores those of the other half. Then the halves swap, so that every face is scored
    once, by a probe that has not seen the person. Features are standardized by the training half; the ridge penalty is
    a constant share of features per example. Scores are compared within a half only. The more faces there are, the
    more the probes learn: compare sets of one size.

    The features are meant to be `texture_features`. The pooled head of ImageNet's networks sees what is on a picture
    rather than whether it is a photograph, and together with it texture tells less than alone.

    Args:
        original, new: [N, D], frozen features of the same N faces, untouched and changed. Faces with a feature that is
            not finite are left out; of more than 4,000 faces, as many are drawn.
        people: [N], who is on each; a face with a negative number is a person of its own.

    Returns:
        the area under the ROC curve: 0.5 where nothing tells the faces apart, or less, since chance may go either way.
        The interval is over the people who are scored, with the probes as they are: clustered placement values
        (DeLong et al. 1988; Obuchowski 1997, Biometrics 53:567), bootstrapped. It is missing for fewer than four
        people.

    Raises:
        ValueError: the shapes do not fit.
    """
    before, after = np.asarray(original, np.float64), np.asarray(new, np.float64)
    if before.ndim != 2 or before.shape != after.shape or len(before) != len(people):
        raise ValueError(f"features {list(before.shape)} and {list(after.shape)} of {len(people)} faces do not fit")
    kept = _drawn(np.flatnonzero(np.isfinite(before).all(axis=1) & np.isfinite(after).all(axis=1)), seed)
    before, after, person = before[kept], after[kept], _each_unnamed_apart(people[kept])
    if len(np.unique(person)) < LEAST:
        return Estimate.missing()
    first, values = half_of_people(person, seed), np.zeros(len(person))
    for test in (first, ~first):
        probe = _Probe(before[~test], after[~test])
        values[test] = _area_values(probe.score(before[test]), probe.score(after[test]))
    found = estimate(values, person, share=True, seed=seed)
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


class _Probe:
    """A logistic regression without an offset: its features are centered, and both kinds are equally many.

    Args:
        untouched, changed: [N, D].
    """

    def __init__(self, untouched: Floats64, changed: Floats64) -> None:
        both = np.concatenate([untouched, changed])
        self.mean, spread = both.mean(axis=0), both.std(axis=0)
        self.scale = np.where(spread > CONSTANT, spread, np.inf)  # what never varies says nothing
        side = np.repeat([-1.0, 1.0], [len(untouched), len(changed)])
        x = self._standardized(both)
        span = np.linalg.qr(x.T).Q if x.shape[1] > len(x) else np.eye(x.shape[1])  # the weights are in the rows' span
        self.weights = span @ _weights(x @ span, side, RIDGE * x.shape[1] / len(x))

    def score(self, features: Floats64) -> Floats64:
        """[M], higher for a face that looks changed."""
        return np.asarray(self._standardized(features) @ self.weights)

    def _standardized(self, features: Floats64) -> Floats64:
        return np.asarray((features - self.mean) / self.scale)


def _weights(x: Floats64, side: Floats64, penalty: float) -> Floats64:
    """Minimizes the mean logistic loss of x [N, D] with sides [N] of -1 or 1, plus half the penalty of the squares.

    Newton's method from zero; a step that does not lessen the loss is halved.
    """
    weights, margins = np.zeros(x.shape[1]), np.zeros(len(x))
    for _ in range(STEPS):
        wrong = 1 / (1 + np.exp(np.clip(margins, -500, 500)))
        slope = penalty * weights - x.T @ (side * wrong) / len(x)
        if np.abs(slope).max() < FLAT:
            break
        curve = (x.T * (wrong * (1 - wrong))) @ x / len(x) + penalty * np.eye(len(weights))
        step, before = np.linalg.solve(curve, slope), _loss(weights, margins, penalty)
        for _ in range(HALVINGS):
            margins = side * (x @ (weights - step))
            if _loss(weights - step, margins, penalty) <= before:
                break
            step /= 2
        weights = weights - step
    return weights


def _loss(weights: Floats64, margins: Floats64, penalty: float) -> float:
    return float(np.logaddexp(0, -margins).mean() + penalty / 2 * (weights @ weights))


def _area_values(untouched: Floats64, changed: Floats64) -> Floats64:
    """[N], values whose mean is the area under the curve, and whose scatter is that of the area.

    Each is the share of untouched faces that the changed face outscores, plus the share of changed faces that outscore
    the untouched one, less the area.
    """
    below, above = placements(untouched, changed)
    return np.asarray(above + below - above.mean())


def _drawn(rows: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """At most `MOST` of the rows, in order."""
    if len(rows) <= MOST:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, MOST, replace=False))


def _each_unnamed_apart(people: People) -> People:
    """[N], with a number of its own for each face that is not named."""
    return np.where(people < 0, -1 - np.arange(len(people)), people)

from __future__ import annotations

import numpy as np
import pytest

from helpers import fake_run
from helpers.fake_run import (
    ANNA,
    TINY,
    squares,
)
from helpers.generated_people import Generated
from mien.anonymizer.align import align as align_mirrored
from mien.anonymizer.align_ffhq import align_as_published
from mien.anonymizer.load import Loaded
from mien.anonymizer.pipeline import Pipeline, _harder
from mien.recipe import OptimizeSettings, Recipe
from mien.types import Encoding, Photo


def test_faces_are_aligned_as_the_recipe_says() -> None:
    for alignment, align in (("mirrored", align_mirrored), ("published", align_as_published)):
        ready = fake_run.square_ready()
        pipeline = Pipeline(ready.networks, ready.pool, TINY.with_changes({"detect.alignment": alignment}))
        photo = Photo("a.png", squares(ANNA), Encoding("PNG", "RGB"))
        (subject,) = pipeline.prepare(photo, pipeline.networks.detector.detect(photo.pixels)).subjects
        assert np.array_equal(subject.crop.pixels, align(photo.pixels, subject.face).pixels)


def test_a_retry_that_changes_the_pool_face_takes_the_one_least_like_the_person(ready: Loaded,
                                                                                generated: Generated) -> None:
    recipe = Recipe().with_changes({"pair.k": len(ready.pool), "pair.choice": "unlike"})
    pipeline = Pipeline(ready.networks, ready.pool, recipe)
    photo = Photo("a.png", generated.photos[0], Encoding("PNG", "RGB"))
    (subject,) = pipeline.prepare(photo, [generated.found[0]]).subjects
    pipeline._pair([subject])
    assert subject.match is not None and subject.identity is not None
    first = subject.match.index
    pipeline._pair([subject])
    assert subject.match.index == first
    pipeline._pair([subject], another=2)
    alike = (ready.pool.identities @ subject.identity).tolist()
    assert subject.match.index == min(set(range(len(alike))) - {first}, key=lambda i: alike[i])


def test_every_draw_of_a_retry_comes_from_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.anonymizer.pipeline.faces_of", fake_run.square_faces)
    ready, photo = fake_run.square_ready(), Photo("a.png", squares(ANNA), Encoding("PNG", "RGB"))
    drawn: set[tuple[int, int, int]] = set()
    for number in range(40):
        pipeline = Pipeline(ready.networks, ready.pool, TINY.with_changes({"pair.k": 4}))
        pipeline.secret = bytes([number % 20]) * 32
        (subject,) = pipeline.prepare(photo, pipeline.networks.detector.detect(photo.pixels)).subjects
        indices = []
        for another in (0, 2, 3):
            pipeline._pair([subject], another)
            assert subject.match is not None
            indices.append(subject.match.index)
        assert len(set(indices)) == 3, "none is tried twice"
        drawn.add((indices[0], indices[1], indices[2]))
    assert 6 < len(drawn) <= 20 and all(len(set(column)) > 2 for column in zip(*drawn, strict=True))


def test_every_retry_is_harder_than_the_one_before() -> None:
    everything, middle = OptimizeSettings(), OptimizeSettings(layers=(3, 4, 5))
    margins = [_harder(everything, attempt, 16).margin for attempt in range(4)]
    assert margins == sorted(margins, reverse=True) and len(set(margins)) == 4
    wider = [_harder(middle, attempt, 16) for attempt in range(3)]
    assert wider[0] is middle and wider[1].layers == (2, 3, 4, 5, 6, 7) and wider[1].margin == middle.margin
    assert wider[2].margin < middle.margin

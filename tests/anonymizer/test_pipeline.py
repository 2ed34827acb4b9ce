from __future__ import annotations

import numpy as np

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
    recipe = Recipe().with_changes({"pair.k": len(ready.pool)})
    pipeline = Pipeline(ready.networks, ready.pool, recipe)
    photo = Photo("a.png", generated.photos[0], Encoding("PNG", "RGB"))
    (subject,) = pipeline.prepare(photo, [generated.found[0]]).subjects
    pipeline._pair([subject], another=False)
    assert subject.match is not None and subject.identity is not None
    first = subject.match.index
    pipeline._pair([subject], another=False)
    assert subject.match.index == first
    pipeline._pair([subject], another=True)
    alike = (ready.pool.identities @ subject.identity).tolist()
    assert subject.match.index == min(set(range(len(alike))) - {first}, key=lambda i: alike[i])


def test_every_retry_is_harder_than_the_one_before() -> None:
    everything, middle = OptimizeSettings(), OptimizeSettings(layers=(3, 4, 5))
    margins = [_harder(everything, attempt, 16).margin for attempt in range(4)]
    assert margins == sorted(margins, reverse=True) and len(set(margins)) == 4
    wider = [_harder(middle, attempt, 16) for attempt in range(3)]
    assert wider[0] is middle and wider[1].layers == (2, 3, 4, 5, 6, 7) and wider[1].margin == middle.margin
    assert wider[2].margin < middle.margin

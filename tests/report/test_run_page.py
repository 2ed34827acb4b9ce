"""The report: what it says, and what it must never hold."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from helpers import fake_run
from helpers.fake_run import ANNA, BERT, CLEO, STUBBORN, TINY, save, squares
from helpers.made_up_runs import Page, assert_self_contained, face, folders, photo, pictures, run_of
from mien.errors import OutputError, UsageError
from mien.jobs.consent import Consent
from mien.jobs.gate import Gate
from mien.jobs.summary import Summary
from mien.recipe import Recipe
from mien.report.before_after import choose_faces
from mien.report.charts import LEFT, RIGHT, histogram
from mien.report.run_findings import run_findings
from mien.report.run_page import write_report
from mien.types import FaceOutcome, Skipped

HOSTILE = [
    "<script>alert(1)</script>.jpg", "a\"b'c&amp;.jpg", "two\nlines\r.jpg", "bytes-\udcff.jpg",
    "{{ 7*7 }}.jpg", 'x" onload="alert(1).jpg', "http://example.com/a.jpg", "rtl-\u202egpj.exe", "-->.jpg",
]  # fmt: skip


def rendered(summary: Summary, tmp_path: Path, recipe: Recipe | None = None) -> Page:
    write_report(tmp_path / "report.html", summary, recipe or Recipe())
    html = (tmp_path / "report.html").read_text("utf-8")
    page = Page(html)
    assert_self_contained(html, page)
    return page


def test_a_good_run_says_so(tmp_path: Path) -> None:
    text = rendered(run_of([face(number=i, distance=0.615 + i / 10) for i in range(4)]), tmp_path).text
    assert (
        "Every face that was found was changed; none is taken for its original by the judge "
        "(4 of 4, limit 0.60)."
    ) in text
    assert "All well" in text
    assert "just past 1 clear 2 far 1" in text and "0.61" not in text


def test_what_is_to_be_known_of_the_dataset_is_told(tmp_path: Path) -> None:
    summary = run_of([face(number=0)])
    assert "About the dataset" not in rendered(summary, tmp_path).text
    summary.layout, summary.notes = "lfw", ["folders are people's names", *HOSTILE]
    text = rendered(summary, tmp_path).text
    assert "Read and written in the layout lfw." in text and "folders are people's names" in text


def test_blurred_faces_are_changed_but_not_judged(tmp_path: Path) -> None:
    rows = [face(number=0), face(number=1, status="blurred", reason="smaller than 16 pixels")]
    text = rendered(run_of(rows), tmp_path).text
    assert (
        "Every face that was found was changed; none is taken for its original by the judge (1 of 1" in text
    )
    assert "1 face could not be replaced by a new one: blurred." in text
    assert "smaller than 16 pixels" in text


def test_a_face_below_the_limit_is_bad_news(tmp_path: Path) -> None:
    text = rendered(run_of([face(number=0, distance=0.5996), face(number=1)]), tmp_path).text
    assert (
        "1 of 2 new faces is still taken for its original by the judge (limit 0.60)"
        in text
    )
    assert "not past 1" in text
    assert "Do not publish these photos" in text and "All well" not in text and "none is taken" not in text


@pytest.mark.parametrize("distance", [None, float("nan")])
def test_a_face_that_was_not_judged_is_bad_news(distance: float | None, tmp_path: Path) -> None:
    text = rendered(run_of([face(number=0), face(number=1, distance=distance)]), tmp_path).text
    assert (
        "1 of 2 new faces was not judged" in text
        and "Do not publish" in text
        and "none is taken" not in text
    )


def test_the_limit_is_the_recipes(tmp_path: Path) -> None:
    recipe = Recipe().with_changes({"verify.threshold": 0.85})
    assert "limit 0.85" in rendered(run_of([face(distance=0.9)]), tmp_path, recipe).text
    assert "Do not publish" in rendered(run_of([face(distance=0.8)]), tmp_path, recipe).text


@pytest.mark.parametrize(
    ("rows", "level", "words"),
    [
        ([], "mixed", "No face was found in 3 photos: nothing in them was changed"),
        (
            [face(status="kept", reason="agreed")],
            "mixed",
            "Not every face was changed: 1 of 1 was left as the owner wished; no face was replaced",
        ),
        (
            [face(), face(number=1, status="excluded")],
            "mixed",
            "Not every face was changed: 1 of 2 was left as the owner wished; of the others none is",
        ),
        (
            [face(status="blurred")] * 3,
            "mixed",
            "Every face that was found was blurred (3); no face was replaced",
        ),
        (
            [face(status="dropped")],
            "mixed",
            "Every photo in which a face was found was left out; no face was replaced",
        ),
        (
            [face(), face("b.jpg", status="dropped", distance=0.3)],
            "good",
            "Every face that was found was changed or left out with its photo; none is taken for",
        ),
        ([face(distance=0.4), face(number=1, status="kept")], "bad", "1 of 1 new face is still taken"),
    ],
)
def test_findings_between_good_and_bad(rows: list[FaceOutcome], level: str, words: str) -> None:
    result = run_findings(rows, [], 3, Gate.of(Recipe()))
    assert (result.level, words in result.headline) == (level, True), result.headline


def test_a_loosened_gate_is_never_good() -> None:
    low = Gate.of(Recipe().with_changes({"verify.threshold": 0.05}))
    fine, taken = (run_findings([face(distance=distance)], [], 1, low) for distance in (0.8, 0.4))
    assert (fine.level, taken.level) == ("mixed", "bad") and fine.notes[0].startswith("The gate was loosened")
    assert "limit 0.60" in fine.headline and "1 of 1 new face is still taken" in taken.headline


def test_the_closest_distance_is_for_the_owner() -> None:
    rows = [face(distance=0.615), face(number=1, distance=0.9)]
    public, private = (run_findings(rows, [], 1, Gate.of(Recipe()), private) for private in (False, True))
    assert "closest distance 0.61, limit 0.60" in private.headline and "0.61" not in public.headline


def test_no_photo_at_all(tmp_path: Path) -> None:
    page = rendered(run_of([], [Skipped("a.jpg", "a.jpg: the file is empty (0 bytes)")]), tmp_path)
    assert "No photo was written." in page.text and "1 file not in the result" in page.text
    assert "the file is empty (0 bytes)" in page.text and "a.jpg: the file" not in page.text
    assert "not past 0 just past 0 clear 0 far 0" in page.text


def test_hostile_names_are_text(tmp_path: Path) -> None:
    rows = [face(name, i) for i, name in enumerate(HOSTILE)]
    skipped = [Skipped(name, f"{name}: not an image") for name in HOSTILE]
    page = rendered(run_of(rows, skipped), tmp_path, Recipe(name="<img src=x>"))
    assert "<script>alert(1)</script>.jpg" in page.text
    assert (
        "two\\nlines\\r.jpg" in page.text
        and "bytes-\\udcff.jpg" in page.text
        and "{{ 7*7 }}.jpg" in page.text
    )
    assert "\\u202e" in page.text and "img" not in page.tags


def test_without_originals_there_is_no_picture_and_no_person(tmp_path: Path) -> None:
    rows = [
        face(person="label:Ann Example"),
        face(number=1, status="kept", reason="agreed", person="Ann Example.jpg"),
    ]
    page = rendered(run_of(rows), tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert (
        "data:" not in html.replace("img-src data:", "")
        and "img" not in page.tags
        and "image" not in page.tags
    )
    assert "Ann Example" not in html and "kept agreed 1" in page.text
    assert "originals: for the owner's eyes only" not in page.text


def test_reasons_are_grouped_and_counted(tmp_path: Path) -> None:
    rows = [face("a.jpg", i, "dropped", reason=f"face {3 - i} of this photo failed") for i in range(3)]
    rows.append(face("a.jpg", 3, "dropped", reason="smaller than 16 pixels"))
    text = rendered(run_of(rows), tmp_path).text
    assert "dropped another face of the photo failed 3 dropped smaller than 16 pixels 1" in text


def test_the_reasons_of_a_run_are_on_its_page(
    brush: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the program writes them: nothing is reworded but what differs from face to face."""
    save(tmp_path / "src" / "a.png", squares(ANNA, BERT, CLEO, STUBBORN))
    (tmp_path / "except.csv").write_text("file,x,y,width,height\na.png,152,24,48,48\n")  # the second square
    agreed = ["Ann.jpg", "", "", ""]  # the first one
    monkeypatch.setattr(Consent, "matches", lambda self, networks, photo, faces: agreed[: len(faces)])
    page = rendered(
        fake_run.run(tmp_path / "src", tmp_path / "dst", exclude=tmp_path / "except.csv"), tmp_path
    )
    written = {(row["status"], row["reason"]) for row in fake_run.rows_in(tmp_path / "dst") if row["reason"]}
    assert [status for status, _ in sorted(written)] == ["blurred", "excluded", "kept"]
    for status, reason in written:
        assert f"{status} {reason} 1" in page.text
    assert "Ann.jpg" not in (tmp_path / "report.html").read_text()


def test_a_run_that_drops_photos_says_for_which_face(brush: None, tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", squares(ANNA, STUBBORN, CLEO))
    recipe = TINY.with_changes({"on_failure": "drop"})
    page = rendered(fake_run.run(tmp_path / "src", tmp_path / "dst", recipe), tmp_path)
    assert "dropped another face of the photo failed 2" in page.text
    assert "dropped still verifies as the original after every attempt 1" in page.text


def test_many_faces_are_listed_worst_first(tmp_path: Path) -> None:
    values = np.random.RandomState(0).uniform(0.61, 1.1, 300)
    summary = run_of([face(f"{i:03}.jpg", i % 3, distance=float(v)) for i, v in enumerate(values)])
    (tmp_path / "src").mkdir()
    write_report(tmp_path / "owner.html", summary, Recipe(), tmp_path / "src", tmp_path / "dst")
    text = Page((tmp_path / "owner.html").read_text()).text
    shown = re.findall(r"(\d{3}\.jpg) \d (0\.\d{3})", text)
    assert len(shown) == 50 and "50 of 300 replaced faces" in text
    assert [name for name, _ in shown] == [f"{i:03}.jpg" for i in np.argsort(values)[:50]]
    public = re.findall(r"(\d{3}\.jpg) \d (not past|just past|clear|far)", rendered(summary, tmp_path).text)
    assert public == [(f"{i:03}.jpg", "just past") for i in np.flatnonzero(values < 0.69)[:50]]


def test_the_recipe_is_there_whole(tmp_path: Path) -> None:
    recipe = Recipe(name="mine").with_changes({"optimize.margin": 0.125})
    text = rendered(run_of([face()]), tmp_path, recipe).text
    assert recipe.hash in text and "optimize.margin 0.125" in text and "verify.threshold 0.6" in text


def test_time_goes_by_stage(tmp_path: Path) -> None:
    text = rendered(run_of([face()]), tmp_path).text
    assert "optimize 6.0 s 75.0 %" in text and "9 s for 1 face: 9.0 s a face" in text


def test_pages_are_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, run_of([face(number=i) for i in range(9)]), Recipe())
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        write_report(tmp_path / "nowhere" / "report.html", run_of([face()]), Recipe())
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(OutputError):
        write_report(tmp_path / "folder.html", run_of([face()]), Recipe())
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]


@pytest.mark.parametrize(
    "values", [[0.7], [0.7] * 50, [0.0, 0.0], [0.61, 1.2, 0.6], [-1.0, 1.0], [1e-9, 1e9], [1e6]]
)
def test_histograms_count_every_value_within_the_drawing(values: list[float]) -> None:
    drawing = histogram([*values, float("nan")], 0.6, "limit")
    assert drawing is not None and drawing.mark is not None
    assert sum(bar.count for bar in drawing.bars) == len(values)
    assert all(bar.x >= LEFT and bar.x + bar.width <= RIGHT + 1 for bar in drawing.bars)
    assert LEFT <= drawing.mark <= RIGHT and 2 <= len(drawing.ticks) <= 9
    assert histogram([float("nan")], 0.6) is None


def test_bars_below_the_limit_are_marked() -> None:
    drawing = histogram([0.55, 0.599, 0.6, 0.61, 0.9], 0.6, limit=True)
    assert drawing is not None
    assert sum(bar.count for bar in drawing.bars if bar.wrong) == 2
    goal = histogram([0.55, 0.599, 0.6, 0.61, 0.9], 0.6)
    assert goal is not None and not any(bar.wrong for bar in goal.bars)


def test_the_owners_page_shows_before_and_after(tmp_path: Path) -> None:
    src, dst = folders(tmp_path, ["a.png", "sub/b.png"])
    out = tmp_path / "owner.html"
    write_report(
        out, run_of([face("a.png"), face("sub/b.png", 0, "blurred", reason="too small")]), Recipe(), src, dst
    )
    html = out.read_text()
    page = Page(html)
    assert_self_contained(html, page)
    assert "contains the originals: for the owner's eyes only" in page.text
    shown = np.array([np.asarray(image).mean(axis=(0, 1)) for image in pictures(html)])
    assert np.abs(shown - [[200, 0, 0], [0, 0, 200]] * 2).max() < 6, "before, after, before, after"
    assert out.stat().st_mode & 0o077 == 0
    assert "blurred: too small" in page.text


def test_pictures_are_small_and_have_some_surrounding(tmp_path: Path) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    for folder in (src, dst):
        photo(folder / "big.jpg", (90, 90, 90), (3000, 2000))
    row = face("big.jpg")
    row.box = (2500.0, -100.0, 900.0, 1000.0)
    write_report(tmp_path / "o.html", run_of([row]), Recipe(), src, dst)
    sizes = [image.size for image in pictures((tmp_path / "o.html").read_text())]
    assert len(sizes) == 2 and sizes[0] == sizes[1] and max(sizes[0]) == 320


def test_a_photo_stored_as_png_is_found(tmp_path: Path) -> None:
    src, dst = folders(tmp_path, ["a.ppm"])
    (dst / "a.ppm").unlink()
    photo(dst / "a.ppm.png", (0, 200, 0))
    summary = run_of([face("a.ppm")])
    summary.outputs = {}
    write_report(tmp_path / "o.html", summary, Recipe(), src, dst)
    assert len(pictures((tmp_path / "o.html").read_text())) == 2


def test_one_photo_as_source(tmp_path: Path) -> None:
    src, dst = folders(tmp_path, ["a.png"])
    write_report(tmp_path / "o.html", run_of([face("a.png")]), Recipe(), src / "a.png", dst)
    assert len(pictures((tmp_path / "o.html").read_text())) == 2


def test_photos_that_cannot_be_shown_are_named(tmp_path: Path) -> None:
    src, dst = folders(tmp_path, ["a.png", "turned.png"])
    photo(dst / "turned.png", (0, 0, 0), (60, 80))
    photo(tmp_path / "secret.png", (1, 2, 3))
    rows = [face("gone.png"), face("turned.png"), face("../secret.png"), face(str(tmp_path / "secret.png"))]
    summary = run_of(rows)
    write_report(tmp_path / "o.html", summary, Recipe(), src, dst)
    page = Page((tmp_path / "o.html").read_text())
    assert page.text.count("Cannot be shown:") == 4 and not pictures((tmp_path / "o.html").read_text())
    assert "not of the original's size" in page.text and page.text.count("leads out of the folder") == 2


def test_sixty_faces_are_chosen() -> None:
    rows = [face(f"{i:03}.jpg", distance=0.61 + i / 1000) for i in range(200)]
    rows += [face(f"b{i}.jpg", status="blurred") for i in range(30)] + [face("k.jpg", status="kept")]
    chosen = choose_faces(rows)
    assert len(chosen) == 60 and len({row.file for row in chosen}) == 60
    assert [row.file for row in chosen[:20]] == [f"{i:03}.jpg" for i in range(20)]
    assert [row.status for row in chosen[20:30]] == ["blurred"] * 10
    gaps = np.diff([int(row.file[:3]) for row in chosen[30:]])
    assert gaps.min() >= 5 and gaps.max() <= 7
    assert choose_faces([]) == [] and len(choose_faces(rows[:7])) == 7


def test_originals_never_go_into_the_result(tmp_path: Path) -> None:
    src, dst = folders(tmp_path, ["a.png"])
    link = tmp_path / "link"
    link.symlink_to(dst, target_is_directory=True)
    around = src / ".." / "dst" / "x.html"
    for out in (dst / "report.html", dst / "sub" / "x.html", link / "x.html", around):
        with pytest.raises(UsageError, match="is inside"):
            write_report(out, run_of([face("a.png")]), Recipe(), src, dst)
    with pytest.raises(UsageError, match="results"):
        write_report(tmp_path / "o.html", run_of([face("a.png")]), Recipe(), src)
    with pytest.raises(UsageError, match="do not exist"):
        write_report(tmp_path / "o.html", run_of([face("a.png")]), Recipe(), tmp_path / "none", dst)
    assert sorted(path.name for path in dst.iterdir()) == ["a.png"]

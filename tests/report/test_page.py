"""The report: what it says, what it must never hold, and how it is built again from a finished run."""

from __future__ import annotations

import base64
import io
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mien.errors import OutputError, UsageError
from mien.recipe import Recipe
from mien.records import Outcome, Skipped, Status
from mien.report.charts import LEFT, RIGHT, histogram
from mien.report.page import report_from_folder, write_report
from mien.report.pairs import choose
from mien.report.verdict import verdict
from mien.run import Summary
from mien.store import ShardResult, Store

HOSTILE = ["<script>alert(1)</script>.jpg", "a\"b'c&amp;.jpg", "two\nlines\r.jpg", "bytes-\udcff.jpg", "{{ 7*7 }}.jpg",
           "x\" onload=\"alert(1).jpg", "http://example.com/a.jpg", "rtl-\u202egpj.exe", "-->.jpg"]


def face(file: str = "a.jpg", number: int = 0, status: Status = "anonymised", distance: float | None = 0.8,
         reason: str = "", **more: Any) -> Outcome:
    if status in ("blurred", "kept", "excluded"):
        distance = None
    return Outcome(file, number, (10.0, 12.0, 30.0, 36.0), [[20.0, 20.0]] * 5, 0.9, status, reason, 1, 85, 7.5,
                   None if distance is None else 0.02, distance, **more)


def run_of(outcomes: list[Outcome], skipped: list[Skipped] | None = None, photos: int | None = None) -> Summary:
    files = sorted({row.file for row in outcomes if row.status != "dropped"})
    outputs = {file: file for file in files}
    summary = Summary()
    summary.add(ShardResult(outcomes, skipped or [], outputs, {"optimise": 6.0, "invert": 2.0}, [], 9.0))
    if photos is not None:
        summary.photos = photos
    return summary


class Page(HTMLParser):
    """Tags, attributes and the text that a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.parts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.parts))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.parts.append(data)


def rendered(summary: Summary, tmp_path: Path, recipe: Recipe | None = None) -> Page:
    write_report(tmp_path / "report.html", summary, recipe or Recipe())
    html = (tmp_path / "report.html").read_text("utf-8")
    page = Page(html)
    assert_self_contained(html, page)
    return page


def assert_self_contained(html: str, page: Page) -> None:
    """Nothing runs and nothing is fetched."""
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    for _, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "srcset", "data", "action", "xlink:href"):
            assert value.startswith(("data:image/jpeg;base64,", "#"))
        if name in ("style", "class"):
            assert "url(" not in value
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style and "http" not in style


def test_a_good_run_says_so(tmp_path: Path) -> None:
    text = rendered(run_of([face(number=i, distance=0.615 + i / 10) for i in range(4)]), tmp_path).text
    assert ("Every face that was found was changed; none is taken for its original by the judge "
            "(4 of 4, closest distance 0.61, limit 0.60).") in text
    assert "All well" in text


def test_blurred_faces_are_changed_but_not_judged(tmp_path: Path) -> None:
    rows = [face(number=0), face(number=1, status="blurred", reason="smaller than 16 pixels")]
    text = rendered(run_of(rows), tmp_path).text
    assert "Every face that was found was changed; none is taken for its original by the judge (1 of 1" in text
    assert "1 face could not be replaced by a new one: blurred." in text
    assert "smaller than 16 pixels" in text


def test_a_face_below_the_limit_is_bad_news(tmp_path: Path) -> None:
    text = rendered(run_of([face(number=0, distance=0.5996), face(number=1)]), tmp_path).text
    assert ("1 of 2 new faces is still taken for its original by the judge (closest distance 0.59, limit 0.60)"
            in text)
    assert "Do not publish these photos" in text and "All well" not in text and "none is taken" not in text


@pytest.mark.parametrize("distance", [None, float("nan")])
def test_a_face_that_was_not_judged_is_bad_news(distance: float | None, tmp_path: Path) -> None:
    text = rendered(run_of([face(number=0), face(number=1, distance=distance)]), tmp_path).text
    assert "1 of 2 new faces escaped the judge" in text and "Do not publish" in text and "none is taken" not in text


def test_the_limit_is_the_recipes(tmp_path: Path) -> None:
    recipe = Recipe().with_changes({"verify.threshold": 0.85})
    assert "limit 0.85" in rendered(run_of([face(distance=0.9)]), tmp_path, recipe).text
    assert "Do not publish" in rendered(run_of([face(distance=0.8)]), tmp_path, recipe).text


@pytest.mark.parametrize(("rows", "level", "words"), [
    ([], "mixed", "No face was found in 3 photos: nothing in them was changed"),
    ([face(status="kept", reason="agreed: ann.jpg")], "mixed",
     "Not every face was changed: 1 of 1 was left as the owner wished; no face was replaced by a new one"),
    ([face(), face(number=1, status="excluded")], "mixed",
     "Not every face was changed: 1 of 2 was left as the owner wished; of the others none is taken for"),
    ([face(status="blurred")] * 3, "mixed", "Every face that was found was blurred (3); no face was replaced"),
    ([face(status="dropped")], "mixed", "Every photo in which a face was found was left out; no face was replaced"),
    ([face(), face("b.jpg", status="dropped", distance=0.3)], "good",
     "Every face that was found was changed or left out with its photo; none is taken for"),
    ([face(distance=0.4), face(number=1, status="kept")], "bad", "1 of 1 new face is still taken"),
])
def test_verdicts_between_good_and_bad(rows: list[Outcome], level: str, words: str) -> None:
    result = verdict(rows, [], 3, 0.6)
    assert (result.level, words in result.headline) == (level, True), result.headline


def test_no_photo_at_all(tmp_path: Path) -> None:
    page = rendered(run_of([], [Skipped("a.jpg", "a.jpg: the file is empty (0 bytes)")]), tmp_path)
    assert "No photo was written." in page.text and "1 file not in the result" in page.text
    assert "the file is empty (0 bytes)" in page.text and "a.jpg: the file" not in page.text
    assert "No face was replaced, so there is nothing to show." in page.text


def test_hostile_names_are_text(tmp_path: Path) -> None:
    rows = [face(name, i) for i, name in enumerate(HOSTILE)]
    skipped = [Skipped(name, f"{name}: not an image") for name in HOSTILE]
    page = rendered(run_of(rows, skipped), tmp_path, Recipe(name="<img src=x>\udc80"))
    assert "<script>alert(1)</script>.jpg" in page.text
    assert "two\\nlines\\r.jpg" in page.text and "bytes-\\udcff.jpg" in page.text and "{{ 7*7 }}.jpg" in page.text
    assert "\\u202e" in page.text and "img" not in page.tags


def test_without_originals_there_is_no_picture_and_no_person(tmp_path: Path) -> None:
    rows = [face(person="label:Ann Example"), face(number=1, status="kept", reason="agreed: Ann Example.jpg")]
    page = rendered(run_of(rows), tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert "data:" not in html.replace("img-src data:", "") and "img" not in page.tags and "image" not in page.tags
    assert "Ann Example" not in html and "agreed to stay" in page.text
    assert "originals: for the owner's eyes only" not in page.text


def test_reasons_are_grouped_and_counted(tmp_path: Path) -> None:
    rows = [face(number=i, status="blurred", distance=None,
                 reason=f"still verifies as the original after 4 attempts (distance 0.4{i})") for i in range(5)]
    text = rendered(run_of(rows), tmp_path).text
    assert re.search(r"blurred still verifies as the original after 4 attempts 5", text)


def test_many_faces_are_listed_worst_first(tmp_path: Path) -> None:
    values = np.random.RandomState(0).uniform(0.61, 1.1, 300)
    page = rendered(run_of([face(f"{i:03}.jpg", i % 3, distance=float(v)) for i, v in enumerate(values)]), tmp_path)
    shown = re.findall(r"(\d{3}\.jpg) \d (0\.\d{3})", page.text)
    assert len(shown) == 50 and "50 of 300 replaced faces" in page.text
    assert [name for name, _ in shown] == [f"{i:03}.jpg" for i in np.argsort(values)[:50]]


def test_the_recipe_is_there_whole(tmp_path: Path) -> None:
    recipe = Recipe(name="mine").with_changes({"optimise.margin": 0.125})
    text = rendered(run_of([face()]), tmp_path, recipe).text
    assert recipe.hash in text and "optimise.margin 0.125" in text and "verify.threshold 0.6" in text


def test_time_goes_by_stage(tmp_path: Path) -> None:
    text = rendered(run_of([face()]), tmp_path).text
    assert "optimise 6.0 s 75 %" in text and "9 s for 1 face: 9.0 s a face" in text


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


@pytest.mark.parametrize("values", [[0.7], [0.7] * 50, [0.0, 0.0], [0.61, 1.2, 0.6], [-1.0, 1.0], [1e-9, 1e9], [1e6]])
def test_histograms_count_every_value_within_the_drawing(values: list[float]) -> None:
    drawing = histogram([*values, float("nan")], 0.6, "limit")
    assert drawing is not None and drawing.mark is not None
    assert sum(bar.count for bar in drawing.bars) == len(values)
    assert all(LEFT <= bar.x and bar.x + bar.width <= RIGHT + 1 for bar in drawing.bars)
    assert LEFT <= drawing.mark <= RIGHT and 2 <= len(drawing.ticks) <= 9
    assert histogram([float("nan")], 0.6) is None


def test_bars_below_the_limit_are_marked() -> None:
    drawing = histogram([0.55, 0.599, 0.6, 0.61, 0.9], 0.6)
    assert drawing is not None
    assert sum(bar.count for bar in drawing.bars if bar.below) == 2


# -- with originals -------------------------------------------------------------------------------------------------

def photo(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (80, 60)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, path.suffix[1:].replace("jpg", "jpeg"))


def folders(tmp_path: Path, names: list[str]) -> tuple[Path, Path]:
    src, dst = tmp_path / "src", tmp_path / "dst"
    for name in names:
        photo(src / name, (200, 0, 0))
        photo(dst / name, (0, 0, 200))
    return src, dst


def pictures(html: str) -> list[Image.Image]:
    uris = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(unescape(uri)))) for uri in uris]


def test_the_owners_page_shows_before_and_after(tmp_path: Path) -> None:
    src, dst = folders(tmp_path, ["a.png", "sub/b.png"])
    out = tmp_path / "owner.html"
    write_report(out, run_of([face("a.png"), face("sub/b.png", 0, "blurred", reason="too small")]), Recipe(), src, dst)
    html = out.read_text()
    page = Page(html)
    assert_self_contained(html, page)
    assert "contains the originals: for the owner's eyes only" in page.text
    assert [image.getpixel((5, 5)) for image in pictures(html)] == [(200, 0, 0), (0, 0, 200)] * 2 or [
        tuple(int(abs(a - b) < 6) for a, b in zip(image.getpixel((5, 5)), want, strict=True))  # type: ignore[arg-type]
        for image, want in zip(pictures(html), [(200, 0, 0), (0, 0, 200)] * 2, strict=True)] == [(1, 1, 1)] * 4
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
    chosen = choose(rows)
    assert len(chosen) == 60 and len({row.file for row in chosen}) == 60
    assert [row.file for row in chosen[:20]] == [f"{i:03}.jpg" for i in range(20)]
    assert [row.status for row in chosen[20:30]] == ["blurred"] * 10
    gaps = np.diff([int(row.file[:3]) for row in chosen[30:]])
    assert gaps.min() >= 5 and gaps.max() <= 7
    assert choose([]) == [] and len(choose(rows[:7])) == 7


def test_originals_never_go_into_the_result(tmp_path: Path) -> None:
    src, dst = folders(tmp_path, ["a.png"])
    link = tmp_path / "link"
    link.symlink_to(dst, target_is_directory=True)
    for out in (dst / "report.html", dst / "sub" / "x.html", link / "x.html", tmp_path / "src" / ".." / "dst" / "x.html"):
        with pytest.raises(UsageError, match="lies inside"):
            write_report(out, run_of([face("a.png")]), Recipe(), src, dst)
    with pytest.raises(UsageError, match="results"):
        write_report(tmp_path / "o.html", run_of([face("a.png")]), Recipe(), src)
    with pytest.raises(UsageError, match="do not exist"):
        write_report(tmp_path / "o.html", run_of([face("a.png")]), Recipe(), tmp_path / "none", dst)
    assert sorted(path.name for path in dst.iterdir()) == ["a.png"]


# -- from a finished run --------------------------------------------------------------------------------------------

def record(summary: Summary, recipe: Recipe) -> dict[str, Any]:
    """As a run writes it into mien.json."""
    return {"mien": "0.1.0", "recipe": recipe.model_dump(mode="json"), "recipe_hash": recipe.hash,
            "photos": summary.photos, "faces": summary.faces, "statuses": dict(summary.statuses),
            "reasons": dict(summary.reasons), "skipped": [{"file": s.file, "reason": s.reason} for s in summary.skipped]}


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A DST with a manifest and a record."""
    recipe = Recipe(name="mine").with_changes({"optimise.rate": 1, "verify.threshold": 0.7})
    rows = [face("a.png", distance=0.71), face("a.png", 1, "blurred", reason="smaller than 16 pixels"),
            face("bytes-\udcff.png", distance=0.9, person="person-1")]
    summary = run_of(rows, [Skipped("b.heic", "b.heic: HEIC is not supported")])
    folders(tmp_path, ["a.png", "bytes-\udcff.png"])
    store = Store(tmp_path / "dst", tmp_path / "work")
    store.write_manifest(summary.outcomes, record(summary, recipe), recipe.hash)
    return tmp_path / "dst"


def test_the_page_is_built_again_from_the_result(finished: Path) -> None:
    out = report_from_folder(finished, None, None)
    assert out == finished / "report.html"
    page = Page(out.read_text())
    assert_self_contained(out.read_text(), page)
    assert "(2 of 2, closest distance 0.71, limit 0.70)" in page.text and "HEIC is not supported" in page.text
    assert "smaller than 16 pixels" in page.text and "img" not in page.tags and "person-1" not in page.text


def test_with_originals_it_lies_beside_the_result(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    out = report_from_folder(Path("."), Path("../src"), None)
    assert out == finished.parent / "dst.owner-report.html"
    assert len(pictures(out.read_text())) == 6, "three faces, one in a file whose name is not UTF-8"
    assert not (finished / "report.html").exists()
    with pytest.raises(UsageError, match="lies inside"):
        report_from_folder(finished, finished.parent / "src", finished / "report.html")
    with pytest.raises(UsageError, match="do not exist"):
        report_from_folder(finished, finished.parent / "none", None)


def test_another_page_can_be_named(finished: Path, tmp_path: Path) -> None:
    assert report_from_folder(finished, None, tmp_path / "x.html") == tmp_path / "x.html"
    with pytest.raises(OutputError):
        report_from_folder(finished, None, tmp_path / "none" / "x.html")


@pytest.mark.parametrize(("name", "what"), [("mien.parquet", "manifest"), ("mien.json", "record")])
@pytest.mark.parametrize("content", [None, b"", b"rubbish\n\xff", b"[]", b'{"photos": 1}', b"PAR1"])
def test_missing_and_damaged_files_are_named(finished: Path, name: str, what: str, content: bytes | None) -> None:
    (finished / name).unlink()
    if content is not None:
        (finished / name).write_bytes(content)
    with pytest.raises(UsageError, match=rf"{re.escape(name)} is (missing|not).*{what} of a run"):
        report_from_folder(finished, None, None)


def test_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        report_from_folder(tmp_path / "none", None, None)


def test_files_of_two_runs_are_refused(finished: Path) -> None:
    table = pq.read_table(finished / "mien.parquet")
    pq.write_table(table.slice(1), finished / "mien.parquet")
    with pytest.raises(UsageError, match="not of one run"):
        report_from_folder(finished, None, None)


def test_a_manifest_without_a_column_is_refused(finished: Path) -> None:
    pq.write_table(pq.read_table(finished / "mien.parquet").drop_columns(["status"]), finished / "mien.parquet")
    with pytest.raises(UsageError, match="no column status"):
        report_from_folder(finished, None, None)


def test_a_changed_recipe_is_refused(finished: Path) -> None:
    data = json.loads((finished / "mien.json").read_text())
    data["recipe"]["verify"]["threshold"] = 0.1
    (finished / "mien.json").write_text(json.dumps(data))
    with pytest.raises(UsageError, match="hash"):
        report_from_folder(finished, None, None)

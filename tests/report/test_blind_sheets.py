"""Pictures to be judged blind: what is shown, what gives nothing away, and what the key says."""

from __future__ import annotations

import csv
import stat
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from helpers import fake_run
from helpers.fake_run import ANNA, BERT, CLEO, save, squares
from helpers.made_up_runs import Page, face
from mien.cli.app import app
from mien.errors import OutputError, UsageError
from mien.images.decode import read_photo
from mien.report.blind_sheets import EMPTY, KINDS, cut_face, draw_queues, window_side, write_blind_sheets
from mien.report.read_run import read_run
from mien.types import Pixels


@pytest.fixture
def made(brush: None, tmp_path: Path) -> tuple[Path, Path]:
    """SRC and DST of eight photographs with twelve faces."""
    for number in range(8):
        people = [(ANNA,), (BERT, CLEO)][number % 2]
        save(tmp_path / "src" / f"{number}.png", squares(*people, seed=number))
    fake_run.run(tmp_path / "src", tmp_path / "dst")
    return tmp_path / "src", tmp_path / "dst"


def write(made: tuple[Path, Path], out: Path, count: int = 3, key: Path | None = None,
          seed: int | None = 5) -> list[dict[str, str]]:
    _, written = write_blind_sheets(*made, out, read_run(made[1])[0], count, key, seed)
    with written.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def picture(path: Path) -> Pixels:
    return np.asarray(Image.open(path))


def occurs(part: Pixels, photo: Pixels) -> bool:
    """Whether the middle of a sheet's picture is the photo, as it is: here photos are smaller than a picture."""
    height, width = photo.shape[:2]
    top, left = (part.shape[0] - height) // 2, (part.shape[1] - width) // 2
    around = part.copy()
    around[top : top + height, left : left + width] = EMPTY
    return bool((around == EMPTY).all() and (part[top : top + height, left : left + width] == photo).all())


def test_the_key_says_which_file_each_picture_is_of(made: tuple[Path, Path], tmp_path: Path) -> None:
    rows = write(made, tmp_path / "blind", 4)
    assert [row["number"] for row in rows] == [f"{number:03d}" for number in range(1, 9)]
    assert Counter(row["kind"] for row in rows) == {"untouched": 4, "changed": 4}
    for row in rows:
        shown = picture(tmp_path / "blind" / f"{row['number']}.png")
        photos = [read_photo(folder / row["file"], row["file"]).pixels for folder in made]
        assert [occurs(shown, photo) for photo in photos] == [row["kind"] == kind for kind in KINDS]


def test_no_face_and_no_photo_is_in_both_kinds(made: tuple[Path, Path], tmp_path: Path) -> None:
    for seed in range(6):
        rows = write(made, tmp_path / f"blind{seed}", 4, seed=seed)
        assert len({row["file"] for row in rows}) == 8  # there are eight photographs, one face of each
    rows = write(made, tmp_path / "all", 6)
    assert len({(row["file"], row["face"]) for row in rows}) == 12  # more than that, and still no face twice


def test_a_named_person_is_in_one_kind(tmp_path: Path) -> None:
    faces = [face(f"{number}.png") for number in range(12)]
    owners = ["a"] * 5 + ["b"] * 5 + ["c", "d"]
    for seed in range(10):
        queues = draw_queues(faces, owners, np.random.default_rng(seed))
        who = {kind: [owners[int(row.file.split(".")[0])] for row in queues[kind]] for kind in KINDS}
        assert not set(who["untouched"]) & set(who["changed"])
        for names in who.values():
            assert len(names[:2]) == len(set(names[:2]))  # each person once before one twice
        assert sum(map(len, who.values())) == 12


def test_people_of_the_dataset_are_known(brush: None, tmp_path: Path) -> None:
    """LFW's folders name people: nobody is shown both untouched and changed."""
    for person in ("Ann_A", "Bob_B", "Cleo_C", "Dan_D"):
        for number in (1, 2, 3):
            save(tmp_path / "src" / person / f"{person}_{number:04d}.png", squares(ANNA, seed=number))
    fake_run.run(tmp_path / "src", tmp_path / "dst", layout="lfw")
    for seed in range(4):
        rows = write((tmp_path / "src", tmp_path / "dst"), tmp_path / f"blind{seed}", 5, seed=seed)
        kinds = {kind: {row["file"].split("/")[0] for row in rows if row["kind"] == kind} for kind in KINDS}
        assert not kinds["untouched"] & kinds["changed"]
        assert all(len(people) == 2 for people in kinds.values())


def test_the_order_is_drawn_anew_unless_a_seed_is_given(made: tuple[Path, Path], tmp_path: Path) -> None:
    same, again = (write(made, tmp_path / name, seed=7) for name in ("a", "b"))
    assert same == again
    orders = {tuple((row["file"], row["kind"]) for row in write(made, tmp_path / f"{number}", seed=None))
              for number in range(6)}
    assert len(orders) == 6
    first = {order[0][1] for order in orders} | {order[-1][1] for order in orders}
    assert first == set(KINDS)  # wrong once in two thousand times


def test_nothing_but_the_pixels_tells_the_kinds_apart(made: tuple[Path, Path], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    exif = Image.Exif()
    exif[0x010E] = "a name"
    save(made[0] / "0.png", noise // 4 + squares(ANNA) // 2, exif=exif)  # who took it, and grain that compresses badly
    rows = write(made, tmp_path / "blind", 4)
    files = sorted((tmp_path / "blind").glob("*.png"))
    assert [path.name for path in files] == [f"{row['number']}.png" for row in rows]
    assert len({path.stat().st_size for path in files}) == 1 and len({path.stat().st_mtime_ns for path in files}) == 1
    for path in files:
        with Image.open(path) as image:
            image.load()
            assert (image.size, image.mode, image.info, dict(image.getexif())) == ((512, 512), "RGB", {}, {})
    assert stat.S_IMODE((tmp_path / "blind").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "blind.key.csv").stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "blind").iterdir()) == [*(f"{n:03d}.png" for n in range(1, 9)),
                                                                            "index.html"]


def test_the_page_runs_nothing_and_names_nobody(made: tuple[Path, Path], tmp_path: Path) -> None:
    rows = write(made, tmp_path / "blind")
    html = (tmp_path / "blind" / "index.html").read_text("utf-8")
    page = Page(html)
    assert not {"script", "link", "iframe", "form", "a"} & set(page.tags)
    assert [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")] == [
        f"{row['number']}.png" for row in rows]
    assert "untouched" not in html and not any(f'"{row["file"]}"' in html for row in rows)


def test_photos_stored_in_two_ways_are_shown_as_one(made: tuple[Path, Path], tmp_path: Path) -> None:
    """A JPEG whose result is a PNG: the one without the JPEG's blocks would be known by that."""
    for name in [f"{number}.png" for number in range(8)]:
        pixels = picture(made[0] / name)
        Image.fromarray(pixels).save(made[0] / name, "JPEG", quality=30)
    for row in write(made, tmp_path / "blind", 4):
        shown = picture(tmp_path / "blind" / f"{row['number']}.png").astype(int)
        folder = made[KINDS.index(row["kind"])]  # type: ignore[arg-type]
        exact = cut_face(read_photo(folder / row["file"], "x").pixels, (40, 24, 48, 48), 512)
        assert 0 < np.abs(shown - exact).max() < 40  # once more through a JPEG, whichever kind it is


@pytest.mark.parametrize(("size", "box"), [
    ((2000, 1500), (900.0, 700.0, 100.0, 120.0)), ((2000, 1500), (-50.0, -20.0, 100.0, 120.0)),
    ((2000, 1500), (1450.0, 1990.0, 100.0, 120.0)), ((600, 2000), (900.0, 100.0, 100.0, 90.0)),
])
def test_a_picture_is_the_photo_s_own_pixels_around_the_face(size: tuple[int, int],
                                                             box: tuple[float, float, float, float]) -> None:
    y, x = np.mgrid[: size[0], : size[1]]
    photo = np.stack([y // 8, x // 8, (x + y) % 256], axis=-1).astype(np.uint8)
    cut = cut_face(photo, box, 512)
    low = [int(np.clip(np.floor(start + length / 2 - 256), 0, whole - 512))
           for start, length, whole in ((box[1], box[3], size[0]), (box[0], box[2], size[1]))]
    assert (cut == photo[low[0] : low[0] + 512, low[1] : low[1] + 512]).all()


def test_large_faces_are_shrunk_and_small_photos_stay_small() -> None:
    assert window_side((0, 0, 30, 40)) == 512 and window_side((0, 0, 1000, 800)) == 1900
    large = np.zeros((2400, 2400, 3), np.uint8)
    large[700:1700, 700:1700] = 255
    cut = cut_face(large, (700.0, 700.0, 1000.0, 1000.0), 1024)
    assert cut.shape == (1024, 1024, 3)
    assert (cut > 127).any(axis=2).sum() == pytest.approx((1000 / 1900 * 1024) ** 2, rel=0.01)
    small = cut_face(np.zeros((100, 60, 3), np.uint8), (10.0, 10.0, 30.0, 30.0), 512)
    assert (small == 0).all(axis=2).sum() == 100 * 60 and (small[[0, -1]] == EMPTY).all()


def test_more_than_there_are(made: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are 12 faces that were anonymized") as caught:
        write(made, tmp_path / "blind", 7)
    assert caught.value.hint == "give --blind 6 or less"
    assert not (tmp_path / "blind").exists()
    write(made, tmp_path / "blind", 6)


def test_faces_that_cannot_be_compared_are_skipped(made: tuple[Path, Path], tmp_path: Path) -> None:
    (made[1] / "0.png").write_bytes(b"damaged")  # one face
    save(made[1] / "1.png", squares(ANNA))  # two faces, another size
    for seed in range(3):
        rows = write(made, tmp_path / f"blind{seed}", 4, seed=seed)
        assert len(rows) == 8 and not {"0.png", "1.png"} & {row["file"] for row in rows}
    with pytest.raises(UsageError, match="there are 9 faces that can be compared"):
        write(made, tmp_path / "blind", 5)
    assert not any((tmp_path / "blind").iterdir()) and not (tmp_path / "blind.key.csv").exists()


@pytest.mark.parametrize(("out", "key", "words"), [
    ("src", None, "inside SRC"), ("src/deep", None, "inside SRC"), ("dst", None, "is published"),
    ("dst/blind", None, "is published"), ("other/blind", None, "is published"), ("link", None, "inside SRC"),
    ("blind", "src/key.csv", "inside SRC"), ("blind", "dst/key.csv", "is published"),
    ("blind", "blind/key.csv", "which is shown"), ("blind", "blind", "which is shown"),
    ("blind", "there.csv", "there already"), ("full", None, "other files"),
])
def test_places_that_are_refused(made: tuple[Path, Path], tmp_path: Path, out: str, key: str | None,
                                 words: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mien.json").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "src" / "new")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "009.png").write_bytes(b"of another time")
    (tmp_path / "there.csv").write_text("the only key")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=words):
        write(made, tmp_path / out, key=None if key is None else tmp_path / key)
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "there.csv").read_text() == "the only key"


def test_a_place_that_cannot_be_written(made: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        write(made, tmp_path / "file")
    with pytest.raises(OutputError):
        write(made, tmp_path / "blind", key=tmp_path / "none" / "key.csv")
    assert not any((tmp_path / "blind").iterdir())


def test_the_command(made: tuple[Path, Path], tmp_path: Path) -> None:
    places = [*map(str, made), str(tmp_path / "blind")]
    ended = CliRunner().invoke(app, ["sheets", *places, "--blind", "2", "--key", str(tmp_path / "k.csv")])
    assert ended.exit_code == 0, ended.exception
    assert ended.output.split() == [str(tmp_path / "blind" / "index.html"), str(tmp_path / "k.csv")]
    for wrong in (["--seed", "1"], ["--key", "x.csv"], ["--blind", "2", "--every", "3"],
                  ["--blind", "2", "--work", "x"]):
        assert isinstance(CliRunner().invoke(app, ["sheets", *places, *wrong]).exception, UsageError)

"""Contact sheets: where pictures and text land, proportions, pages, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from helpers.fake_run import pixels_of
from mien.errors import OutputError
from mien.report.contact_sheet import EMPTY, GAP, Row, contact_sheet, pages, write_contact_sheets
from mien.types import Pixels

CELL = 64
HEADINGS = ("original", "result")
RED, BLUE = (200, 10, 20), (10, 20, 200)


def plain(color: tuple[int, int, int], height: int = 32, width: int = 32) -> Pixels:
    return np.full((height, width, 3), color, np.uint8)


def where(sheet: Pixels, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Top, left, height and width of a color's area, which must be a full rectangle."""
    rows, columns = np.nonzero((sheet == color).all(axis=2))
    top, left = int(rows.min()), int(columns.min())
    height, width = int(rows.max()) - top + 1, int(columns.max()) - left + 1
    assert len(rows) == height * width
    return top, left, height, width


def test_each_picture_fills_its_cell_under_its_heading() -> None:
    sheet = contact_sheet([[plain(RED), plain(BLUE)]], HEADINGS, ["a.jpg, face 0"], CELL)
    assert sheet.dtype == np.uint8 and sheet.ndim == 3
    top, left, height, width = where(sheet, RED)
    assert (left, height, width) == (GAP, CELL, CELL)
    assert where(sheet, BLUE) == (top, left + CELL + GAP, CELL, CELL)
    assert (sheet[:top] < 128).any(), "a heading is above"
    assert (sheet[top + CELL :] < 128).any(), "a caption is below"


@pytest.mark.parametrize(("height", "width"), [(40, 20), (20, 40), (400, 200), (3, 300)])
def test_pictures_keep_their_proportions(height: int, width: int) -> None:
    sheet = contact_sheet([[plain(RED, height, width)]], ["x"], [""], CELL)
    _, _, shown_height, shown_width = where(sheet, RED)
    scale = CELL / max(height, width)
    assert shown_height == max(1, round(height * scale)) and shown_width == max(1, round(width * scale))
    assert shown_height * shown_width + int((sheet == EMPTY).all(axis=2).sum()) == CELL * CELL


def test_pictures_that_share_memory_or_are_turned_are_drawn() -> None:
    picture = np.zeros((10, 20, 3), np.uint8)
    picture[:, 10:] = RED
    sheet = contact_sheet([[picture[:, ::-1]]], ["x"], [""], CELL)
    middle = np.nonzero((sheet == RED).all(axis=2))[0].mean().astype(int)
    assert tuple(sheet[middle, GAP + 4]) == RED and tuple(sheet[middle, GAP + CELL - 4]) == (0, 0, 0)


def test_pages_hold_at_most_twelve_rows_in_order() -> None:
    rows = [[plain((10 * i, 0, 0))] for i in range(25)]
    sheets = list(pages([(row, str(i)) for i, row in enumerate(rows)], ["x"], cell=16))
    assert len(sheets) == 3
    assert sheets[0].shape == sheets[1].shape and sheets[2].shape[0] < sheets[0].shape[0]
    assert where(sheets[2], (240, 0, 0))[2] == 16
    assert not (sheets[2] == (230, 0, 0)).all(axis=2).any()


def test_no_rows_make_no_pages() -> None:
    assert list(pages([], HEADINGS)) == []


@pytest.mark.parametrize("caption", ["x" * 5000, "a\nb\x1b[31m\udcff", "日本語", "<b>&'\""])
def test_any_caption_stays_on_its_line(caption: str) -> None:
    sheet = contact_sheet([[plain(RED)]], ["x"], [caption], CELL)
    assert sheet.shape == contact_sheet([[plain(RED)]], ["x"], ["a"], CELL).shape
    assert (sheet[:, :GAP] == 255).all() and (sheet[:, -GAP + 2 :] == 255).all()


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="captions"):
        contact_sheet([[plain(RED)]], ["x"], [])
    with pytest.raises(ValueError, match="1 pictures for 2 headings"):
        contact_sheet([[plain(RED)]], HEADINGS, [""])
    with pytest.raises(ValueError, match="uint8"):
        contact_sheet([[np.zeros((4, 4, 3), np.float32)]], ["x"], [""])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="uint8"):
        contact_sheet([[np.zeros((0, 4, 3), np.uint8)]], ["x"], [""])
    with pytest.raises(ValueError, match="heading"):
        contact_sheet([], [], [])


def test_pages_are_written_one_after_another(tmp_path: Path) -> None:
    """A page's rows are asked for when the page before is on disk, so that a long run needs no more memory."""
    asked: list[int] = []

    def rows() -> Iterator[Row]:
        for i in range(13):
            asked.append(i)
            yield [plain((10 * i, 0, 0))], str(i)

    paths = write_contact_sheets(tmp_path, rows(), ["x"])
    assert next(paths) == tmp_path / "sheet-001.png" and len(asked) == 12
    assert list(paths) == [tmp_path / "sheet-002.png"] and len(asked) == 13
    (sheet,) = pages([([plain((120, 0, 0))], "12")], ["x"])
    assert (pixels_of(tmp_path / "sheet-002.png") == sheet).all()
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError):
        list(write_contact_sheets(tmp_path / "file", rows(), ["x"]))

"""Draws contact sheets: one row per face, its pictures side by side."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.images.formats import printable
from mien.types import Pixels
from mien.util.files import write_file

ROWS = 12  # on a page
GAP = 8  # pixels between cells and around them
PAPER, INK, EMPTY = (255, 255, 255), (32, 33, 36), (226, 227, 229)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Row = tuple[Sequence[Pixels], str]  # a face's pictures, and its caption


def contact_sheet(rows: Sequence[Sequence[Pixels]], headings: Sequence[str], captions: Sequence[str],
                  cell: int = 256) -> Pixels:
    """Draws faces in rows, with a heading over each column and a caption under each row.

    Args:
        rows: for each face one picture [H, W, 3] uint8 RGB per heading, of any size.
        headings: of the columns. captions: one per row; text that is too long is cut.
        cell: side in pixels of the square that a picture is fitted into; it keeps its proportions.

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        ValueError: rows, headings and captions do not fit together, or a picture is not uint8 RGB.
    """
    _check(rows, headings, captions, cell)
    size = max(10, cell // 16)
    font, line = ImageFont.load_default(size), round(size * 1.5)
    pitch = cell + line + GAP
    width = GAP + len(headings) * (cell + GAP)
    sheet = Image.new("RGB", (width, GAP + line + len(rows) * pitch + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, heading in enumerate(headings):
        draw.text((GAP + column * (cell + GAP), GAP), _fitted(heading, font, cell), INK, font)
    for number, (pictures, caption) in enumerate(zip(rows, captions, strict=True)):
        top = GAP + line + number * pitch
        for column, picture in enumerate(pictures):
            sheet.paste(_letterboxed(picture, cell), (GAP + column * (cell + GAP), top))
        draw.text((GAP, top + cell + size // 8), _fitted(caption, font, width - 2 * GAP), INK, font)
    return np.array(sheet, dtype=np.uint8)


def pages(rows: Iterable[Row], headings: Sequence[str], cell: int = 256) -> Iterator[Pixels]:
    """Yields contact sheets of at most `ROWS` rows, in order; none where there are no rows. Rows are read page by page.

    Raises:
        ValueError: as `contact_sheet`.
    """
    rest = iter(rows)
    while page := list(islice(rest, ROWS)):
        yield contact_sheet([pictures for pictures, _ in page], headings, [caption for _, caption in page], cell)


def write_contact_sheets(folder: Path, rows: Iterable[Row], headings: Sequence[str]) -> Iterator[Path]:
    """Writes the `pages` to FOLDER/sheet-001.png and so on, and yields each path when its file is written.

    Raises:
        ValueError: as `contact_sheet`. OutputError: a file cannot be written.
    """
    for number, page in enumerate(pages(rows, headings), 1):
        path, buffer = folder / f"sheet-{number:03d}.png", io.BytesIO()
        Image.fromarray(page).save(buffer, "PNG")
        write_file(path, buffer.getvalue())
        yield path


def _check(rows: Sequence[Sequence[Pixels]], headings: Sequence[str], captions: Sequence[str],
           cell: int) -> None:
    if not headings or cell < 1:
        raise ValueError("a contact sheet needs at least one heading and cells of at least one pixel")
    if len(rows) != len(captions):
        raise ValueError(f"{len(rows)} rows need as many captions, not {len(captions)}")
    for number, pictures in enumerate(rows):
        if len(pictures) != len(headings):
            raise ValueError(f"row {number} has {len(pictures)} pictures for {len(headings)} headings")
        for picture in pictures:
            if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
                shape = list(picture.shape)
                raise ValueError(f"row {number}: expected [H, W, 3] uint8, got {picture.dtype} {shape}")


def _letterboxed(picture: Pixels, cell: int) -> Image.Image:
    height, width = picture.shape[:2]
    scale = cell / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    fitted = Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.LANCZOS)
    box = Image.new("RGB", (cell, cell), EMPTY)
    box.paste(fitted, ((cell - size[0]) // 2, (cell - size[1]) // 2))
    return box


def _fitted(text: str, font: Font, width: int) -> str:
    """As much of a text's beginning as fits, on one line."""
    text = printable(text)[:1000]
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..." if text else ""

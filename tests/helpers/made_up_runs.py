"""Makes up summaries of runs without running anything, and reads the pages made of them."""

from __future__ import annotations

import base64
import io
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mien.jobs.manifest import MANIFEST
from mien.jobs.shard import ShardResult
from mien.jobs.summary import Summary
from mien.types import FaceOutcome, Skipped, Status


def face(
    file: str = "a.jpg",
    number: int = 0,
    status: Status = "anonymized",
    distance: float | None = 0.8,
    reason: str = "",
    **more: Any,
) -> FaceOutcome:
    if status in ("blurred", "kept", "excluded"):
        distance = None
    return FaceOutcome(
        file,
        number,
        (10.0, 12.0, 30.0, 36.0),
        [[20.0, 20.0]] * 5,
        0.9,
        status,
        reason,
        1,
        85,
        7.5,
        None if distance is None else 0.02,
        distance,
        **more,
    )


def run_of(
    outcomes: list[FaceOutcome], skipped: list[Skipped] | None = None, photos: int | None = None
) -> Summary:
    files = sorted({row.file for row in outcomes if row.status != "dropped"})
    outputs = {file: file for file in files}
    summary = Summary()
    summary.add(ShardResult(outcomes, skipped or [], outputs, [], {}, "", {"optimize": 6.0, "invert": 2.0}, 9.0))
    summary.outcomes, summary.outputs = outcomes, outputs
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


def photo(path: Path, color: tuple[int, int, int], size: tuple[int, int] = (80, 60)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, path.suffix[1:].replace("jpg", "jpeg"))


def folders(tmp_path: Path, names: list[str]) -> tuple[Path, Path]:
    src, dst = tmp_path / "src", tmp_path / "dst"
    for name in names:
        photo(src / name, (200, 0, 0))
        photo(dst / name, (0, 0, 200))
    return src, dst


def pictures(html: str) -> list[Image.Image]:
    uris = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(unescape(uri)))) for uri in uris]


def as_former_version(dst: Path) -> None:
    """Rewrite the record and the manifest of a run under the names that a former version had for them."""
    record = json.loads((dst / "mien.json").read_text("utf-8"))
    recipe = record["recipe"]
    recipe["optimise"] = recipe.pop("optimize")
    for table in (recipe["optimise"], recipe["pair"]):
        table["colour_weight"] = table.pop("color_weight")
    record["recipe_hash"] = "0123456789abcdef"
    (dst / "mien.json").write_text(json.dumps(record), "utf-8")
    rows = pq.read_table(dst / "mien.parquet").to_pylist()
    for row in rows:
        row["recipe"] = record["recipe_hash"]
        row["status"] = row["status"].replace("anonymized", "anonymised")
    pq.write_table(pa.Table.from_pylist(rows, schema=MANIFEST), dst / "mien.parquet")

"""Reads the progress of a run from WORK, while the run goes on or after it was stopped."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mien.errors import UsageError
from mien.jobs.gate import Gate
from mien.jobs.shard import SHARD, SHARD_SIZE
from mien.jobs.state import COMPLETE, check_format, is_held
from mien.util.files import read_object

RECENT = 600.0  # the speed is measured over so many last seconds
SLACK = 60.0  # seconds by which the clocks of two machines may differ


@dataclass
class Status:
    """Holds the progress of a run.

    Attributes:
        running: whether a process holds WORK. photos: number of photos of the run.
        indexed: number of photos in shards that have a face index. done: number of photos in finished shards.
        faces: number of faces in finished shards. statuses: status -> number of these faces.
        skipped: number of skipped files. stages: stage -> seconds. workers: worker -> number of its finished shards.
        speed: photos a second in the last minutes. left: seconds to the end, or None where they are not known.
        complete: whether DST holds everything, the manifest and the report too.
        warnings: sentences for the owner, such as that the recipe loosened the gate.
    """

    running: bool
    photos: int
    indexed: int = 0
    done: int = 0
    faces: int = 0
    skipped: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    workers: Counter[str] = field(default_factory=Counter)
    speed: float = 0.0
    left: float | None = None
    complete: bool = False
    warnings: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        """Writes all fields as JSON, on one line."""
        return json.dumps(vars(self))

    def as_prometheus(self) -> str:
        """Writes the numbers in Prometheus' text format, for a node exporter's textfile collector or a push gateway."""
        rows = [("running", "", float(self.running)), ("photos", "", self.photos),
                ("photos_indexed", "", self.indexed), ("photos_done", "", self.done),
                ("photos_per_second", "", self.speed), ("files_skipped", "", self.skipped),
                ("complete", "", float(self.complete)), ("warnings", "", len(self.warnings))]
        rows += [("faces", f'{{status="{name}"}}', count) for name, count in sorted(self.statuses.items())]
        rows += [("stage_seconds", f'{{stage="{name}"}}', value) for name, value in sorted(self.stages.items())]
        lines, named = [], set[str]()
        for name, labels, value in rows:
            if name not in named:
                lines.append(f"# TYPE mien_{name} gauge")
                named.add(name)
            lines.append(f"mien_{name}{labels} {value:g}")
        return "\n".join(lines) + "\n"


def read_status(work: Path) -> Status:
    """Reads the progress of the run in a WORK.

    Raises:
        UsageError: WORK holds no run, or one of another version.
    """
    try:
        names = json.loads((work / "files.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{work} holds no run", "give the WORK of a run, by default DST.work") from error
    asked = read_object(work / "run.json")
    if asked:
        check_format(work, asked)
    indexed = min(_indexed(work, asked.get(SHARD_SIZE, SHARD)), len(names))
    status, events = Status(is_held(work), len(names), indexed), _events(work)
    status.complete = (work / COMPLETE).exists()
    recipe = asked.get("recipe")
    if isinstance(recipe, dict) and (warning := Gate.of_settings(recipe).warning):
        status.warnings.append(warning)
    for event in events.values():
        status.done += event["photos"]
        status.faces += event["faces"]
        status.skipped += event["skipped"]
        status.statuses.update(event["statuses"])
        status.stages.update(event["stages"])
        status.workers[event["worker"]] += 1
    ages = [(time.time() - datetime.fromisoformat(event["at"]).timestamp(), event["photos"])
            for event in events.values()]
    recent = [(age, photos) for age, photos in ages if 0 <= age <= RECENT]  # clocks may be set, and differ
    if status.running and recent and max(recent)[0] > 0:
        status.speed = sum(photos for _, photos in recent) / max(recent)[0]
        status.left = (status.photos - status.done) / status.speed
    return status


def _indexed(work: Path, size: Any) -> int:
    """Counts the photos of the shards that have a face index."""
    shards = 0
    with suppress(OSError), os.scandir(work / "faces") as entries:
        shards = sum(entry.name.removesuffix(".safetensors").isdecimal() for entry in entries)
    return shards * size if isinstance(size, int) else 0


def _events(work: Path) -> dict[int, dict[str, Any]]:
    """Reads the event of each finished shard, or makes it from the shard's results where there is none as new.

    A driver that is killed has not noted its last shards.
    """
    events, found = _noted(work), dict[int, dict[str, Any]]()
    for shard, written in _finished(work):
        event = events.get(shard)
        if event is None or written > datetime.fromisoformat(event["at"]).timestamp() + SLACK:
            event = _of_marker(work / "shards" / f"{shard:06d}.json", written)
        if event is not None:
            found[shard] = event
    return found


def _noted(work: Path) -> dict[int, dict[str, Any]]:
    """Reads the last event of each shard; a line that was cut short does not count."""
    events = {}
    with suppress(OSError), (work / "events.jsonl").open(encoding="utf-8") as file:
        for line in file:
            with suppress(ValueError, KeyError, TypeError):
                event = json.loads(line)
                events[int(event["shard"])] = event
    return events


def _finished(work: Path) -> Iterator[tuple[int, float]]:
    """Yields the number of each finished shard, and when its results were written."""
    with suppress(OSError), os.scandir(work / "shards") as entries:
        for entry in entries:
            number = entry.name.removesuffix(".json")
            if number.isdecimal():
                with suppress(FileNotFoundError):
                    yield int(number), entry.stat().st_mtime


def _of_marker(path: Path, written: float) -> dict[str, Any] | None:
    """Makes a finished shard's event from its results; None where they are damaged."""
    data = read_object(path)
    try:
        return {"photos": len(data["states"]), "faces": len(data["outcomes"]), "skipped": len(data["skipped"]),
                "statuses": Counter(row["status"] for row in data["outcomes"]), "stages": data["stages"],
                "worker": data["worker"], "at": datetime.fromtimestamp(written, UTC).isoformat()}
    except (KeyError, TypeError):
        return None

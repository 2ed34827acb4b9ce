"""Writes the sections of RESULTS.md, names the machine, and keeps measurements in files, for all benchmarks."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

OUT = Path(__file__).with_name("RESULTS.md")
HEAD = """# Results

Each section is written by the command it names. Times depend on the machine and on what else it does; compare them
within one section only.
"""


def machine() -> str:
    """Names processor, cores, GPU and torch, for the beginning of a section."""
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return f"{model}, {os.cpu_count()} cores, {gpu}torch {torch.__version__}"


def stamp() -> str:
    """Names date, commit and machine, for the beginning of a section."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return f"{date.today().isoformat()}, commit {commit.strip()}, {machine()}."


def measured_apart(file: Path, script: str, *arguments: object) -> dict[str, Any]:
    """Runs a script in a process of its own and reads the last line of its output as JSON.

    The result is kept in `file`; where that is there already, nothing is run.
    """
    if not file.exists():
        command = [sys.executable, script, *map(str, arguments)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        file.write_text(json.dumps(json.loads(said) | {"stamp": stamp()}) + "\n", "utf-8")
        print(f"{file.stem}: {said}", flush=True)
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def stamps(rows: Iterable[dict[str, Any]]) -> str:
    """Names when and where kept measurements were made."""
    return " ".join(dict.fromkeys(row["stamp"] for row in rows))


def median_and_quartiles(values: Sequence[float], digits: int = 2) -> str:
    """Writes the median and, in brackets, the quartiles, as in "1.30 (1.27, 1.65)"."""
    quarters = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return f"{median(values):.{digits}f} ({quarters[0]:.{digits}f}, {quarters[2]:.{digits}f})"


def put_section(title: str, text: str, out: Path = OUT) -> None:
    """Writes a section, in place of the one that has its title."""
    old = out.read_text("utf-8") if out.exists() else HEAD
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", old, flags=re.MULTILINE | re.DOTALL))
    sections[title] = f"\n{text.strip()}\n\n"
    whole = HEAD + "".join(f"\n## {name}\n{body.rstrip()}\n" for name, body in sections.items())
    out.write_text(whole, "utf-8")
    print(text)

"""What the benchmarks share: the results file, one section a benchmark, and the machine's name."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import date
from pathlib import Path

import torch

OUT = Path(__file__).with_name("RESULTS.md")
HEAD = """# Results

Each section is written by the command it names. Times depend on the machine and on what else it does; compare them
within one section only.
"""


def machine() -> str:
    """Processor, cores and torch, for a section's heading."""
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())
    return f"{model}, {os.cpu_count()} cores, torch {torch.__version__}"


def stamp() -> str:
    """Date, commit and machine, as a section begins."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return f"{date.today().isoformat()}, commit {commit.strip()}, {machine()}."


def put_section(title: str, text: str, out: Path = OUT) -> None:
    """Write a section, in place of the one that has its title."""
    old = out.read_text("utf-8") if out.exists() else HEAD
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", old, flags=re.MULTILINE | re.DOTALL))
    sections[title] = f"\n{text.strip()}\n\n"
    whole = HEAD + "".join(f"\n## {name}\n{body.rstrip()}\n" for name, body in sections.items())
    out.write_text(whole, "utf-8")
    print(text)

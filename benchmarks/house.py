"""Measures how the rooms of src/mien depend on one another, in one checkout or in several side by side.

    python benchmarks/house.py [--root FOLDER]... [--list]
    python benchmarks/house.py --root BEFORE --write    # beside this checkout; writes RESULTS.md

A room is a module or a package at the top of src/mien. An arrow leads from a room to one that it imports, in functions
and for types too. Rooms in a circle count as one where floors are counted: these are the rooms on the longest way down.
An arrow leads upwards where it breaks the layers that FOLDER's pyproject.toml declares for import-linter. Imports are
read, not run, so that any version's checkout can be measured.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "mien"
LONG = 400  # lines of a file
Graph = dict[str, set[str]]  # importer -> what it imports


@dataclass(frozen=True)
class House:
    """What is known of one checkout.

    Attributes:
        lines: of each module, by its dotted name. imports: between modules. layers: room -> its layer, 0 the highest;
            empty where none are declared.
    """

    lines: Mapping[str, int]
    imports: Graph
    layers: Mapping[str, int]

    @classmethod
    def read(cls, root: Path) -> House:
        """Reads a checkout; SystemExit where it has no src/mien."""
        top = root / "src" / PACKAGE
        files = {_module(file, top): file for file in sorted(top.rglob("*.py"))}
        if not files:
            raise SystemExit(f"{top} holds no Python files")
        texts = {name: file.read_text(encoding="utf-8") for name, file in files.items()}
        packages = {name for name, file in files.items() if file.name == "__init__.py"}
        imports = {name: set(_imports(ast.parse(text), name, name in packages, files)) - {name}
                   for name, text in texts.items()}
        return cls({name: text.count("\n") for name, text in texts.items()}, imports, _layers(root / "pyproject.toml"))

    def rooms(self) -> Graph:
        """Returns the arrows between rooms; the package's own `__init__` is the door and no room."""
        found: Graph = {_room(name): set() for name in self.lines if name != PACKAGE}
        for name, imported in self.imports.items():
            if name != PACKAGE:
                found[_room(name)] |= {_room(other) for other in imported if other != PACKAGE} - {_room(name)}
        return found

    def upward(self) -> list[str] | None:
        """Lists the arrows that break the declared layers, or None where none are declared."""
        if not self.layers:
            return None
        return [f"{room} -> {other}" for room, others in sorted(self.rooms().items()) for other in sorted(others)
                if self.layers.get(room, -1) >= self.layers.get(other, len(self.layers))]

    def long_files(self) -> list[str]:
        """Lists the modules with more than 400 lines, the longest first."""
        return [f"{name} ({count})" for name, count in sorted(self.lines.items(), key=lambda item: -item[1])
                if count > LONG]


def _module(file: Path, top: Path) -> str:
    parts = file.relative_to(top.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str:
    return module.split(".")[1]


def _imports(tree: ast.AST, module: str, package: bool, known: Mapping[str, Path]) -> Iterator[str]:
    """Yields the modules of the package that one imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = _absolute(node, module, package)
            names = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from filter(None, (_longest(name, known) for name in names))


def _absolute(node: ast.ImportFrom, module: str, package: bool) -> str:
    """Returns the dotted name of what follows `from`."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + package]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _longest(name: str, known: Mapping[str, Path]) -> str | None:
    """Returns the module that a dotted name leads to: itself, or the one that holds the object of that name."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def _layers(pyproject: Path) -> dict[str, int]:
    """Returns each room's layer; rooms that share one ("a | b") may not import one another either."""
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8")) if pyproject.exists() else {}
    contracts = settings.get("tool", {}).get("importlinter", {}).get("contracts", [])
    for contract in contracts:
        if contract["type"] == "layers" and contract.get("containers") == [PACKAGE]:
            return {room.strip(): number for number, layer in enumerate(contract["layers"])
                    for room in layer.split("|")}
    return {}


def circles(graph: Graph) -> list[list[str]]:
    """Returns the sets of nodes that reach one another, of two nodes or more."""
    reached = {node: _reach(graph, node) for node in graph}
    found = {frozenset({node, *(other for other in reached[node] if node in reached[other])}) for node in graph}
    return sorted(sorted(circle) for circle in found if len(circle) > 1)


def _reach(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for other in graph[waiting.pop()] - seen:
            seen.add(other)
            waiting.append(other)
    return seen


def longest_way(graph: Graph) -> list[str]:
    """Returns the nodes on the longest way along the arrows, each circle as one node."""
    circle_of = {node: "+".join(circle) for circle in circles(graph) for node in circle}
    condensed: Graph = {}
    for node, others in graph.items():
        here = circle_of.get(node, node)
        condensed.setdefault(here, set()).update({circle_of.get(other, other) for other in others} - {here})
    ways: dict[str, list[str]] = {}

    def way(node: str) -> list[str]:
        if node not in ways:
            ways[node] = [node, *max((way(other) for other in sorted(condensed[node])), key=len, default=[])]
        return ways[node]

    return max((way(node) for node in sorted(condensed)), key=len)


def figures(house: House) -> dict[str, str]:
    """Returns the rows of the table."""
    rooms, upward = house.rooms(), house.upward()
    largest = max(house.lines, key=lambda name: house.lines[name])
    return {
        "rooms at the top": str(len(rooms)),
        "files": str(len(house.lines)),
        "lines": str(sum(house.lines.values())),
        "floors": str(len(longest_way(rooms))),
        "arrows between rooms": str(sum(map(len, rooms.values()))),
        "arrows upwards": "no layers" if upward is None else str(len(upward)),
        "circles of rooms": str(len(circles(rooms))),
        "circles of modules": str(len(circles(house.imports))),
        f"files over {LONG} lines": str(len(house.long_files())),
        "largest file": f"{largest.removeprefix(PACKAGE + '.')} ({house.lines[largest]})",
    }


def details(house: House) -> Iterator[str]:
    """Yields what the figures were counted from."""
    rooms = house.rooms()
    yield f"longest way down: {' > '.join(longest_way(rooms))}"
    yield from (f"upwards: {arrow}" for arrow in house.upward() or ())
    yield from (f"circle of rooms: {', '.join(circle)}" for circle in circles(rooms))
    yield from (f"circle of modules: {', '.join(circle)}" for circle in circles(house.imports))
    yield from (f"long: {file}" for file in house.long_files())


def write(roots: list[Path]) -> None:
    """Writes the section of RESULTS.md: a column a checkout, named by its commit."""
    from results import put_section  # which loads torch

    houses = [House.read(root) for root in roots]
    names = [subprocess.run(["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            check=True).stdout.strip() for root in roots]
    columns = [figures(house) for house in houses]
    lines = [f"`python benchmarks/house.py --root BEFORE --write`. Commits {' and '.join(names)}.", "",
             f"| figure | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {row} | {' | '.join(column[row] for column in columns)} |" for row in columns[0]]
    for name, house in zip(names, houses, strict=True):
        lines += ["", f"{name}: " + "; ".join(details(house)) + "."]
    put_section("The house", "\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, action="append", help="a checkout; may be repeated [this one]")
    parser.add_argument("--list", action="store_true", help="also name ways, circles and long files")
    parser.add_argument("--write", action="store_true", help="write the section of RESULTS.md, beside this checkout")
    arguments = parser.parse_args()
    here = Path(__file__).resolve().parents[1]
    if arguments.write:
        write([*(arguments.root or ()), here])
        return
    roots = arguments.root or [here]
    houses = [House.read(root) for root in roots]
    columns = [{"": str(root)} | figures(house) for root, house in zip(roots, houses, strict=True)]
    widths = [max(map(len, column.values())) for column in columns]
    for row in columns[0]:
        cells = (column[row].rjust(width) for column, width in zip(columns, widths, strict=True))
        print(row.ljust(22), *cells, sep="  ")
    for root, house in zip(roots, houses, strict=True):
        if arguments.list:
            print(f"\n{root}", *details(house), sep="\n  ")


if __name__ == "__main__":
    main()

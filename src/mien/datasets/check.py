"""Checks a dataset's folder: which layout it has, what is in it, what is wrong, and how to arrange it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mien.datasets.annotation_table import bare_name
from mien.datasets.dataset import Dataset, plural
from mien.datasets.registry import LAYOUTS, Layout, choose_layout
from mien.datasets.tree import ExpectedPath, Tree
from mien.errors import UsageError
from mien.images.formats import PHOTO_SUFFIXES, printable

DEPTH = 3  # folders down, to which misplaced files are looked for
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".7z.001")
LISTED = 50  # at most so many damaged photographs
FLAT = ("celebahq", "celeba")  # layouts with all photographs in one folder


def check(root: Path, layout: str = "auto", pictures: bool = False) -> tuple[list[str], bool]:
    """Checks a dataset without changing anything.

    Args:
        pictures: whether to decode every photograph, too.

    Returns:
        lines to print, and whether `mien anonymize` would take the folder.

    Raises:
        UsageError: there is no such folder or layout, or it shows two layouts.
    """
    if not root.exists():
        raise UsageError(f"{printable(str(root))} does not exist", "give a dataset's folder")
    tree = Tree(root)
    chosen = choose_layout(tree, layout)
    dataset = chosen.read(tree)
    if chosen.name == "folder" and not dataset.photos:
        tree.problems.append("there is no photograph")
    lines = [f"{printable(str(root))}: {chosen.title} (layout {chosen.name})", *_counts(dataset)]
    lines += _block("notes", [*dataset.notes, *_notes_of_lists(dataset), *_could_be_classes(dataset),
                              *_could_be_celebahq(dataset)])
    lines += _block("cannot be read", [f"{printable(one.file)}: {one.reason}" for one in dataset.skipped])
    if pictures:
        lines += _block("damaged", _damaged(dataset))
    if tree.problems:
        lines += _block("wrong", tree.problems) + _drawing(tree, chosen) + _block("to do", _advice(tree, chosen))
    return [*lines, "", _verdict(tree, chosen)], not tree.problems


def _counts(dataset: Dataset) -> list[str]:
    splits = dataset.count(dataset.photos)
    rows = [("photographs", f"{len(dataset.photos):,}")]
    if dataset.people:
        rows.append(("people", f"{len(set(dataset.people.values())):,}"))
    if dataset.classes:
        rows.append(("classes", f"{len(set(dataset.classes.values())):,}"))
    if splits:
        rows.append(("splits", ", ".join(f"{split} {number:,}" for split, number in splits.items())))
    if dataset.attribute_names:
        rows.append(("attributes", f"{len(dataset.attribute_names):,}"))
    suffixes = Counter(name.rpartition(".")[2].lower() for name in dataset.photos)
    rows.append(("files", ", ".join(f"{suffix} {number:,}" for suffix, number in suffixes.most_common(5)) or "none"))
    return [f"  {what:<12} {number}" for what, number in rows]


def _notes_of_lists(dataset: Dataset) -> Iterator[str]:
    outputs = {name: name for name in dataset.photos}
    return (note for one in dataset.annotations if (note := one.filtered(outputs)[1]))


def _could_be_classes(dataset: Dataset) -> list[str]:
    folders = {name.rpartition("/")[0] for name in dataset.photos}
    if dataset.layout != "folder" or len(folders) < 2 or any("/" in name or not name for name in folders):
        return []
    return [f"{plural(len(folders), 'folder')} of photographs: if they are classes, say --layout imagefolder"]


def _could_be_celebahq(dataset: Dataset) -> list[str]:
    """Notes when photographs in a folder `data` are numbered, and no annotation file tells what they are."""
    numbered = dataset.photos and all(name.startswith("data/") and bare_name(name).isdigit() for name in dataset.photos)
    if dataset.layout != "folder" or not numbered:
        return []
    return ["the photographs are numbered like CelebA-HQ's, without its annotation files: labels and splits are lost; "
            "what should be there says mien datasets check DIR --layout celebahq"]


def _block(title: str, items: list[str]) -> list[str]:
    return ["", f"{title}:", *(f"  - {item}" for item in items)] if items else []


def _drawing(tree: Tree, layout: Layout) -> list[str]:
    """Draws the expected tree; `x` marks paths that exist, `!` those that are missing, a space those that may be."""
    lines, folder = ["", f"expected ({layout.title}; x: there, !: missing):", "  DIR/"], ""
    for expected in layout.expected:
        real = _where(tree, expected)
        mark = "x" if real else "!" if expected.required else " "
        parent, _, name = expected.path.rpartition("/")
        if parent != folder and parent:
            lines.append(f"      {parent}/")
        folder = parent
        moved = f"  (here: {printable(real)})" if real and real.casefold() != expected.path.casefold() else ""
        lines.append(f"  [{mark}] {'  ' if parent else ''}{name:<36} {expected.content}{moved}")
    return lines


def _where(tree: Tree, expected: ExpectedPath) -> str | None:
    return next((real for path in expected.all_paths if (real := tree.real(path))), None)


def _advice(tree: Tree, layout: Layout) -> list[str]:
    """Says for each missing file where there is one of that name, or an archive of it."""
    missing = {expected.path.rpartition("/")[2].casefold(): expected for expected in layout.expected
               if not _where(tree, expected)}
    advice = []
    for path in _below(tree.root):
        name = path.rpartition("/")[2]
        if name.casefold() in missing:
            advice.append(f"move {printable(path)} to {missing[name.casefold()].path}")
        for suffix in ARCHIVES:
            if name.casefold().removesuffix(suffix) in missing and name.casefold().endswith(suffix):
                advice.append(f"unpack {printable(path)} to {missing[name.casefold().removesuffix(suffix)].path}")
    photos = next((one for one in layout.expected if "." not in one.path), None)  # the photographs' folder
    if not advice and photos and layout.name in FLAT and not _where(tree, photos):
        folders = Counter(path.rpartition("/")[0] for path in _below(tree.root)
                          if f".{path.rpartition('.')[2].lower()}" in PHOTO_SUFFIXES)
        advice += [f"move the {number:,} photographs in {printable(folder) or 'the top folder'} to {photos.path}"
                   for folder, number in folders.most_common(1)]
    return advice


def _below(root: Path) -> Iterator[str]:
    """Yields files and folders down to `DEPTH`, relative to `root`, sorted."""
    for folder, folders, files in os.walk(root):
        inside = Path(folder).relative_to(root)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if len(inside.parts) < DEPTH else []
        for name in (*folders, *sorted(files)):
            yield (inside / name).as_posix()


def _damaged(dataset: Dataset) -> list[str]:
    from mien.datasets.storage.base import photo_of
    from mien.errors import PhotoError

    damaged, reader = [], dataset.reader
    for name in dataset.photos:
        try:
            photo_of(reader, name)
        except PhotoError as error:
            damaged.append(error.message)
    more = len(damaged) - LISTED
    return damaged[:LISTED] + ([f"and {more} more"] if more > 0 else []) or ["none"]


def _verdict(tree: Tree, layout: Layout) -> str:
    if tree.problems:
        return f"not usable as {layout.name}: {plural(len(tree.problems), 'problem')}"
    return f"usable: mien anonymize {printable(str(tree.root))} DST --layout {layout.name}"


def describe_layouts() -> list[str]:
    """Returns a line for each layout: its name, its title, and what is carried over."""
    return [f"{layout.name:<12} {layout.title:<24} carries over {layout.carries}" for layout in LAYOUTS.values()]

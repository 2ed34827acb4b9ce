"""Lists the layouts of datasets, recognizes which of them a folder has, and opens it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mien.datasets.dataset import Dataset, plural
from mien.datasets.layouts import celeba, celebahq, huggingface, image_folder, lfw, webdataset
from mien.datasets.scan import Tally, scan
from mien.datasets.storage.tar import COMPRESSED
from mien.datasets.tree import ExpectedPath, Tree
from mien.errors import UsageError
from mien.images.formats import printable

SAMPLED = 50  # folders in a plain folder that are looked into for datasets


@dataclass(frozen=True)
class Layout:
    """One way to arrange a dataset.

    Attributes:
        expected: its files and folders.
        recognize: tells whether a folder has this layout; None if the owner has to say so.
        carries: what goes into the result besides photographs.
    """

    name: str
    title: str
    expected: tuple[ExpectedPath, ...]
    recognize: Callable[[Tree], bool] | None
    read: Callable[[Tree], Dataset]
    carries: str


def read_folder(tree: Tree) -> Dataset:
    """Reads any folder of photographs, or a single one."""
    tally = Tally()
    photos = list(scan(tree.root, tally))
    root = tree.root if tree.root.is_dir() else tree.root.parent
    dataset = Dataset("folder", root, photos, skipped=tally.skipped)
    dataset.note_other_files(tally.passed_over)
    for inside in tree.folders()[:SAMPLED]:
        for name in recognized(Tree(tree.root / inside)):
            dataset.notes.append(f"{printable(inside)} looks like {LAYOUTS[name].title}: given as SRC, it keeps its "
                                 "labels and splits")
    return dataset


LAYOUTS = {layout.name: layout for layout in (
    Layout("folder", "a folder of photographs", (), None, read_folder, "names and folders"),
    Layout("celebahq", "CelebA-HQ", celebahq.EXPECTED, celebahq.is_celebahq, celebahq.read_celebahq,
           "mapping, attributes, splits, identities"),
    Layout("celeba", "CelebA", celeba.EXPECTED, celeba.is_celeba, celeba.read_celeba,
           "attributes, splits, identities, landmarks, boxes"),
    Layout("lfw", "LFW", lfw.EXPECTED, lfw.is_lfw, lfw.read_lfw, "people, pairs, development splits, attribute scores"),
    Layout("imagefolder", "ImageFolder", image_folder.EXPECTED, image_folder.is_image_folder,
           image_folder.read_image_folder, "classes and splits, which are folders"),
    Layout("webdataset", "WebDataset", webdataset.EXPECTED, webdataset.is_webdataset, webdataset.read_webdataset,
           "all members of a sample, tars and splits"),
    Layout("huggingface", "a Hugging Face dataset", huggingface.EXPECTED, huggingface.is_huggingface,
           huggingface.read_huggingface, "all columns, features and splits"))}
WEAK = ("imagefolder", "webdataset", "huggingface")  # folders of another layout may look like these, too
FILES = {".tar": "webdataset", **dict.fromkeys(COMPRESSED, "webdataset"), ".parquet": "huggingface"}


def recognized(tree: Tree) -> list[str]:
    """Returns the names of the layouts that a folder may have; none if it is just a folder."""
    named = [name for name, layout in LAYOUTS.items() if layout.recognize and layout.recognize(tree)]
    return [name for name in named if name not in WEAK] or named


def choose_layout(tree: Tree, layout: str = "auto") -> Layout:
    """Returns the layout asked for, or the one that is recognized.

    Raises:
        UsageError: there is none of that name, it needs a folder and gets a file, or the folder may have two layouts.
    """
    if layout not in ("auto", *LAYOUTS):
        raise UsageError(f"there is no layout {layout!r}", f"layouts: auto, {', '.join(LAYOUTS)}")
    if not tree.root.is_dir():
        single = next((LAYOUTS[name] for end, name in FILES.items() if tree.root.name.lower().endswith(end)), None)
        if single and layout in ("auto", single.name):
            return single
        if layout in ("auto", "folder"):
            return LAYOUTS["folder"]
        raise UsageError(f"{printable(str(tree.root))} is no folder: {layout} needs one", "leave --layout out")
    if layout != "auto":
        return LAYOUTS[layout]
    found = recognized(tree)
    if len(found) > 1:
        raise UsageError(f"{printable(str(tree.root))} looks like {' and like '.join(found)}",
                         f"say which: --layout {found[0]}")
    return LAYOUTS[found[0] if found else "folder"]


def open_dataset(src: Path, layout: str = "auto", subset: str | None = None) -> Dataset:
    """Opens a dataset: reads its photographs' names, labels and splits, and no pixels.

    Args:
        src: the folder, or one photo.
        layout: a name in `LAYOUTS`, or "auto".
        subset: splits, as in "train+val"; None for all photos.

    Raises:
        UsageError: the folder does not have the layout, a table is wrong (the message names file and line), or the
            subset has no photos.
    """
    tree = Tree(src)
    chosen = choose_layout(tree, layout)
    dataset = chosen.read(tree)
    if tree.problems:
        others = plural(len(tree.problems) - 1, "more problem")
        more = f"; {others}" if len(tree.problems) > 1 else ""
        raise UsageError(f"{printable(str(src))}, read as {chosen.title}: {tree.problems[0]}{more}",
                         f"run: mien datasets check {printable(str(src))}; or take it as it is: --layout folder")
    if subset is not None:
        dataset.choose(subset)
    return dataset

"""Draws datasets in the official layouts, and in those that people really have.

Their photographs show square people, see fake_run.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from helpers.fake_run import ANNA, BERT, CLEO, save, squares
from mien.datasets.dataset import Dataset

NAMES = [f"Attribute_{i}" for i in range(40)]
FACES = (ANNA, BERT, CLEO)


def draw(path: Path, number: int, person: tuple[int, int] | None = None) -> Path:
    """A photo of one square person, PNG whatever its name says, so that the square stays what it is."""
    return save(path, squares(person or FACES[number % 3], seed=number), format="PNG")


def signs(number: int) -> list[int]:
    return [1 if (number * 7 + i * i) % 3 else -1 for i in range(40)]


def attribute_text(names: Sequence[str], end: str = "\n") -> str:
    rows = [f"{name}  " + " ".join(f"{sign:2d}" for sign in signs(i)) for i, name in enumerate(names)]
    return end.join([str(len(names)), " ".join(NAMES) + " ", *rows, ""])


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def celebahq(root: Path, indices: Sequence[int] = (0, 3, 7, 12, 29999), tables: str = "annotations",
             photos: str = "data", suffix: str = "jpg", identities: bool = True, others: int = 0) -> Path:
    """Draws CelebA-HQ; `others` adds rows of photos that do not exist."""
    for index in indices:
        draw(root / photos / f"{index}.{suffix}", index)
    indexed = [*indices, *range(1000, 1000 + others)]
    originals = {index: f"{100000 + index:06d}.jpg" for index in indexed}
    rows = [f"{index:<8}{100000 + index - 1:<14}{name}" for index, name in originals.items()]
    write(root / tables / "CelebA-HQ-to-CelebA-mapping.txt", "\n".join(["idx     orig_idx      orig_file", *rows, ""]))
    write(root / tables / "CelebAMask-HQ-attribute-anno.txt", attribute_text([f"{index}.jpg" for index in indexed]))
    write(root / tables / "list_eval_partition.txt",
          "".join(f"{name} {i % 3}\n" for i, name in enumerate(originals.values())))
    if identities:
        write(root / tables / "identity_CelebA.txt",
              "".join(f"{name} {40 + i % 2}\n" for i, name in enumerate(originals.values())))
    return root


def celeba(root: Path, count: int = 6, kind: str = "flat", end: str = "\n", suffix: str = "jpg") -> Path:
    """Draws CelebA: "flat" or "annotations" as people have it, "official" as its authors have it, or "kaggle" (CSV)."""
    names = [f"{i:06d}.jpg" for i in range(1, count + 1)]
    photos, tables, splits = {
        "flat": ("img_align_celeba", "", ""), "annotations": ("img_align_celeba", "annotations", "annotations"),
        "official": ("Img/img_align_celeba", "Anno", "Eval"),
        "kaggle": ("img_align_celeba/img_align_celeba", "", "")}[kind]
    for i, name in enumerate(names):
        draw(root / photos / name.replace("jpg", suffix), i)
    if kind == "kaggle":
        return _kaggle_tables(root, names)
    boxes = "".join(f"{name}    95   71  226  {300 + i}{end}" for i, name in enumerate(names))
    points = "".join(f"{name} {' '.join(f'{i + j:4d}' for j in range(10))}{end}" for i, name in enumerate(names))
    ends = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y "
    write(root / tables / "list_attr_celeba.txt", attribute_text(names, end))
    people = "".join(f"{name} {2880 + i // 2}{end}" for i, name in enumerate(names))
    write(root / tables / "identity_CelebA.txt", people)
    write(root / splits / "list_eval_partition.txt", "".join(f"{name} {i % 3}{end}" for i, name in enumerate(names)))
    write(root / tables / "list_bbox_celeba.txt", f"{count}{end}image_id x_1 y_1 width height{end}{boxes}")
    write(root / tables / "list_landmarks_align_celeba.txt", f"{count}{end}{ends}{end}{points}")
    return root


def _kaggle_tables(root: Path, names: Sequence[str]) -> Path:
    rows = [",".join([name, *map(str, signs(i))]) for i, name in enumerate(names)]
    write(root / "list_attr_celeba.csv", "\n".join([",".join(["image_id", *NAMES]), *rows, ""]))
    write(root / "list_eval_partition.csv",
          "image_id,partition\n" + "".join(f"{name},{i % 3}\n" for i, name in enumerate(names)))
    boxes = "".join(f"{name},95,71,226,313\n" for name in names)
    write(root / "list_bbox_celeba.csv", f"image_id,x_1,y_1,width,height\n{boxes}")
    write(root / "list_landmarks_align_celeba.csv", "image_id," + ",".join(f"p{i}" for i in range(10)) + "\n"
          + "".join(f"{name},{','.join('5' * 10)}\n" for name in names))
    return root


CROWD = {"Anna_Ek": 3, "Bo_Li": 2, "Cleo_Ma": 1, "Dan_O'Neil": 2}


def lfw(root: Path, photos: str = "data", tables: str = "annotations", lists: bool = True) -> Path:
    """Draws LFW with its lists: two people in the development set for training, two in that for the test."""
    for person, count in CROWD.items():
        for number in range(1, count + 1):
            draw(root / photos / person / f"{person}_{number:04d}.jpg", number, FACES[len(person) % 3])
    if not lists:
        return root
    rows = {person: f"{person}\t{count}\n" for person, count in CROWD.items()}
    anna, bo, cleo, dan = CROWD
    folder = root / tables
    write(folder / "lfw-names.txt", "".join(rows.values()))
    write(folder / "people.txt", f"2\n2\n{rows[anna]}{rows[bo]}2\n{rows[cleo]}{rows[dan]}")
    write(folder / "peopleDevTrain.txt", f"2\n{rows[anna]}{rows[bo]}")
    write(folder / "peopleDevTest.txt", f"2\n{rows[cleo]}{rows[dan]}")
    write(folder / "pairs.txt", f"2\t2\n{anna}\t1\t2\n{anna}\t2\t3\n{anna}\t1\t{bo}\t1\n{anna}\t3\t{bo}\t2\n"
          f"{dan}\t1\t2\n{dan}\t2\t1\n{cleo}\t1\t{dan}\t1\n{cleo}\t1\t{dan}\t2\n")
    write(folder / "pairsDevTrain.txt", f"1\n{anna}\t1\t3\n{anna}\t2\t{bo}\t2\n")
    write(folder / "pairsDevTest.txt", f"1\n{dan}\t1\t2\n{cleo}\t1\t{dan}\t1\n")
    scores = [f"{person.replace('_', ' ')}\t{number}\t1.5\t-0.{number}\n" for person, count in CROWD.items()
              for number in range(1, count + 1)]
    write(folder / "lfw_attributes.txt", "#\tlfw_attributes\n#\tperson\timagenum\tMale\tAsian\n" + "".join(scores))
    return root


def image_folder(root: Path, splits: Sequence[str] = ("train", "val", "test")) -> Path:
    for i, split in enumerate(splits or ("",)):
        for j, name in enumerate(("cats", "old people")):
            for number in range(2):
                draw(root / split / name / f"{number}.png", i + j + number)
    return root


def known(dataset: Dataset) -> tuple[object, ...]:
    """All that a dataset knows of its photos."""
    attributes = {name: row.tolist() for name, row in dataset.attributes.items()}
    return (dataset.layout, dataset.photos, dataset.splits, dataset.people, dataset.classes, dataset.attribute_names,
            attributes)

"""Scanning finds every photograph once, in one order, whatever people keep in their folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.datasets.scan import Tally, scan
from mien.errors import UsageError


def plant(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_photos_are_found_in_order_and_the_rest_is_counted(tmp_path: Path) -> None:
    plant(tmp_path, "b.JPG", "a/2.png", "a/10.webp", "a/b/c.tiff", "B.gif", "shot.HEIC", "raw.nef")
    plant(tmp_path, "labels.csv", "a/readme", ".hidden.jpg", ".git/x.jpg", "movie.mp4")
    tally = Tally()
    assert list(scan(tmp_path, tally)) == ["B.gif", "a/10.webp", "a/2.png", "a/b/c.tiff", "b.JPG"]
    assert tally.passed_over == 5
    assert [(item.file, item.reason) for item in tally.skipped] == [
        ("raw.nef", "not a photograph that can be read: .nef"),
        ("shot.HEIC", "not a photograph that can be read: .heic"),
    ]


def test_a_folder_named_like_a_photo_is_entered(tmp_path: Path) -> None:
    plant(tmp_path, "x.jpg/y.jpg")
    assert list(scan(tmp_path)) == ["x.jpg/y.jpg"]


def test_any_name(tmp_path: Path) -> None:
    names = [
        "a b.jpg",
        "line\nbreak.jpg",
        "ünï.jpg",
        os.fsdecode(b"\xff\xfe.jpg"),
        "…/日本.png",
        "back\\slash.jpg",
    ]
    plant(tmp_path, *names)
    found = list(scan(tmp_path))
    assert sorted(found, key=os.fsencode) == sorted(names, key=os.fsencode)
    assert all((tmp_path / name).is_file() for name in found)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.sets(
        st.lists(
            st.text("ab .é\n", min_size=1, max_size=4).filter(lambda s: not s.startswith(".")), max_size=3
        ).map(lambda folders: "/".join([*folders, "f.jpg"])),
        max_size=8,
    )
)
def test_every_photo_exactly_once(names: set[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("tree")
    plant(root, *names)
    found = list(scan(root))
    assert set(found) == names and len(found) == len(names) and found == list(scan(root))


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    plant(tmp_path, "src/a.jpg", "outside.jpg")
    (tmp_path / "src/inside.jpg").symlink_to("a.jpg")
    (tmp_path / "src/outer.jpg").symlink_to("../outside.jpg")
    (tmp_path / "src/broken.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "src/circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "src/round").symlink_to("round")
    tally = Tally()
    names = list(scan(tmp_path / "src", tally))
    assert [item.file for item in tally.skipped] == ["round"] and "cannot be followed" in tally.skipped[
        0
    ].reason
    assert names == ["a.jpg", "broken.jpg", "circle.jpg", "inside.jpg", "outer.jpg"]


def test_loops_and_repeated_folders_are_entered_once_under_their_real_name(tmp_path: Path) -> None:
    plant(tmp_path, "src/z/photo.jpg", "src/z/deep/photo.jpg", "outside/photo.jpg")
    src = tmp_path / "src"
    (src / "a").symlink_to("z")  # comes before the real one
    (src / "z/up").symlink_to("..")
    (src / "z/deep/self").symlink_to(".")
    (src / "out").symlink_to("../outside")
    (src / "out2").symlink_to("../outside")
    tally = Tally()
    assert list(scan(src, tally)) == ["z/deep/photo.jpg", "z/photo.jpg", "out/photo.jpg"]
    assert {item.file: item.reason for item in tally.skipped} == {
        "a": "leads to the folder 'z', which is read already",
        "out2": "leads to the folder 'out', which is read already",
        "z/deep/self": "leads to the folder 'z/deep', which is read already",
        "z/up": "leads to the whole source folder, which is read already",
    }


def test_very_deep_folders(tmp_path: Path) -> None:
    deep = "/".join(["d"] * 1200)
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1200):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("photo.jpg", os.O_CREAT, dir_fd=here))
    finally:
        os.close(here)
    try:
        assert list(scan(tmp_path)) == [deep + "/photo.jpg"]
    finally:  # too deep for the recursion by which pytest tidies up
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_a_single_file(tmp_path: Path) -> None:
    plant(tmp_path, "photo.jpg", "odd.name", ".hidden.jpg")
    assert list(scan(tmp_path / "photo.jpg")) == ["photo.jpg"]
    assert list(scan(tmp_path / "odd.name")) == ["odd.name"]
    assert list(scan(tmp_path / ".hidden.jpg")) == [".hidden.jpg"]


def test_a_hidden_or_linked_source_folder_is_entered(tmp_path: Path) -> None:
    plant(tmp_path, ".cache/a.jpg")
    (tmp_path / "link").symlink_to(".cache")
    assert list(scan(tmp_path / ".cache")) == ["a.jpg"] == list(scan(tmp_path / "link"))


def test_an_empty_folder(tmp_path: Path) -> None:
    assert list(scan(tmp_path)) == []


@pytest.mark.parametrize("name", ["absent", "nul\0", "file/below", os.fsdecode(b"\xff")])
def test_a_source_that_is_not_there_stops_at_once(name: str, tmp_path: Path) -> None:
    plant(tmp_path, "file")
    with pytest.raises(UsageError) as caught:
        scan(tmp_path / name)  # before the first name is drawn
    caught.value.message.encode("utf-8")


def test_pipes_are_left_to_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert list(scan(tmp_path)) == ["pipe.jpg"]


def test_a_closed_folder_is_skipped_and_a_closed_source_refused(tmp_path: Path) -> None:
    """In a process of an ordinary user, since root may enter any folder."""
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom mien.datasets.scan import Tally, scan\n"
        "from mien.errors import UsageError\n"
        "os.chdir('/')\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "src, tally = Path(sys.argv[1]), Tally()\n"
        "print(list(scan(src, tally)), [(s.file, s.reason) for s in tally.skipped])\n"
        "try: scan(src / 'closed')\n"
        "except UsageError as error: print(error.message)\n"
    )
    plant(tmp_path, "closed/a.jpg", "open/b.jpg")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (tmp_path / "closed").chmod(0)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
        )
    finally:
        (tmp_path / "closed").chmod(0o755)
    first, second = done.stdout.splitlines()
    assert first == "['open/b.jpg'] [('closed', 'the folder cannot be read: Permission denied')]"
    assert second.endswith("closed: Permission denied")

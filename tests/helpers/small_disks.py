"""Disks that are full and users who are not root: what a run meets on other people's machines."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

from helpers.fake_run import call

# A shell script that mounts a small disk, fills it but for "$2" kB less, runs a command, makes room, and runs it again.
FULL = """
mount -t tmpfs -o size=4m mien "$1" || exit 77
dd if=/dev/zero of="$1/ballast" bs=1024 count="$2" 2>/dev/null
shift 2
"$@"; first=$?
rm "$BALLAST"
"$@"; second=$?
cp -a "$DISK/." "$COPY"
echo "$first $second"
"""


def give_up_root() -> None:
    """Takes from root what lets it read and write everything, for the program that is started next."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def ordinary_call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the program as a user who is not root."""
    return call(*arguments, preexec_fn=give_up_root)

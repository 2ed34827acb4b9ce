"""Defines what errors about a weights file tell the user to do."""

from __future__ import annotations

FETCH = "fetch the weights again: mien models fetch"
IMPORT = "run: mien models import FILE"
REINSTALL = "install mien again: its own networks come with it"

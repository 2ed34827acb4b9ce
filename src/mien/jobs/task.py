"""A task is one thing to do to one shard; an executor does tasks, in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

ShardProgressFn = Callable[[int, int], None]  # photos and faces of a shard done so far


@dataclass(frozen=True)
class Task:
    """Something to do to a shard: its number and its photos."""

    what: Literal["index", "anonymize"]
    shard: int
    names: tuple[str, ...]


class Executor(Protocol):
    """Does tasks, in any order.

    Attributes:
        workers: how many tasks are done at once.
    """

    workers: int

    def run(self, tasks: Iterable[Task], tell: ShardProgressFn) -> Iterator[Task]:
        """Does all tasks and yields each one as soon as its files are there.

        Args:
            tasks: are drawn one by one, as there is room for them.
            tell: is called with the photos and faces done so far of the task at hand, by executors that do one task at
                a time.

        Raises:
            MienError: a task could not be done; the others are given up.
        """

    def close(self) -> None:
        """Ends the workers, whatever they are doing."""

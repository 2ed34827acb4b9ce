"""Decides which pool face every face of a job starts from, once for all faces; what was decided before stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from mien.anonymizer.pairing import AvailableFaces
from mien.anonymizer.pool import Pool
from mien.errors import UsageError
from mien.jobs.assignment.assign import assign_people, assign_shards
from mien.jobs.assignment.assignment import Assignment, ShardAssignment
from mien.jobs.assignment.indexer import Indexer
from mien.jobs.assignment.recovery import fill, what_is_left
from mien.jobs.face_index import FaceIndex
from mien.jobs.request import Request
from mien.types import Match
from mien.util.files import write_errors


class Assigner:
    """Makes the assignment of a job: WORK/assignment.safetensors.

    Args:
        near: cosine from which on two faces are one person's.
        label: photo -> the name of the person with its largest face, or "".
    """

    def __init__(self, request: Request, pool: Pool, indexer: Indexer, near: float,
                 label: Callable[[str], str]) -> None:
        self.request, self.recipe, self.pool = request, request.recipe, pool
        self.indexer, self.state = indexer, indexer.state
        self.near, self.label = near, label
        self.people = self.recipe.identity == "per-person"
        self._digests: dict[int, int] = {}

    def shards_to_index(self, mine: Iterable[int], todo: Sequence[int], alone: bool) -> list[int]:
        """The shards of this process whose faces the assignment asks for.

        Args:
            mine: shards of this process. todo: those of them that have to be done.
            alone: whether these are all shards of the job; a rank does not know what others have to do.
        """
        before = Assignment.from_file(self.state.assignment)
        kept = {index for index in mine if before is not None and before.knows(index, self._digest(index))}
        if alone and set(todo) <= kept:
            return list(todo)
        wanted = self._wanted(kept, set(mine))
        return [*wanted, *sorted(set(todo) - set(wanted))]

    def assign(self, todo: Sequence[int]) -> None:
        """Assigns pool faces to all faces of the shards to be done that have none yet.

        Raises:
            UsageError: a shard is not indexed, and may not be in this pass.
            OutputError: WORK cannot be written, or what finished shards have cannot be known any more.
        """
        every = set(range(len(self.indexer.shards)))
        before = Assignment.from_file(self.state.assignment) or self._recovered(sorted(every - set(todo)))
        kept = {index for index in every if before is not None and before.knows(index, self._digest(index))}
        self.indexer.build(todo)
        kept = self._fitting(before, kept, todo)
        if not set(todo) <= kept:
            self.indexer.build(self._wanted(kept, every))
            kept = self._fitting(before, kept, todo)
            self._decide(before, sorted(kept), self._wanted(kept, every))

    def _fitting(self, before: Assignment | None, kept: set[int], todo: Sequence[int]) -> set[int]:
        """The shards of `kept` whose assignment fits their index, as it was built now or is to be used."""
        return {index for index in kept if index not in {*todo, *self.indexer.built}
                or (before is not None and before.fits(index, self.indexer.index(index)))}

    def check(self, todo: Sequence[int]) -> None:
        """Refuses to go on where shards to be done have no pool faces.

        Raises:
            UsageError: an earlier pass is missing.
        """
        found = Assignment.from_file(self.state.assignment)
        self.indexer.build(index for index in todo if not self.indexer.is_there(index))  # which refuses, if any
        lacking = [index for index in todo
                   if found is None or not found.fits(index, self.indexer.refreshed(index))]
        if lacking:
            photos = sum(len(self.indexer.shards[index]) for index in lacking)
            raise UsageError(f"the faces of {photos} photographs have no pool faces yet",
                             "run the same command with --pass assign first, in one process")

    def _digest(self, index: int) -> int:
        if index not in self._digests:
            self._digests[index] = self.indexer.digest(index)
        return self._digests[index]

    def _wanted(self, kept: set[int], every: set[int]) -> list[int]:
        """The shards whose faces are asked for; people are compared with those of assigned shards, which come first."""
        return [*(sorted(kept) if self.people else ()), *sorted(every - kept)]

    def _decide(self, before: Assignment | None, kept: list[int], wanted: list[int]) -> None:
        """Assigns pool faces to the faces of `wanted`, see `_wanted`; the faces of `kept` keep theirs from `before`."""
        def indexes() -> Iterator[FaceIndex]:
            for index in wanted:
                found = self.indexer.index(index)
                self._digests[index] = found.digest
                yield found

        known = {index: before.of_shard(index) for index in kept} if before and self.people else {}
        if self.people:
            matches = dict(pair for some, who in known.values() for pair in zip(who, some, strict=True))
            all_found = self._assign_people(indexes(), matches, [who for _, who in known.values()])
            assigned: Iterator[ShardAssignment] = iter(all_found[len(kept):])
        else:
            free = AvailableFaces(len(self.pool), (match.index for index in kept for match in before.of_shard(index)[0])
                                  if before else ())
            assigned = assign_shards(self.pool, self.recipe, indexes(), free, self.state.secret(self.recipe.seed))
        stays = set(kept)

        def rows() -> Iterator[tuple[int, list[Match], list[str]]]:
            for index in range(len(self.indexer.shards)):
                some, who = before.of_shard(index) if before and index in stays else next(assigned)
                yield self._digest(index), some, who  # of the index as it was read for this

        with write_errors(self.request.work):
            Assignment.of(rows()).write(self.state.assignment)

    def _assign_people(self, indexes: Iterable[FaceIndex], known: dict[str, Match],
                       before: list[list[str]]) -> list[ShardAssignment]:
        return assign_people(self.pool, self.recipe, indexes, known, self.request.key or b"", self.near, self.label,
                             before)

    def _recovered(self, done: list[int]) -> Assignment | None:
        """Makes the assignment of finished shards again from their results, where its own file is gone or damaged."""
        if not done:
            return None
        self.indexer.build(done)
        leftovers = [what_is_left(self.indexer.index(index), self.state.finished(index),
                                  self.state.path("latents", index)) for index in done]
        indexes = map(self.indexer.index, done)
        if self.people:
            known = {person: match for left in leftovers for person, match in left.known.items()}
            found: Iterable[ShardAssignment] = self._assign_people(indexes, known, [left.people for left in leftovers])
        else:
            found = fill(self.pool, self.recipe, indexes, leftovers, self.state.secret(self.recipe.seed))
        rows: list[tuple[int, list[Match], list[str]]] = [(-1, [], [])] * len(self.indexer.shards)
        for index, assigned in zip(done, found, strict=True):
            rows[index] = (self.indexer.index(index).digest, *assigned)
        return Assignment.of(rows)

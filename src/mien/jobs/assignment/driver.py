"""Decides which pool face every face of a run starts from, once for all; what was decided before stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from mien.anonymizer.pairing import AvailableFaces
from mien.anonymizer.pool import Pool
from mien.errors import OutputError
from mien.jobs.assignment.assign import Assignment, ShardAssignment, match_people, match_shards
from mien.jobs.assignment.face_index import FaceIndex
from mien.jobs.assignment.indexer import Indexer
from mien.jobs.assignment.recovery import fill, what_is_left
from mien.jobs.executors.ranks import POLL
from mien.jobs.request import Request
from mien.types import Match
from mien.util.files import stamp, write_errors


class Assigner:
    """The matching of a run. Of several ranks the first decides, and the others wait until it has.

    Args:
        near: cosine from which on two faces are one person's. label: photo -> who its largest face is, or "".
        patience: seconds that a first rank is waited for which has not come yet.
    """

    def __init__(self, request: Request, pool: Pool, surveyor: Indexer, near: float, label: Callable[[str], str],
                 patience: float) -> None:
        self.request, self.recipe, self.pool = request, request.recipe, pool
        self.surveyor, self.store, self.peers = surveyor, surveyor.store, surveyor.peers
        self.near, self.label, self.patience = near, label, patience
        self.people = self.recipe.identity == "per-person"

    def match(self, todo: Sequence[int]) -> None:
        """Have all faces of the shards to be done matched.

        Raises:
            OutputError: WORK cannot be written, or what finished shards have cannot be known any more.
        """
        old, every = stamp(self.store.matching), set(range(len(self.surveyor.shards)))
        before = Assignment.from_file(self.store.matching)
        if before is None and self.peers.rank == 0:
            before = self._recovered(sorted(every - set(todo)))
        digests = [self.surveyor.digest(index) for index in sorted(every)]
        kept = {index for index, digest in enumerate(digests) if before is not None and before.knows(index, digest)}
        decided = set(todo) <= kept
        wanted = list(todo) if decided else self._wanted(kept, every)
        looked_at = {*wanted, *todo}
        new = self.surveyor.look([*wanted, *sorted(looked_at - set(wanted))])
        self.store.say(past=["survey"])
        if self.peers.rank != 0:
            # What was decided in an earlier call does not do, where other ranks' faces are to be matched now.
            mine = [shard for shard in todo if self.peers.whose(shard) == self.peers.rank]
            self._wait(mine, [-1] if decided or not mine else old)
            return
        kept -= {index for index in kept & new if not (before and before.fits(index, self.surveyor.survey(index)))}
        if not set(todo) <= kept:
            wanted = self._wanted(kept, every)
            self.surveyor.look([index for index in wanted if index not in looked_at])
            self._decide(before, sorted(kept), wanted, digests)
        self.store.say(past=["survey", "matching"])

    def _wanted(self, kept: set[int], every: set[int]) -> list[int]:
        """The shards whose faces are asked for, those that were matched before first: people's are compared."""
        return [*(sorted(kept) if self.people else ()), *sorted(every - kept)]

    def _decide(self, before: Assignment | None, kept: list[int], wanted: list[int], digests: list[int]) -> None:
        """Match the faces of `wanted`, see `_wanted`; those of `kept` keep what `before` says of them."""
        def surveys() -> Iterator[FaceIndex]:
            for index in wanted:
                survey = self.surveyor.survey(index)
                digests[index] = survey.digest
                yield survey

        known = {index: before.of_shard(index) for index in kept} if before and self.people else {}
        if self.people:
            matches = dict(pair for some, who in known.values() for pair in zip(who, some, strict=True))
            all_found = self._match_people(surveys(), matches, [who for _, who in known.values()])
            found: Iterator[ShardAssignment] = iter(all_found[len(kept):])
        else:
            free = AvailableFaces(len(self.pool), (match.index for index in kept for match in before.of_shard(index)[0])
                                  if before else ())
            found = match_shards(self.pool, self.recipe, surveys(), free)
        stays = set(kept)

        def rows() -> Iterator[tuple[int, list[Match], list[str]]]:
            for index in range(len(digests)):
                some, who = before.of_shard(index) if before and index in stays else next(found)
                yield digests[index], some, who  # as it was read for this

        with write_errors(self.request.work):
            Assignment.of(rows()).write(self.store.matching)

    def _match_people(self, surveys: Iterable[FaceIndex], known: dict[str, Match],
                      before: list[list[str]]) -> list[ShardAssignment]:
        return match_people(self.pool, self.recipe, surveys, known, self.request.key or b"", self.near, self.label,
                            before)

    def _recovered(self, done: list[int]) -> Assignment | None:
        """What finished shards say of their matching, where its own file is not there or damaged."""
        if not done:
            return None
        self.surveyor.look(done)
        lefts = [what_is_left(self.surveyor.survey(index), self.store.finished(index),
                              self.store.path("latents", index)) for index in done]
        surveys = map(self.surveyor.survey, done)
        if self.people:
            known = {person: match for left in lefts for person, match in left.known.items()}
            found: Iterable[ShardAssignment] = self._match_people(surveys, known, [left.people for left in lefts])
        else:
            found = fill(self.pool, self.recipe, surveys, lefts)
        rows: list[tuple[int, list[Match], list[str]]] = [(-1, [], [])] * len(self.surveyor.shards)
        for index, matched in zip(done, found, strict=True):
            rows[index] = (self.surveyor.survey(index).digest, *matched)
        return Assignment.of(rows)

    def _wait(self, mine: list[int], seen: list[int] | None) -> None:
        """Wait until the first rank has matched this rank's shards, in a file that is not in the state `seen`.

        Raises:
            OutputError: it ends before, or leaves some out.
        """
        begun, met, past = time.monotonic(), False, False
        while True:
            now = stamp(self.store.matching)
            if now != seen and self._fit(mine):
                self.surveyor.wait([])
                return
            seen = now
            state = self.peers.state(0, "matching")
            if state == "past it" and past:  # what it said at its end before may still stand there at the first look
                raise OutputError("photographs were changed while the ranks were starting", "start all ranks again")
            if state == "absent" and (met or time.monotonic() - begun > self.patience):
                raise OutputError("rank 0 has not said which pool faces this rank's faces start from",
                                  "start all ranks again, with the same arguments")
            met, past = met or state != "absent", state == "past it"
            self.surveyor.wait([0])
            time.sleep(POLL)

    def _fit(self, mine: list[int]) -> bool:
        matching = Assignment.from_file(self.store.matching) if mine else None
        return all(matching and matching.fits(index, self.surveyor.survey(index)) for index in mine)

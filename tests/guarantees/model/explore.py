"""Visits every state of the claim model, and checks the rules in each state and at each step."""

import gc
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from actions_cache.domain.archive import Archive, ArchiveState, MergeState
from tests.guarantees.model.claim_model import (
    KEYS,
    LIFETIMES,
    NOW,
    PART_KEYS,
    Actor,
    At,
    Bounds,
    State,
    Step,
    initial,
    successors,
)

WORKING = frozenset({At.RUN, At.RENEW, At.COMPLETED, At.PUBLISH})


class RuleBroken(AssertionError):
    """Raised with the shortest way to a state in which a rule is broken."""


@dataclass
class Explored:
    """Holds every state that can be reached from the initial one, by number, and how it was reached first."""

    states: list[State] = field(default_factory=list)
    came_from: list[tuple[int, str] | None] = field(default_factory=list)
    gets_on_from: list[list[int]] = field(default_factory=list)
    """States from which the merge gets on to this one without a mishap."""
    steps: int = 0
    _numbers: dict[State, int] = field(default_factory=dict)

    def number_of(self, state: State, origin: tuple[int, str] | None) -> int:
        """Return the number of a state, which is a new one if the state is."""
        found = self._numbers.get(state)
        if found is None:  # most steps lead where others led before
            named = canonical(state)
            found = self._numbers.setdefault(named, len(self.states))
            self._numbers[state] = found
            if found == len(self.states):
                self.states.append(named)
                self.came_from.append(origin)
                self.gets_on_from.append([])
        return found

    def way_to(self, number: int) -> list[str]:
        way: list[str] = []
        while origin := self.came_from[number]:
            number, what = origin
            way.append(what)
        return way[::-1]

    def stuck(self) -> set[int]:
        """Return the states from which no merged or removed archive can be reached without a mishap."""
        waiting = deque(number for number, state in enumerate(self.states) if is_settled(state))
        unstuck = set(waiting)
        while waiting:
            for origin in self.gets_on_from[waiting.popleft()]:
                if origin not in unstuck:
                    unstuck.add(origin)
                    waiting.append(origin)
        return set(range(len(self.states))) - unstuck


def explore(bounds: Bounds) -> Explored:
    """Visit all states, nearest first.

    Raises:
        RuleBroken: A rule is broken in a state or by a step, or the merge can't get on from a state.
    """
    found = Explored()
    found.number_of(initial(bounds), None)
    # A state is visited while others are added behind it. None is in a circle of references, so nothing is collected.
    gc.disable()
    try:
        for number, state in enumerate(found.states):
            for step in successors(state, bounds):
                _take(found, number, state, step, bounds)
    finally:
        gc.enable()
    for number in found.stuck():
        raise RuleBroken("\n  ".join(["nothing leads on, after:", *found.way_to(number)]))
    return found


def _take(found: Explored, number: int, state: State, step: Step, bounds: Bounds) -> None:
    found.steps += 1
    known = len(found.states)
    after = found.number_of(step.after, (number, step.what))
    broken = [*_broken_by(state, step, bounds)]
    if after == known:
        broken += _broken_in(found.states[after], bounds)
    if broken:
        way = [*found.way_to(number), step.what]
        raise RuleBroken("\n  ".join([f"{'; '.join(broken)}, after:", *way]))
    if not step.is_mishap:
        found.gets_on_from[after].append(number)


def is_settled(state: State) -> bool:
    archive = state.archive
    return archive is None or not archive.is_stored or archive.merge.state is MergeState.MERGED


def _broken_in(state: State, bounds: Bounds) -> Iterator[str]:
    archive = state.archive
    if archive is None:
        return
    at_work = [worker for worker in state.workers if worker.at in WORKING and worker.lease > NOW]
    if archive.is_stored and len(at_work) > 1:
        yield "two runs live"
    missing = _needed(archive) - state.objects
    if missing and bounds.sweeps:
        yield f"a reader may still need {sorted(missing)}"


def _needed(archive: Archive) -> frozenset[str]:
    """Return the keys that readers may have been sent to, for as long as they may read them."""
    if archive.state is ArchiveState.DELETED and archive.deleted_at + LIFETIMES.grace <= NOW:
        return frozenset()
    if archive.object is None:
        return PART_KEYS
    reads_parts = archive.merge.ended_at + LIFETIMES.grace > NOW
    return frozenset({archive.object.key}) | (PART_KEYS if reads_parts else frozenset())


def _broken_by(state: State, step: Step, bounds: Bounds) -> Iterator[str]:
    before, after = state.archive, step.after.archive
    if before is None or after is None:
        return
    if before.state is ArchiveState.DELETED and after.state is not ArchiveState.DELETED:
        yield "a removed archive came back"
    if before.merge.state is MergeState.MERGED and (after.merge.state, after.object) != (
        MergeState.MERGED,
        before.object,
    ):
        yield "a merged archive was merged no longer, or otherwise"
    if after.merge.attempts > bounds.max_attempts:
        yield f"attempt {after.merge.attempts} was made"
    published = after.object if before.object is None else None
    if published and (not before.is_stored or published.etag != before.merge.run_token):
        yield f"{published.etag} was published, but the current run was {before.merge.run_token}"


# ------------------------------------------------------------------ names of runs

DEAD, PUBLISHED, LOST = "dead run", "published run", "lost run"


class _Rank(NamedTuple):
    """Tells workers apart by what they do, whatever their names."""

    at: str
    token: str
    lease: int
    is_current: bool
    has_read: bool


def canonical(state: State) -> State:
    """Return the one of all states that differ only in the names of dead and finished runs.

    Workers come in one order, and runs are named after them. The current run of a worker that crashed is `dead`, the
    one whose object is the archive's is `published`, and any other is `lost`: only its object is left, if it made one,
    and no run publishes it.
    """
    archive = state.archive
    if archive is None:
        return state
    current = archive.merge.run_token

    def rank(worker: Actor) -> _Rank:
        is_current = worker.run != "" and worker.run == current
        return _Rank(worker.at, worker.token, worker.lease, is_current, worker.updated is not None)

    workers = tuple(sorted(state.workers, key=rank)) if len(state.workers) > 1 else state.workers
    new_names = {worker.run: f"run {i}" for i, worker in enumerate(workers) if worker.run}
    published = archive.object.key if archive.object else ""

    def name(run: str) -> str:
        if run in new_names:
            return new_names[run]
        if KEYS.merged(run) == published:
            return PUBLISHED
        return DEAD if run == current else LOST

    def key(old: str) -> str:
        prefix = KEYS.merged("")
        return KEYS.merged(name(old.removeprefix(prefix))) if old.startswith(prefix) else old

    def renamed_archive(old: Archive) -> Archive:
        if old.merge.run_token is None and old.object is None:
            return old
        merge = replace(old.merge, run_token=old.merge.run_token and name(old.merge.run_token))
        held = old.object and replace(old.object, key=key(old.object.key), etag=name(old.object.etag))
        return replace(old, merge=merge, object=held)

    def renamed(actor: Actor) -> Actor:
        if not (actor.updated or actor.run or actor.keys):
            return actor
        updated = actor.updated and renamed_archive(actor.updated)
        return actor._replace(updated=updated, run=actor.run and name(actor.run), keys=frozenset(map(key, actor.keys)))

    return state._replace(
        archive=renamed_archive(archive),
        objects=frozenset(map(key, state.objects)),
        workers=tuple(map(renamed, workers)),
        claimers=tuple(map(renamed, state.claimers)),
        cleaner=renamed(state.cleaner),
    )

"""Visits every state of the claim model, and holds the rules against each state and each step."""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from actions_cache.domain.archive import Archive, ArchiveState, MergeState
from tests.guarantees.model.ages import NOW
from tests.guarantees.model.claim_model import LIFETIMES, PART_KEYS, At, Bounds, State, Step, initial, successors
from tests.guarantees.model.names import canonical

WORKING = frozenset({At.RUN, At.RENEW, At.COMPLETED, At.PUBLISH})


class RuleBroken(AssertionError):
    """With the shortest way there."""


@dataclass
class Explored:
    """Every state that can be reached from the initial one, and how it was reached first."""

    came_from: dict[State, tuple[State, str] | None] = field(default_factory=dict)
    gets_on_from: dict[State, list[State]] = field(default_factory=lambda: defaultdict(list))
    """From which states the merge gets on to this one without a mishap."""
    steps: int = 0

    def way_to(self, state: State) -> list[str]:
        way: list[str] = []
        while origin := self.came_from[state]:
            state, what = origin
            way.append(what)
        return way[::-1]

    def stuck(self) -> set[State]:
        """From where neither a merged archive nor a removed one can be reached without a mishap."""
        waiting = deque(state for state in self.came_from if is_settled(state))
        unstuck = set(waiting)
        while waiting:
            for origin in self.gets_on_from[waiting.popleft()]:
                if origin not in unstuck:
                    unstuck.add(origin)
                    waiting.append(origin)
        return set(self.came_from) - unstuck


def explore(bounds: Bounds) -> Explored:
    """All of them, nearest first.

    Raises: RuleBroken: in a state, by a step, or since from a state the merge can't get on.
    """
    named = cache(canonical)  # most steps lead where others led before
    start = named(initial(bounds))
    found = Explored({start: None})
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        for step in successors(state, bounds):
            found.steps += 1
            after = named(step.after)
            broken = [*_broken_by(state, step, bounds)]
            if after not in found.came_from:
                found.came_from[after] = (state, step.what)
                waiting.append(after)
                broken += _broken_in(after, bounds)
            if broken:
                way = [*found.way_to(state), step.what]
                raise RuleBroken("\n  ".join([f"{'; '.join(broken)}, after:", *way]))
            if not step.is_mishap:
                found.gets_on_from[after].append(state)
    for state in found.stuck():
        raise RuleBroken("\n  ".join(["nothing leads on, after:", *found.way_to(state)]))
    return found


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
    """No reader is cut off: what a reader may have been sent to, and for how long."""
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


def most_attempts(bounds: Bounds) -> int:
    """A claim is made after fewer than `max_attempts`; its message is then delivered once more than that."""
    return 2 * bounds.max_attempts

"""The claim protocol as a model that is explored completely: every state, whatever happens in whatever order.

This is the specification of the merge's claim, for a single merge, no reader cut off and nothing stuck. It has no rules
of its own: what may be claimed, started, renewed, published, failed, given up and swept is asked of the very functions
that the product runs, domain/claim.py and domain/cleanup_schedule.py, so that model and product can't drift apart. The
model is of what surrounds them, for one archive of several parts that is already saved:

    actor      its steps, between any two of which other actors may act, and time may pass
    ---------  ----------------------------------------------------------------------------------------------
    claimer    decides to claim | writes | sends (or can't, or doesn't know) | notes it as sent, or releases the claim
    worker     gets a message and decides to start | writes | works, decides to renew | writes, or fails |
               has completed the object | decides to publish | writes, and deletes the message, or not
    cleaner    gives up, lists the bucket | reads the archive | deletes and notes it
    operator   redrives the current claim's dead letter, whatever the queue still does with its message
    user       removes the entry
    queue      delivers a claim's message more often than it may be tried, as its maxReceiveCount allows; early, late,
               twice or never, while another run of it lives, or long after its claim was replaced; may lose it
    clock      goes on by a minute, or by a day where nothing happens sooner

Everyone but the clock may crash between any two steps. A write succeeds if nobody wrote since the archive was read
for it, and is decided anew otherwise (archives.py). Reading and deciding are one step: a decision on
outdated state can only lose, or give up what it would have given up sooner. So is a whole transition that gives its
writer no right to anything (sent, released, failed, given up): it has an effect only at its write.

To keep the number of states finite without losing a behaviour:

- moments are kept as ages, and no age beyond the last deadline that is derived from it;
- a token that nobody holds any more is called `old`, an object that no run will publish any more `lost`;
- workers are interchangeable.

States are values; `successors` gives what can happen next. tests/guarantees/model/explore.py visits them all and has
the rules.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from enum import StrEnum
from functools import cache, cached_property
from typing import NamedTuple

from actions_cache.domain import claim
from actions_cache.domain.archive import (
    Archive,
    Commit,
    Manifest,
    MergeState,
    Part,
    committed,
    deleted,
    reserved,
    stored,
    swept,
)
from actions_cache.domain.cleanup_schedule import CleanupTask, _sweep_times, kept_keys, needs_parts, next_task
from actions_cache.domain.entry import EntryFamily, EntryName
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.timing import DAY, SEND_TIMEOUT, Lifetimes, Millis

NOW: Millis = 20_000 * DAY
"""The present never changes: the clock goes on by making everything older."""

LONG_AGO: Millis = 1

MINUTE = SEND_TIMEOUT
"""Unit of the model's time. All lifetimes are whole minutes, so nothing can change in between."""

LIFETIMES = Lifetimes(
    upload_url=MINUTE // 2,
    download_url=MINUTE,
    reservation=MINUTE,
    grace=MINUTE,
    unused=dict.fromkeys(EntryClass, 10_000 * DAY),
    merge_lease=MINUTE,
    queue_retention=MINUTE,
)
"""Lifetimes as short as the clock's step. What starts at different minutes still ends at different ones."""

ARCHIVE_ID = "a" * 32
KEYS = ArchiveKeys(ARCHIVE_ID)
PARTS = (Part(f"{KEYS.prefix}parts/1", 1, "1"), Part(f"{KEYS.prefix}parts/2", 1, "2"))
MANIFEST = Part(KEYS.manifest("m"), 1, "m")
PART_KEYS = frozenset({MANIFEST.key, *(part.key for part in PARTS)})


class HashedOnce(Archive):
    """Computes its hash once, since states share archives, and are looked up often."""

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()

    def __hash__(self) -> int:
        return self._hash


class Bounds(NamedTuple):
    """Size of the explored model."""

    workers: int = 2
    claimers: int = 1
    max_attempts: int = 2
    sweeps: bool = False
    """True if objects are followed, and deleted by cleanup."""
    removes: bool = True
    replays: bool = True
    """True if an operator redrives dead letters."""
    compares: bool = True
    """False if the table takes each write, whatever was written since: to see the rules broken."""


class At(StrEnum):
    """State of an actor."""

    IDLE = "idle"
    START = "has decided to start"
    RUN = "works"
    RENEW = "has decided to renew"
    COMPLETED = "has completed the object"
    PUBLISH = "has decided to publish"
    CLAIM = "has decided to claim"
    SEND = "is about to send"
    SENT = "has sent"
    UNSENT = "couldn't send, as far as it knows"
    LISTED = "has listed the bucket"
    SWEEP = "has decided what to delete"


class Actor(NamedTuple):
    """A worker, claimer or cleaner."""

    at: At = At.IDLE
    updated: Archive | None = None
    """State that it is about to write; None if somebody else wrote since it read."""
    token: str = ""
    """Token of the claim: the claimer's own, or the message's."""
    run: str = ""
    lease: Millis = NOW
    """End of the lease that this worker last wrote."""
    keys: frozenset[str] = frozenset()
    """Keys that the cleaner listed, then those that it is about to delete."""


IDLE = Actor()


class Queue(NamedTuple):
    deliveries: int = 0
    """Number of times that the current claim's message may still be delivered."""
    has_old: bool = False
    """True if messages of earlier claims are still in the queue."""


class State(NamedTuple):
    archive: Archive | None
    objects: frozenset[str]
    queue: Queue
    workers: tuple[Actor, ...]
    claimers: tuple[Actor, ...]
    cleaner: Actor


class Step(NamedTuple):
    what: str
    after: State
    is_mishap: bool = False
    """True if the merge must get on without it: crashes, losses, failures, and what users do."""


def initial(bounds: Bounds) -> State:
    """Return an archive that was saved long ago and swept since, and that nobody has claimed yet."""
    archive = reserved(ARCHIVE_ID, EntryName(EntryFamily("1", "main", "v"), "npm"), NOW, LIFETIMES)
    upload = committed(archive, Commit("digest", 2, 2, MANIFEST), None)
    entry = stored(upload, NOW) if upload else None
    assert entry is not None
    values = {part.name: getattr(entry, part.name) for part in fields(entry)}
    entry = older(HashedOnce(**values | {"swept_at": NOW + DAY}), DAY, LIFETIMES)
    return State(entry, PART_KEYS, Queue(), (IDLE,) * bounds.workers, (IDLE,) * bounds.claimers, IDLE)


def successors(state: State, bounds: Bounds) -> Iterator[Step]:
    """Yield everything that can happen next; nothing does once the archive is forgotten."""
    if state.archive is None:
        return
    for i, worker in enumerate(state.workers):
        if worker != IDLE or worker not in state.workers[:i]:
            yield from _worker_steps(state, i, worker, bounds)
    for i, claimer in enumerate(state.claimers):
        if claimer != IDLE or claimer not in state.claimers[:i]:
            yield from _claimer_steps(state, i, claimer, bounds)
    yield from _cleaner_steps(state, state.cleaner, bounds)
    if state.queue.deliveries:
        yield Step("the message is lost", state._replace(queue=state.queue._replace(deliveries=0)), is_mishap=True)
    if bounds.removes and (updated := deleted(state.archive, NOW)):
        yield Step("the entry is removed", _written(state, updated, bounds), is_mishap=True)
    yield Step("a minute passes", older_state(state, MINUTE))
    if state.archive.merge.state is MergeState.FAILED:
        yield Step("a day passes", older_state(state, DAY))


# ------------------------------------------------------------------ the actors


def _worker_steps(state: State, i: int, worker: Actor, bounds: Bounds) -> Iterator[Step]:
    who, archive = f"worker {i}", _archive(state)

    def on(changed: Actor, to: State = state) -> State:
        return to._replace(workers=(*to.workers[:i], changed, *to.workers[i + 1 :]))

    def decides(at: At, on_worker: Actor = worker, to: State = state) -> Iterator[State]:
        updated = {
            At.START: lambda: claim.started(
                archive, on_worker.token, on_worker.run, NOW, LIFETIMES, bounds.max_attempts
            ),
            At.RENEW: lambda: claim.renewed(archive, on_worker.run, NOW, LIFETIMES),
            At.PUBLISH: lambda: claim.published(archive, on_worker.run, _merged(on_worker.run), NOW),
        }[at]()
        if updated:
            yield on(on_worker._replace(at=at, updated=updated), to)
        else:
            yield from ends(on_worker.token, to)

    def writes(then: Actor) -> Iterator[State]:
        """Write, or decide anew if others wrote in between."""
        if worker.updated is None:
            return decides(worker.at)
        after = on(then, _written(state, worker.updated, bounds))
        return ends(worker.token, after) if then == IDLE else iter([after])

    def ends(token: str, to: State) -> Iterator[State]:
        """Yield the states with the message deleted, and with it coming again all the same."""
        yield on(IDLE, to)
        yield on(IDLE, to._replace(queue=_without_message(to.queue, token)))

    def fails() -> State:
        updated = claim.failed(archive, worker.run, NOW, bounds.max_attempts)
        return on(IDLE, _written(state, updated, bounds) if updated else state)

    def steps(what: str, afters: Iterator[State]) -> Iterator[Step]:
        return (Step(f"{who} {what}", after) for after in afters)

    match worker.at:
        case At.IDLE:
            for token, left in _deliverable(state.queue):
                starting = Actor(At.START, token=token, run=f"run {i}")
                yield from steps(f"gets the {token} message", decides(At.START, starting, state._replace(queue=left)))
            return
        case At.START | At.RENEW:
            lease = worker.updated.merge.lease_until if worker.updated else NOW
            yield from steps("writes its lease", writes(worker._replace(at=At.RUN, updated=None, lease=lease)))
        case At.RUN:
            if bounds.sweeps:
                completed = state._replace(objects=state.objects | {KEYS.merged(worker.run)})
                yield Step(f"{who} completes its object", on(worker._replace(at=At.COMPLETED), completed))
            else:
                yield from steps("is about to publish", decides(At.PUBLISH))
            if worker.lease < NOW + LIFETIMES.merge_lease:
                yield from steps("is about to renew", decides(At.RENEW))
            yield Step(f"{who} fails", fails(), is_mishap=True)
        case At.COMPLETED:
            yield from steps("is about to publish", decides(At.PUBLISH))
            yield Step(f"{who} fails", fails(), is_mishap=True)
        case At.PUBLISH:
            yield from steps("publishes", writes(IDLE))
    yield Step(f"{who} crashes", on(IDLE), is_mishap=True)


def _claimer_steps(state: State, i: int, claimer: Actor, bounds: Bounds) -> Iterator[Step]:
    who, archive = f"claimer {i}", _archive(state)

    def on(changed: Actor, to: State = state) -> State:
        return to._replace(claimers=(*to.claimers[:i], changed, *to.claimers[i + 1 :]))

    def writes(updated: Archive | None) -> State:
        return on(IDLE, _written(state, updated, bounds) if updated else state)

    match claimer.at:
        case At.IDLE:
            token = f"of {who}"
            updated = claim.claimed(archive, token, NOW, LIFETIMES, bounds.max_attempts)
            if updated:
                # The schedule claims what is due; before that it takes a Finalize or a download to come by.
                is_due = _due_task(archive) is CleanupTask.RETAKE_CLAIM
                yield Step(f"{who} decides to claim", on(Actor(At.CLAIM, updated, token)), is_mishap=not is_due)
            dead_letter = archive.merge.claim_token
            updated = claim.redriven(archive, dead_letter, token, NOW) if dead_letter and bounds.replays else None
            if updated:
                yield Step(f"{who} decides to replay", on(Actor(At.CLAIM, updated, token)), is_mishap=True)
            return
        case At.CLAIM if claimer.updated is None:
            yield Step(f"{who} was overtaken", on(IDLE))
        case At.CLAIM:
            assert claimer.updated is not None
            after = _claimed(state, claimer.updated, bounds)
            yield Step(f"{who} claims", on(Actor(At.SEND, token="current"), after))
        case At.SEND:
            sent = state._replace(queue=_with_message(state.queue, claimer.token, bounds))
            yield Step(f"{who} sends", on(claimer._replace(at=At.SENT), sent))
            yield Step(f"{who} can't send", on(claimer._replace(at=At.UNSENT)), is_mishap=True)
            yield Step(f"{who} sends without knowing it", on(claimer._replace(at=At.UNSENT), sent), is_mishap=True)
        case At.SENT:
            yield Step(f"{who} notes it as sent", writes(claim.sent(archive, claimer.token, NOW)))
        case At.UNSENT:
            yield Step(f"{who} releases", writes(claim.released(archive, claimer.token)))
    yield Step(f"{who} crashes", on(IDLE), is_mishap=True)


def _cleaner_steps(state: State, cleaner: Actor, bounds: Bounds) -> Iterator[Step]:
    archive = _archive(state)
    match cleaner.at:
        case At.IDLE:
            task = _due_task(archive)
            updated = claim.given_up(archive, NOW, LIFETIMES, bounds.max_attempts)
            if task is CleanupTask.RETAKE_CLAIM and updated:
                yield Step("cleanup gives up", _written(state, updated, bounds))
            if task is CleanupTask.SWEEP and not bounds.sweeps:
                yield Step("cleanup finds nothing to sweep", _written(state, swept(archive, NOW), bounds))
            if task is CleanupTask.SWEEP and bounds.sweeps:
                yield Step("cleanup lists", state._replace(cleaner=Actor(At.LISTED, keys=state.objects)))
            if task is CleanupTask.FORGET and bounds.sweeps:
                yield Step("cleanup forgets", state._replace(archive=None))
            return
        case At.LISTED:
            manifest = Manifest(PARTS) if needs_parts(archive, NOW, LIFETIMES) else None
            doomed = cleaner.keys - kept_keys(archive, manifest, NOW, LIFETIMES)
            decided = Actor(At.SWEEP, swept(archive, NOW), keys=doomed)
            yield Step("cleanup decides what to delete", state._replace(cleaner=decided))
        case At.SWEEP:
            deleting = state._replace(cleaner=IDLE, objects=state.objects - cleaner.keys)
            noting = deleting if cleaner.updated is None else _written(deleting, cleaner.updated, bounds)
            yield Step("cleanup deletes and notes it", noting)
            yield Step("cleanup deletes, and crashes", deleting, is_mishap=True)
    yield Step("cleanup crashes", state._replace(cleaner=IDLE), is_mishap=True)


# ------------------------------------------------------------------ table, queue and clock


def _archive(state: State) -> Archive:
    assert state.archive is not None
    return state.archive


def _merged(run: str) -> Part:
    return Part(KEYS.merged(run), 2, run)


@cache
def _due_task(archive: Archive) -> CleanupTask | None:
    due_at, task = next_task(archive, LIFETIMES, merges_at_finalize=True)
    return task if due_at <= NOW else None


def _deliverable(queue: Queue) -> Iterator[tuple[str, Queue]]:
    """Yield which claim's message may come now, and what is left in the queue then."""
    if queue.deliveries:
        yield "current", queue._replace(deliveries=queue.deliveries - 1)
    if queue.has_old:
        yield "old", queue


def _with_message(queue: Queue, token: str, bounds: Bounds) -> Queue:
    if token == "current":
        # One more stands for any number more: they find nothing left to try.
        return queue._replace(deliveries=bounds.max_attempts + 1)
    return queue._replace(has_old=True)


def _without_message(queue: Queue, token: str) -> Queue:
    return queue._replace(deliveries=0) if token == "current" else queue._replace(has_old=False)


def _written(state: State, updated: Archive, bounds: Bounds) -> State:
    """Return the state after a write; whoever read before it can't write any more."""

    def overtaken(actors: tuple[Actor, ...]) -> tuple[Actor, ...]:
        return tuple(actor._replace(updated=None) if actor.updated else actor for actor in actors)

    after = state._replace(archive=updated)
    if not bounds.compares:
        return after
    [cleaner] = overtaken((state.cleaner,))
    return after._replace(workers=overtaken(state.workers), claimers=overtaken(state.claimers), cleaner=cleaner)


def _claimed(state: State, updated: Archive, bounds: Bounds) -> State:
    """Return the state after a claim is written, which makes the current claim an old one."""

    def aged(actors: tuple[Actor, ...]) -> tuple[Actor, ...]:
        return tuple(actor._replace(token="old") if actor.token == "current" else actor for actor in actors)

    current = replace(updated, merge=replace(updated.merge, claim_token="current"))
    after = _written(state, current, bounds)
    queue = Queue(0, has_old=state.queue.has_old or state.queue.deliveries > 0)
    return after._replace(queue=queue, workers=aged(after.workers), claimers=aged(after.claimers))


def older_state(state: State, passed: Millis) -> State:
    """Return the same state a while later."""

    def aged(actor: Actor) -> Actor:
        if actor == IDLE:
            return actor
        return actor._replace(
            updated=actor.updated and older(actor.updated, passed, LIFETIMES), lease=max(NOW, actor.lease - passed)
        )

    return state._replace(
        archive=state.archive and older(state.archive, passed, LIFETIMES),
        workers=tuple(map(aged, state.workers)),
        claimers=tuple(map(aged, state.claimers)),
        cleaner=aged(state.cleaner),
    )


@cache
def older(archive: Archive, passed: Millis, lifetimes: Lifetimes) -> Archive:
    """Return the archive as it looks `passed` later.

    A moment is never put before the last deadline that the domain derives from it, so no deadline that has passed
    comes back, and none that hasn't is lost. Of sweeps, all that counts is whether one is due.
    """

    def moment(at: Millis, deadline: Millis) -> Millis:
        """0 stands for never, and stays."""
        return at and max(at - passed, NOW - deadline)

    merge = archive.merge
    aged = replace(
        archive,
        reserved_at=moment(archive.reserved_at, 0),
        reservation_expires_at=moment(archive.reservation_expires_at, 0),
        upload_closes_at=moment(archive.upload_closes_at, lifetimes.late_arrival),
        stored_at=moment(archive.stored_at, SEND_TIMEOUT),
        last_used_at=moment(archive.last_used_at, 0),
        deleted_at=moment(archive.deleted_at, lifetimes.grace),
        merge=replace(
            merge,
            claimed_at=moment(merge.claimed_at, SEND_TIMEOUT if merge.sent_at is None else 0),
            sent_at=merge.sent_at and moment(merge.sent_at, lifetimes.queue_retention),
            lease_until=moment(merge.lease_until, 0),
            # A day counts for a failed merge, and is never reached by minutes.
            ended_at=moment(merge.ended_at, DAY if NOW + passed - merge.ended_at >= DAY else lifetimes.grace),
        ),
    )
    owes_sweep = any(archive.swept_at < at <= NOW + passed for at in _sweep_times(archive, lifetimes))
    return replace(aged, swept_at=LONG_AGO if owes_sweep else NOW)

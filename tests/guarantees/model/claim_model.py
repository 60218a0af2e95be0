"""The claim protocol as a model that is explored completely: every state, whatever happens in whatever order.

This is the specification of the merge's claim (single merge; and so no reader is cut off, and nothing gets stuck). It
has no rules of its own: what may be claimed, started, renewed, published, failed, given up and swept is asked of the
very functions that the product runs, domain/claim.py and domain/cleanup_schedule.py, so that model and product can't
drift apart. What is modelled is the world around them.

Of one archive of several parts, already saved:

    who        does, one step after the other; other actors may act, and time may pass, between any two
    ---------  ----------------------------------------------------------------------------------------------
    claimer    decides to claim | writes | sends (or can't, or doesn't know) | notes it as sent, or releases the claim
    worker     gets a message and decides to start | writes | works, decides to renew | writes, or fails |
               has completed the object | decides to publish | writes, and deletes the message, or not
    cleaner    gives up, lists the bucket | reads the archive | deletes and notes it
    operator   replays the current claim's message from the dead-letter queue, whatever the queue still does with it
    user       removes the entry
    queue      delivers a claim's message more often than it may be tried, as its maxReceiveCount allows; early, late,
               twice or never, while another run of it lives, or long after its claim was replaced; may lose it
    clock      goes on by a minute, or by a day where nothing happens sooner

Everyone but the clock may die between any two steps. A write succeeds if nobody wrote since the archive was read
for it, and is decided on anew otherwise (archives.py). Reading and deciding are one step: a decision on
what has changed since can only lose, or give up what it would have given up sooner. So is a whole transition that
gives its writer no right to anything (sent, released, failed, given up): only at its write does it do something.

What is left out, so that there are finitely many states, and why no behaviour is lost by it:

- moments are kept as ages, and no age beyond the last deadline that is reckoned from it;
- a token that is no longer anybody's is called `old`, an object that no run will publish any more `lost`;
- workers are interchangeable.

States are values; `successors` gives what can happen next. tests/guarantees/model/explore.py visits them all and has
the rules.
"""

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from functools import cache
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
from actions_cache.domain.cleanup_schedule import CleanupTask, kept_keys, needs_parts, next_task
from actions_cache.domain.entry import EntryFamily, EntryName
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.timing import DAY, SEND_TIMEOUT, Lifetimes, Millis
from tests.guarantees.model.ages import NOW, older

MINUTE = SEND_TIMEOUT
"""The model's unit of time: all lifetimes are whole minutes, so nothing can change in between."""

LIFETIMES = Lifetimes(
    upload_url=MINUTE // 2,
    download_url=MINUTE,
    reservation=MINUTE,
    grace=MINUTE,
    unused_entry=10_000 * DAY,
    merge_lease=MINUTE,
    queue_retention=MINUTE,
)
"""As short as the clock's step. What starts at different minutes still ends at different ones."""

ARCHIVE_ID = "a" * 32
KEYS = ArchiveKeys(ARCHIVE_ID)
PARTS = (Part(f"{KEYS.prefix}parts/1", 1, "1"), Part(f"{KEYS.prefix}parts/2", 1, "2"))
MANIFEST = Part(KEYS.manifest("m"), 1, "m")
PART_KEYS = frozenset({MANIFEST.key, *(part.key for part in PARTS)})


class Bounds(NamedTuple):
    """How large a world is explored."""

    workers: int = 2
    claimers: int = 1
    max_attempts: int = 2
    sweeps: bool = False
    """True if objects are followed, and deleted by cleanup."""
    removes: bool = True
    replays: bool = True
    """True if an operator replays dead letters."""
    compares: bool = True
    """False: the table takes each write, whatever was written since. To see the rules broken."""


class At(StrEnum):
    """Where an actor stands."""

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
    by: Archive | None = None
    """What it is about to write; None when somebody else wrote since it read."""
    token: str = ""
    """Of the claim: the claimer's own, or the message's."""
    run: str = ""
    lease: Millis = NOW
    """Until when this worker was last told that it may work."""
    keys: frozenset[str] = frozenset()
    """What the cleaner listed, then what it is about to delete."""


IDLE = Actor()


class Queue(NamedTuple):
    deliveries: int = 0
    """How often the current claim's message will still be delivered, if at all."""
    has_old: bool = False
    """True if messages of earlier claims are about."""


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
    """Nothing depends on it for the merge to get on: deaths, losses, failures, and users' deeds."""


def initial(bounds: Bounds) -> State:
    """Saved long ago, swept since, and nobody has claimed yet."""
    archive = reserved(ARCHIVE_ID, EntryName(EntryFamily("1", "main", "v"), "npm"), NOW, LIFETIMES)
    upload = committed(archive, Commit("digest", 2, 2, MANIFEST), None)
    entry = stored(upload, NOW) if upload else None
    assert entry is not None
    entry = older(replace(entry, swept_at=NOW + DAY), DAY, LIFETIMES)
    return State(entry, PART_KEYS, Queue(), (IDLE,) * bounds.workers, (IDLE,) * bounds.claimers, IDLE)


def successors(state: State, bounds: Bounds) -> Iterator[Step]:
    """Everything that can happen next. Nothing does once the archive is forgotten."""
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
    if bounds.removes and (by := deleted(state.archive, NOW)):
        yield Step("the entry is removed", _written(state, by, bounds), is_mishap=True)
    yield Step("a minute passes", older_state(state, MINUTE))
    if state.archive.merge.state is MergeState.FAILED:
        yield Step("a day passes", older_state(state, DAY))


# ------------------------------------------------------------------ the actors


def _worker_steps(state: State, i: int, worker: Actor, bounds: Bounds) -> Iterator[Step]:
    who, archive = f"worker {i}", _archive(state)

    def on(changed: Actor, to: State = state) -> State:
        return to._replace(workers=(*to.workers[:i], changed, *to.workers[i + 1 :]))

    def decides(at: At, on_worker: Actor = worker, to: State = state) -> Iterator[State]:
        by = {
            At.START: lambda: claim.started(
                archive, on_worker.token, on_worker.run, NOW, LIFETIMES, bounds.max_attempts
            ),
            At.RENEW: lambda: claim.renewed(archive, on_worker.run, NOW, LIFETIMES),
            At.PUBLISH: lambda: claim.published(archive, on_worker.run, _merged(on_worker.run), NOW),
        }[at]()
        if by:
            yield on(on_worker._replace(at=at, by=by), to)
        else:
            yield from ends(on_worker.token, to)

    def writes(then: Actor) -> Iterator[State]:
        """What others wrote in between makes it decide anew."""
        if worker.by is None:
            return decides(worker.at)
        after = on(then, _written(state, worker.by, bounds))
        return ends(worker.token, after) if then == IDLE else iter([after])

    def ends(token: str, to: State) -> Iterator[State]:
        """The message is deleted, or comes again all the same."""
        yield on(IDLE, to)
        yield on(IDLE, to._replace(queue=_without_message(to.queue, token)))

    def fails() -> State:
        by = claim.failed(archive, worker.run, NOW, bounds.max_attempts)
        return on(IDLE, _written(state, by, bounds) if by else state)

    def steps(what: str, afters: Iterator[State]) -> Iterator[Step]:
        return (Step(f"{who} {what}", after) for after in afters)

    match worker.at:
        case At.IDLE:
            for token, left in _deliverable(state.queue):
                starting = Actor(At.START, token=token, run=f"run {i}")
                yield from steps(f"gets the {token} message", decides(At.START, starting, state._replace(queue=left)))
            return
        case At.START | At.RENEW:
            lease = worker.by.merge.lease_until if worker.by else NOW
            yield from steps("writes its lease", writes(worker._replace(at=At.RUN, by=None, lease=lease)))
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
    yield Step(f"{who} dies", on(IDLE), is_mishap=True)


def _claimer_steps(state: State, i: int, claimer: Actor, bounds: Bounds) -> Iterator[Step]:
    who, archive = f"claimer {i}", _archive(state)

    def on(changed: Actor, to: State = state) -> State:
        return to._replace(claimers=(*to.claimers[:i], changed, *to.claimers[i + 1 :]))

    def writes(by: Archive | None) -> State:
        return on(IDLE, _written(state, by, bounds) if by else state)

    match claimer.at:
        case At.IDLE:
            token = f"of {who}"
            by = claim.claimed(archive, token, NOW, LIFETIMES, bounds.max_attempts)
            if by:
                # The schedule claims what is due; before that it takes a Finalize or a download to come by.
                is_due = _due_task(archive) is CleanupTask.RETAKE_CLAIM
                yield Step(f"{who} decides to claim", on(Actor(At.CLAIM, by, token)), is_mishap=not is_due)
            dead_letter = archive.merge.claim_token
            by = claim.redriven(archive, dead_letter, token, NOW) if dead_letter and bounds.replays else None
            if by:
                yield Step(f"{who} decides to replay", on(Actor(At.CLAIM, by, token)), is_mishap=True)
            return
        case At.CLAIM if claimer.by is None:
            yield Step(f"{who} was overtaken", on(IDLE))
        case At.CLAIM:
            assert claimer.by is not None
            after = _claimed(state, claimer.by, bounds)
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
    yield Step(f"{who} dies", on(IDLE), is_mishap=True)


def _cleaner_steps(state: State, cleaner: Actor, bounds: Bounds) -> Iterator[Step]:
    archive = _archive(state)
    match cleaner.at:
        case At.IDLE:
            task = _due_task(archive)
            by = claim.given_up(archive, NOW, LIFETIMES, bounds.max_attempts)
            if task is CleanupTask.RETAKE_CLAIM and by:
                yield Step("cleanup gives up", _written(state, by, bounds))
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
            noting = deleting if cleaner.by is None else _written(deleting, cleaner.by, bounds)
            yield Step("cleanup deletes and notes it", noting)
            yield Step("cleanup deletes, and dies", deleting, is_mishap=True)
    yield Step("cleanup dies", state._replace(cleaner=IDLE), is_mishap=True)


# ------------------------------------------------------------------ the world


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
    """Whose message may come now, and what is left then."""
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


def _written(state: State, by: Archive, bounds: Bounds) -> State:
    """The table after a write; whoever has read before can't write any more."""

    def overtaken(actors: tuple[Actor, ...]) -> tuple[Actor, ...]:
        return tuple(actor._replace(by=None) if actor.by else actor for actor in actors)

    after = state._replace(archive=by)
    if not bounds.compares:
        return after
    [cleaner] = overtaken((state.cleaner,))
    return after._replace(workers=overtaken(state.workers), claimers=overtaken(state.claimers), cleaner=cleaner)


def _claimed(state: State, by: Archive, bounds: Bounds) -> State:
    """A claim is written: what was the current claim's is an old one's from here on."""

    def aged(actors: tuple[Actor, ...]) -> tuple[Actor, ...]:
        return tuple(actor._replace(token="old") if actor.token == "current" else actor for actor in actors)

    current = replace(by, merge=replace(by.merge, claim_token="current"))
    after = _written(state, current, bounds)
    queue = Queue(0, has_old=state.queue.has_old or state.queue.deliveries > 0)
    return after._replace(queue=queue, workers=aged(after.workers), claimers=aged(after.claimers))


def older_state(state: State, passed: Millis) -> State:
    """The same a while later."""

    def aged(actor: Actor) -> Actor:
        if actor == IDLE:
            return actor
        return actor._replace(by=actor.by and older(actor.by, passed, LIFETIMES), lease=max(NOW, actor.lease - passed))

    return state._replace(
        archive=state.archive and older(state.archive, passed, LIFETIMES),
        workers=tuple(map(aged, state.workers)),
        claimers=tuple(map(aged, state.claimers)),
        cleaner=aged(state.cleaner),
    )

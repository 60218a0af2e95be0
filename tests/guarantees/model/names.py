"""Names of runs: of two states that differ only in what dead and finished runs are called, one is kept."""

from dataclasses import replace
from typing import NamedTuple

from actions_cache.domain.archive import Archive
from tests.guarantees.model.claim_model import KEYS, Actor, State

DEAD, PUBLISHED, LOST = "dead run", "published run", "lost run"


class _Rank(NamedTuple):
    """Tells workers apart by what they do, whatever they are called."""

    at: str
    token: str
    lease: int
    is_current: bool
    has_read: bool


def canonical(state: State) -> State:
    """Workers in one order, and only they have runs named after them.

    The current run of a worker that died is `dead`, the one whose object is the archive's is `published`, and any
    other is `lost`: only its object is left, if it made one, and no run publishes it.
    """
    archive = state.archive
    if archive is None:
        return state
    current = archive.merge.run_token

    def rank(worker: Actor) -> _Rank:
        is_current = worker.run != "" and worker.run == current
        return _Rank(worker.at, worker.token, worker.lease, is_current, worker.by is not None)

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
        if not (actor.by or actor.run or actor.keys):
            return actor
        by = actor.by and renamed_archive(actor.by)
        return actor._replace(by=by, run=actor.run and name(actor.run), keys=frozenset(map(key, actor.keys)))

    return state._replace(
        archive=renamed_archive(archive),
        objects=frozenset(map(key, state.objects)),
        workers=tuple(map(renamed, workers)),
        claimers=tuple(map(renamed, state.claimers)),
        cleaner=renamed(state.cleaner),
    )

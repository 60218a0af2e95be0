"""Archives in the states from which tests start."""

from dataclasses import replace
from typing import Any

from actions_cache.domain.archive import Archive, ArchiveState, Commit, Merge, MergeState, Part
from actions_cache.domain.entry import EntryFamily, EntryName
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.timing import SECOND, Lifetimes

NOW = 1_800_000_000 * SECOND
NAME = EntryName(EntryFamily("42", "refs/heads/main", "v1"), "linux-npm-1")
LIFETIMES = Lifetimes(
    upload_url=3600 * SECOND,
    download_url=600 * SECOND,
    reservation=3600 * SECOND,
    grace=2130 * SECOND,
    unused=dict.fromkeys(EntryClass, 7 * 24 * 3600 * SECOND),
    merge_lease=60 * SECOND,
    queue_retention=4 * 3600 * SECOND,
)
ID = "0123456789abcdef0123456789abcdef"
MANIFEST = Part(f"archives/{ID}/manifest/m", 99, '"m"')
MERGED = Part(f"archives/{ID}/merged/run", 30, '"merged"')


def archive(**changes: Any) -> Archive:
    """Return a reservation made now, with changed fields."""
    fresh = Archive(
        id=ID,
        name=NAME,
        reserved_at=NOW,
        reservation_expires_at=NOW + LIFETIMES.reservation,
        upload_closes_at=NOW + LIFETIMES.upload_url,
    )
    return replace(fresh, **changes)


def stored_archive(merge: Merge | None = None, **changes: Any) -> Archive:
    """Return an archive of several parts that is visible from now on."""
    fields: dict[str, Any] = {
        "state": ArchiveState.STORED,
        "commit": Commit("digest", 30, 3, MANIFEST),
        "stored_at": NOW,
        "last_used_at": NOW,
        "merge": merge or Merge(),
    }
    return archive(**fields | changes)


def queued(**changes: Any) -> Archive:
    return stored_archive(Merge(state=MergeState.QUEUED, claim_token="claim", claimed_at=NOW, **changes))


def running(**changes: Any) -> Archive:
    lease_until = NOW + LIFETIMES.merge_lease
    fields: dict[str, Any] = {"sent_at": NOW, "run_token": "run", "lease_until": lease_until, "attempts": 1}
    merge = Merge(state=MergeState.RUNNING, claim_token="claim", claimed_at=NOW, **(fields | changes))
    return stored_archive(merge)


def merged_archive(**changes: Any) -> Archive:
    return stored_archive(Merge(state=MergeState.MERGED, ended_at=NOW), object=MERGED, **changes)

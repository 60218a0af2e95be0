"""Compares bucket and tables: objects that are missing, that belong to no archive, or that await their sweep."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from actions_cache.aws.dynamodb_items import ArchiveItem
from actions_cache.domain.archive import Archive, ArchiveState, MergeState, Part
from actions_cache.domain.budgets import Usage, total
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.settings import Settings
from dev.services import AllServices

ROOT = "archives/"


@dataclass
class Audit:
    archives: int = 0
    entries: int = 0
    objects: int = 0
    object_bytes: int = 0
    missing: list[str] = field(default_factory=list)
    """Objects that the table refers to, and that the bucket doesn't have, or with other bytes."""
    unowned: list[str] = field(default_factory=list)
    """Objects of archives that the table doesn't have: only a listing of the bucket finds them."""
    overdue: list[str] = field(default_factory=list)
    """Orphans for longer than the limit."""
    awaiting_sweep: int = 0
    """Number of orphans within the limit."""
    open_uploads: int = 0
    """Number of merges' uploads; a lifecycle rule of the bucket aborts those of a killed worker."""
    contradictions: list[str] = field(default_factory=list)
    """Contradictions between the tables."""

    @property
    def violations(self) -> dict[str, list[str]]:
        found = {
            "missing object": self.missing,
            "unowned object": self.unowned,
            "overdue orphan": self.overdue,
            "contradiction between tables": self.contradictions,
        }
        return {kind: details for kind, details in found.items() if details}


def audit(services: AllServices, now: Millis, limit_seconds: float) -> Audit:
    """Read all tables and the bucket, of a store that nothing else uses meanwhile.

    Args:
        control: the use cases.
        now: the time.
        limit_seconds: longest age of an orphan.
    """
    found = Audit()
    archives = {
        item.archive_id: item.to_archive() for item in services.table._archives.scan(ArchiveItem.agenda_shard.exists())
    }
    entries = {item.archive_id: item.to_entry() for item in services.table._entries.scan()}
    objects = {part.key: part for part in services.bucket.list("")}
    found.archives, found.entries, found.objects = len(archives), len(entries), len(objects)
    found.open_uploads = len(
        services.session.client("s3").list_multipart_uploads(Bucket=services.settings.bucket).get("Uploads", ())
    )
    found.object_bytes = sum(part.size for part in objects.values())

    needed: dict[str, Part] = {}
    for archive in archives.values():
        for part in _needed(services, archive, now, objects, found):
            needed[part.key] = part
            if objects.get(part.key) != part:
                found.missing.append(f"{part.key} of {archive.state} {archive.name.key!r}")
    for key in objects.keys() - needed.keys():
        owner = archives.get(key.removeprefix(ROOT).partition("/")[0])
        if owner is None:
            found.unowned.append(key)
        elif orphaned_since(owner, services.settings, now) + limit_seconds * SECOND < now:
            found.overdue.append(f"{key} of {owner.state} {owner.name.key!r}, merge {owner.merge.state}")
        else:
            found.awaiting_sweep += 1
    _compare_tables(archives, set(entries), found)
    _compare_usage(services, archives.values(), found)
    return found


def _needed(
    services: AllServices, archive: Archive, now: Millis, objects: Mapping[str, Part], found: Audit
) -> list[Part]:
    """Return the objects that readers may still request: of a visible entry, or of a removed one in its grace."""
    grace = services.settings.grace_seconds * SECOND
    readable = archive.is_stored or (archive.was_visible and now < archive.deleted_at + grace)
    if not readable:
        return []
    needed = [archive.object] if archive.object else []
    parts_stay = archive.merge.state is not MergeState.MERGED or now < archive.merge.ended_at + grace
    manifest = archive.commit.manifest if archive.commit else None
    if manifest is not None and parts_stay:
        needed.append(manifest)
        if objects.get(manifest.key) != manifest:
            found.missing.append(f"the manifest {manifest.key}, and so its parts")
        else:
            needed += services.manifests.of(archive).parts
    return needed


def orphaned_since(archive: Archive, settings: Settings, now: Millis) -> Millis:
    """Return the latest time at which an object that isn't needed became an orphan; `now` if it may still be needed.

    While the reservation holds, all its objects belong to the upload. Afterwards an object is an orphan as soon as it
    arrives, which a PUT that began in its URL's last second may do for as long again; or when what it belonged to
    ends: a reader's grace, or a run of the merge.
    """
    if archive.state is ArchiveState.RESERVED:
        return now
    grace = settings.grace_seconds * SECOND
    moments = [archive.upload_closes_at + settings.upload_url_seconds * SECOND]
    if archive.state is ArchiveState.DELETED:
        moments.append(archive.deleted_at + (grace if archive.was_visible else 0))
    match archive.merge.state:
        case MergeState.MERGED:
            moments.append(archive.merge.ended_at + grace)
        case MergeState.FAILED:
            moments.append(archive.merge.ended_at)
        case MergeState.RUNNING:
            moments.append(archive.merge.lease_until)
        case MergeState.QUEUED | MergeState.UNMERGED:
            moments.append(archive.merge.claimed_at)
    return max(moments)


def _compare_tables(archives: Mapping[str, Archive], with_entry: set[str], found: Audit) -> None:
    stored = {archive.id for archive in archives.values() if archive.is_stored}
    found.contradictions += [f"the entry of {id_} has no stored archive" for id_ in with_entry - stored]
    found.contradictions += [f"the stored archive {id_} has no entry" for id_ in stored - with_entry]


def _compare_usage(services: AllServices, archives: Iterable[Archive], found: Audit) -> None:
    existing: defaultdict[str, Usage] = defaultdict(Usage)
    for archive in archives:
        if archive.is_stored:
            existing[archive.name.family.repository] += Usage.of(archive)
    counted = {repository: services.repositories.usage(repository) for repository in existing}
    found.contradictions += [
        f"of {repository} {counted[repository]} is counted, but {usage} stands"
        for repository, usage in existing.items()
        if counted[repository] != usage
    ]
    if (store := services.repositories.store_usage()) != total(existing.values()):
        found.contradictions.append(f"of the store {store} is counted, but {total(existing.values())} stands")

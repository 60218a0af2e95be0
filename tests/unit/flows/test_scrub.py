"""The scrub finds what was lost or changed in silence, and leaves alone what wasn't. On a real store."""

from dataclasses import replace

import pytest

from actions_cache.aws.s3 import S3Bucket
from actions_cache.domain.merge_plan import MIB
from actions_cache.integrity import Finding, Scrub
from tests.guarantees.faults.kinds import other_bytes
from tests.guarantees.faults.scene import MANIFEST_READ, faulty_store
from tests.guarantees.faults.store import always, in_turn, reads_of
from tests.support.journey import Journey, name

LONG, SHORT = b"L" * (6 * MIB), b"s" * 1000


def scrub_of(journey: Journey) -> Scrub:
    services = journey.services
    return Scrub(services.table, services.bucket, services.manifests, services.clock, services.remove_entry)


def findings(journey: Journey, *, deep: bool = False, removes: bool = False) -> list[tuple[str, Finding]]:
    scrub = scrub_of(journey)
    found = scrub(scrub.archives(), deep=deep, removes=removes)
    return [(done.damage.name.key, done.damage.finding) for done in found if done.damage]


def save_all(journey: Journey) -> dict[str, str]:
    """One archive of each kind: the ids by their names' keys."""
    merged = journey.save(name("merged"), LONG, SHORT)
    journey.merge_all()
    swept = journey.save(name("swept"), LONG, SHORT)
    journey.merge_all()
    parts = [f"archives/{swept.archive_id}/{key}" for key in journey.keys(swept.archive_id) if "merged/" not in key]
    journey.services.bucket.delete(parts)
    single = journey.save(name("single"), SHORT)
    unmerged = journey.save(name("unmerged"), LONG, SHORT)
    journey.reserve(name("reserved"))
    removed = journey.save(name("removed"), SHORT)
    journey.services.remove_entry(removed.archive_id, lambda _: True)
    return {entry.name.key: entry.archive_id for entry in (merged, swept, single, unmerged)}


def needed(journey: Journey, archive_id: str) -> str:
    """The key of an object that the archive can't do without."""
    archive = journey.archive(archive_id)
    return archive.object.key if archive.object else journey.services.manifests.of(archive).parts[-1].key


@pytest.mark.parametrize("deep", [False, True])
def test_intact_archives_have_no_findings(on_engines, deep):
    save_all(on_engines)
    assert findings(on_engines, deep=deep, removes=True) == []


def test_lost_or_replaced_object_is_found(on_engines):
    archives = save_all(on_engines)
    on_engines.services.bucket.delete([needed(on_engines, archives[key]) for key in ("merged", "unmerged")])
    for key, length in (("swept", len(LONG) + len(SHORT)), ("single", len(SHORT))):
        on_engines.overwrite(needed(on_engines, archives[key]), b"X" * length)
    expected = {
        ("merged", Finding.GONE),
        ("unmerged", Finding.GONE),
        ("swept", Finding.REPLACED),
        ("single", Finding.REPLACED),
    }
    assert set(findings(on_engines)) == expected
    assert all(on_engines.services.table.entry(name(key)) for key in archives), "only asked"
    assert set(findings(on_engines, removes=True)) == expected
    assert not any(on_engines.services.table.entry(name(key)) for key in archives)
    assert findings(on_engines) == []


def test_lost_manifest_is_found_while_needed(on_engines):
    archives = save_all(on_engines)
    for key in ("merged", "unmerged"):
        on_engines.services.bucket.delete([on_engines.archive(archives[key]).commit.manifest.key])
    assert findings(on_engines, deep=True) == [("unmerged", Finding.GONE)]


def test_deep_scrub_finds_corrupt_bytes(on_engines, endpoints, monkeypatch):
    monkeypatch.setattr(S3Bucket.read.retry, "sleep", lambda _: None)
    with faulty_store(endpoints) as faulty:
        archives = save_all(on_engines)
        for key in ("merged", "single", "unmerged"):
            faulty.on(reads_of(needed(on_engines, archives[key])), always(other_bytes(100)))
        assert findings(on_engines) == []
        expected = {(key, Finding.ROTTEN) for key in ("merged", "single", "unmerged")}
        assert set(findings(on_engines, deep=True, removes=True)) == expected
        assert on_engines.look_up("swept") is not None


def test_corrupt_manifest_is_found_while_needed(on_engines, endpoints, monkeypatch):
    monkeypatch.setattr(S3Bucket.read.retry, "sleep", lambda _: None)
    with faulty_store(endpoints) as faulty:
        save_all(on_engines)
        faulty.on(MANIFEST_READ, always(other_bytes(100)))
        assert findings(on_engines, deep=True) == [("unmerged", Finding.ROTTEN)]


def test_transfer_error_is_no_damage(on_engines, endpoints):
    with faulty_store(endpoints) as faulty:
        archives = save_all(on_engines)
        faulty.on(reads_of(needed(on_engines, archives["merged"])), in_turn(other_bytes(100)))
        assert findings(on_engines, deep=True) == []
        assert faulty.met == 1


def test_archive_merged_during_scrub_is_intact(on_engines):
    """Its parts may be gone by then, and nobody needs them."""
    entry = on_engines.save(name("npm"), LONG, SHORT)
    scrub = scrub_of(on_engines)

    class MergedMeanwhile:
        def __getattr__(self, method):
            return getattr(on_engines.services.bucket, method)

        def stat(self, key):
            on_engines.merge_all()
            on_engines.services.bucket.delete([key])
            return on_engines.services.bucket.stat(key)

    scrub = replace(scrub, bucket=MergedMeanwhile())
    assert scrub.archive(entry.archive_id, deep=True, removes=True).damage is None
    assert on_engines.look_up("npm") is not None

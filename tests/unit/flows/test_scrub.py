"""The scrub finds objects that were lost or changed silently, and leaves all others alone; on a real store."""

from dataclasses import replace

import pytest

from actions_cache.aws.s3 import S3Bucket
from actions_cache.domain.merge_plan import MIB
from actions_cache.integrity import Finding, Scrub
from dev.clients.driver import CacheDriver, name
from tests.guarantees.faults.environment import MANIFEST_READ, faulty_store
from tests.guarantees.faults.kinds import other_bytes
from tests.guarantees.faults.store import always, in_turn, reads_of

LONG, SHORT = b"L" * (6 * MIB), b"s" * 1000


def scrub_of(driver: CacheDriver) -> Scrub:
    services = driver.services
    return Scrub(services.table, services.bucket, services.manifests, services.clock, services.remove_entry)


def findings(driver: CacheDriver, *, deep: bool = False, removes: bool = False) -> list[tuple[str, Finding]]:
    scrub = scrub_of(driver)
    found = scrub(scrub.archives(), deep=deep, removes=removes)
    return [(scrubbed.damage.name.key, scrubbed.damage.finding) for scrubbed in found if scrubbed.damage]


def save_all(driver: CacheDriver) -> dict[str, str]:
    """Save an archive of each kind, and return their ids by the keys of their names."""
    merged = driver.save(name("merged"), LONG, SHORT)
    driver.merge_all()
    swept = driver.save(name("swept"), LONG, SHORT)
    driver.merge_all()
    parts = [f"archives/{swept.archive_id}/{key}" for key in driver.keys(swept.archive_id) if "merged/" not in key]
    driver.services.bucket.delete(parts)
    single = driver.save(name("single"), SHORT)
    unmerged = driver.save(name("unmerged"), LONG, SHORT)
    driver.reserve(name("reserved"))
    removed = driver.save(name("removed"), SHORT)
    driver.services.remove_entry(removed.archive_id, lambda _: True)
    return {entry.name.key: entry.archive_id for entry in (merged, swept, single, unmerged)}


def needed_key(driver: CacheDriver, archive_id: str) -> str:
    """Return the key of an object that the archive's readers need."""
    archive = driver.archive(archive_id)
    return archive.object.key if archive.object else driver.services.manifests.of(archive).parts[-1].key


@pytest.mark.parametrize("deep", [False, True])
def test_intact_archives_have_no_findings(on_emulators, deep):
    save_all(on_emulators)
    assert findings(on_emulators, deep=deep, removes=True) == []


def test_lost_or_replaced_object_is_found(on_emulators):
    archives = save_all(on_emulators)
    on_emulators.services.bucket.delete([needed_key(on_emulators, archives[key]) for key in ("merged", "unmerged")])
    for key, length in (("swept", len(LONG) + len(SHORT)), ("single", len(SHORT))):
        on_emulators.overwrite(needed_key(on_emulators, archives[key]), b"X" * length)
    expected = {
        ("merged", Finding.GONE),
        ("unmerged", Finding.GONE),
        ("swept", Finding.REPLACED),
        ("single", Finding.REPLACED),
    }
    assert set(findings(on_emulators)) == expected
    assert all(on_emulators.services.table.entry(name(key)) for key in archives), "nothing is removed unless asked to"
    assert set(findings(on_emulators, removes=True)) == expected
    assert not any(on_emulators.services.table.entry(name(key)) for key in archives)
    assert findings(on_emulators) == []


def test_lost_manifest_is_found_while_needed(on_emulators):
    archives = save_all(on_emulators)
    for key in ("merged", "unmerged"):
        on_emulators.services.bucket.delete([on_emulators.archive(archives[key]).commit.manifest.key])
    assert findings(on_emulators, deep=True) == [("unmerged", Finding.GONE)]


def test_deep_scrub_finds_corrupt_bytes(on_emulators, endpoints, monkeypatch):
    monkeypatch.setattr(S3Bucket.read.retry, "sleep", lambda _: None)
    with faulty_store(endpoints) as faulty:
        archives = save_all(on_emulators)
        for key in ("merged", "single", "unmerged"):
            faulty.on(reads_of(needed_key(on_emulators, archives[key])), always(other_bytes(100)))
        assert findings(on_emulators) == []
        expected = {(key, Finding.ROTTEN) for key in ("merged", "single", "unmerged")}
        assert set(findings(on_emulators, deep=True, removes=True)) == expected
        assert on_emulators.look_up("swept") is not None


def test_corrupt_manifest_is_found_while_needed(on_emulators, endpoints, monkeypatch):
    monkeypatch.setattr(S3Bucket.read.retry, "sleep", lambda _: None)
    with faulty_store(endpoints) as faulty:
        save_all(on_emulators)
        faulty.on(MANIFEST_READ, always(other_bytes(100)))
        assert findings(on_emulators, deep=True) == [("unmerged", Finding.ROTTEN)]


def test_transfer_error_is_no_damage(on_emulators, endpoints):
    with faulty_store(endpoints) as faulty:
        archives = save_all(on_emulators)
        faulty.on(reads_of(needed_key(on_emulators, archives["merged"])), in_turn(other_bytes(100)))
        assert findings(on_emulators, deep=True) == []
        assert faulty.met == 1


def test_archive_merged_during_scrub_is_intact(on_emulators):
    """The parts may be gone by then, but nobody needs them any more."""
    entry = on_emulators.save(name("npm"), LONG, SHORT)
    scrub = scrub_of(on_emulators)

    class MergedMeanwhile:
        def __getattr__(self, method):
            return getattr(on_emulators.services.bucket, method)

        def stat(self, key):
            on_emulators.merge_all()
            on_emulators.services.bucket.delete([key])
            return on_emulators.services.bucket.stat(key)

    scrub = replace(scrub, bucket=MergedMeanwhile())
    assert scrub.archive(entry.archive_id, deep=True, removes=True).damage is None
    assert on_emulators.look_up("npm") is not None

"""Every guarantee at once: a long random life, in which anything may happen in any order and anybody may crash.

After each step a single merge, no reader cut off, right bytes, all or nothing and exact usage must hold; in the end,
nothing stuck and nothing leaked. What claim_model.py explores completely, for one archive and without bytes, is driven
here through use cases and adapters, with keys that are saved again and again. On moto, and with one actor at a time,
so writes needn't be atomic.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from moto.s3 import models as moto_s3

from actions_cache.domain import direct_upload
from actions_cache.domain.archive import Archive, ArchiveState, MergeState, Part
from actions_cache.domain.budgets import Usage, total
from actions_cache.domain.claim import claimable_at
from actions_cache.domain.errors import AlreadyExists, CommittedDifferently, InvalidBlockList, InvalidRequest, NotFound
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.timing import DAY, SECOND, Millis
from actions_cache.events import RunEnd
from actions_cache.merge import GivenUp
from actions_cache.ports import Bucket, MergeMessage, MultipartUpload, Unavailable
from dev.clients.driver import REPOSITORY, CacheDriver, block_ids, counted_ids, name, plenty
from tests.guarantees.crash_injection import Crashes, crashing
from tests.guarantees.soak.audit import audit

pytestmark = pytest.mark.slow

KEYS = ("npm", "npm-1")
BLOCK_IDS = block_ids(3)
HOUR = 3600

WAITS = (1, 59, 61, 599, 2129, 2131, HOUR, 4 * HOUR + 1, 24 * HOUR, 7 * 24 * HOUR + 1)
"""Seconds around the lives of a claim, a lease, a URL, the grace, a reservation, the queue and an entry."""

calls = st.none() | st.integers(0, 12)
"""Call at which a process crashes; a merge of three parts makes about a dozen."""

block_lists = st.lists(st.sampled_from(BLOCK_IDS), min_size=1, max_size=3)


@dataclass
class Upload:
    key: str
    arrived: dict[str, bytes] = field(default_factory=dict)
    """Newest arrival of each block."""
    committed: bytes | None = None
    sent: dict[int, bytes] = field(default_factory=dict)
    """Newest part of each number that went straight into the bucket."""
    noted: bytes | None = None
    """What a block list found, which is what it may complete."""


@dataclass(frozen=True)
class Reader:
    """Has a URL of an archive, and streams some of its objects already."""

    archive_id: str
    url_until: Millis
    objects: tuple[Part, ...]
    stream_until: Millis


class Protocol(RuleBasedStateMachine):
    driver: CacheDriver
    crashes: Crashes

    uploads = Bundle("uploads")

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Upload] = {}
        self.direct: dict[str, MultipartUpload] = {}
        self.messages: list[MergeMessage] = []
        self.readers: list[Reader] = []
        self.merged: dict[str, Part] = {}
        self.removed: set[str] = set()
        self.puts = 0

    # ------------------------------------------------------------------ what may happen

    @rule(target=uploads, key=st.sampled_from(KEYS))
    def reserve(self, key: str) -> str:
        return self.reserved(key)

    @rule(target=uploads, key=st.sampled_from(KEYS), ids=st.permutations(BLOCK_IDS))
    def save(self, key: str, ids: list[str]) -> str:
        """Save in one go, with one block sent twice, and finalize with a wrong size first."""
        archive_id = self.reserved(key)
        if archive_id:
            for block_id in (*ids, ids[0]):
                self.put(archive_id, block_id)
            self.commit(archive_id, ids, None, takes_effect=False)
            self.finalize(key, 1, None, takes_effect=False)
            self.finalize(key, 0, None, takes_effect=False)
            assert self.driver.archive(archive_id).is_stored
        return archive_id

    @rule(archive_id=uploads, block_id=st.sampled_from(BLOCK_IDS))
    def put(self, archive_id: str, block_id: str) -> None:
        """Send a block before or after the block list, even long after the entry was removed, or its URL expired."""
        archive = archive_id and self.driver.services.table.archive(archive_id)
        if archive and self.now < archive.upload_closes_at + self.driver.services.lifetimes.late_arrival:
            self.puts += 1
            body = b"%d of %s" % (self.puts, archive_id[:4].encode())
            self.driver.put_block(archive_id, block_id, body)
            if self.now < archive.upload_closes_at:
                self.known[archive_id].arrived[block_id] = body

    @rule(target=uploads, key=st.sampled_from(KEYS))
    def reserve_direct(self, key: str) -> str:
        return self.reserved(key, is_direct=True)

    @rule(target=uploads, key=st.sampled_from(KEYS))
    def save_directly(self, key: str) -> str:
        """Save in one go, straight into the bucket, with one part sent twice."""
        archive_id = self.reserved(key, is_direct=True)
        if archive_id:
            for number in (1, 2, 1):
                self.send(archive_id, number)
            self.commit_direct(archive_id, 2, None, takes_effect=False)
            self.finalize(key, 0, None, takes_effect=False)
            archive = self.driver.archive(archive_id)
            assert archive.is_stored
            assert archive.object is not None, "no merge is needed"
        return archive_id

    @rule(archive_id=uploads, number=st.integers(1, 3))
    def send(self, archive_id: str, number: int) -> None:
        """Send a part straight into the bucket, maybe long after its upload was completed or aborted."""
        if archive_id not in self.direct:
            return
        self.puts += 1
        body = b"%d of %s" % (self.puts, archive_id[:4].encode())
        with suppress(Unavailable):
            self.bucket.upload_part(self.direct[archive_id], number, body)
            self.known[archive_id].sent[number] = body

    @rule(archive_id=uploads, count=st.integers(1, 3), crash_at=calls, takes_effect=st.booleans())
    def commit_direct(self, archive_id: str, count: int, crash_at: int | None, takes_effect: bool) -> None:
        if archive_id not in self.known:
            return
        upload = self.known[archive_id]
        found = b"".join(upload.sent.get(number, b"") for number in range(1, count + 1))
        with self.crashes.at(crash_at, takes_effect=takes_effect):
            try:
                self.driver.services.commit.block_list(archive_id, counted_ids(count))
            except InvalidBlockList:
                assert not set(range(1, count + 1)) <= set(upload.sent)
            except (NotFound, CommittedDifferently, Unavailable):
                pass
        archive = self.driver.services.table.archive(archive_id)
        is_committed = archive is not None and archive.commit is not None
        if archive and upload.noted is None and (is_committed or (archive.direct and archive.direct.object)):
            upload.noted = found
        if is_committed and upload.committed is None:
            upload.committed = upload.noted

    @rule(archive_id=uploads, ids=block_lists, crash_at=calls, takes_effect=st.booleans())
    def commit(self, archive_id: str, ids: list[str], crash_at: int | None, takes_effect: bool) -> None:
        if archive_id not in self.known:
            return
        upload = self.known[archive_id]
        with self.crashes.at(crash_at, takes_effect=takes_effect):
            try:
                self.driver.services.commit.block_list(archive_id, ids)
            except InvalidBlockList:
                assert len(set(ids)) < len(ids) or not set(ids) <= set(upload.arrived) or upload.sent
            except (NotFound, CommittedDifferently):
                pass
        archive = self.driver.services.table.archive(archive_id)
        if archive and archive.commit and upload.committed is None:
            upload.committed = b"".join(upload.arrived[block_id] for block_id in ids)

    @rule(key=st.sampled_from(KEYS), off_by=st.sampled_from([0, 0, 0, 1]), crash_at=calls, takes_effect=st.booleans())
    def finalize(self, key: str, off_by: int, crash_at: int | None, takes_effect: bool) -> None:
        """Finalize. The request names no upload, so a late one meets whatever holds the key by now."""
        held = self.driver.services.table.reservation(name(key))
        upload = held and self.known.get(held.archive_id)
        size = len(upload.committed or b"") if upload else 0
        before = self.driver.services.table.entry(name(key))
        with self.crashes.at(crash_at, takes_effect=takes_effect):
            try:
                entry = self.driver.services.finalize(name(key), (before.size if before else size) + off_by)
            except (InvalidRequest, NotFound):
                assert self.driver.services.table.entry(name(key)) == before
            else:
                assert off_by == 0
                assert before in (None, entry)

    @rule(key=st.sampled_from(KEYS))
    def download(self, key: str) -> None:
        """Look up, and claim the merge if nobody has."""
        if self.driver.look_up(key) is None:
            return
        entry = self.driver.services.table.entry(name(key))
        if entry is None:
            return
        archive = self.driver.archive(entry.archive_id)
        chosen = self.driver.services.settings
        url_until = self.now + chosen.download_url_seconds * SECOND
        stream_until = self.now + chosen.max_stream_seconds * SECOND
        self.readers.append(Reader(archive.id, url_until, self.parts(archive), stream_until))
        claimable = claimable_at(archive, self.driver.services.lifetimes)
        if claimable is not None and claimable <= self.now:
            self.driver.services.claim_merge(archive.id)

    @rule(crash_at=st.integers(0, 3), takes_effect=st.booleans(), archive_id=uploads)
    def claim_and_crash(self, archive_id: str, crash_at: int, takes_effect: bool) -> None:
        if archive_id not in self.known:
            return
        with self.crashes.at(crash_at, takes_effect=takes_effect):
            self.driver.services.claim_merge(archive_id)

    @precondition(lambda self: self.messages)
    @rule(pick=st.integers(0, 99), crash_at=calls, takes_effect=st.booleans())
    def deliver(self, pick: int, crash_at: int | None, takes_effect: bool) -> None:
        """Deliver any message that ever was in the queue: late, out of order, or again."""
        message = self.messages[pick % len(self.messages)]
        before = self.driver.services.table.archive(message.archive_id)
        with self.crashes.at(crash_at, takes_effect=takes_effect):
            try:
                outcome = self.driver.services.merge(message, plenty)
            except GivenUp:
                return
            if outcome is RunEnd.MERGED:
                assert before is not None
                assert before.object is None

    @rule(crash_at=calls, takes_effect=st.booleans())
    def clean_up(self, crash_at: int | None, takes_effect: bool) -> None:
        with self.crashes.at(crash_at, takes_effect=takes_effect):
            assert not self.driver.clean_up().get("failed")

    @rule(crash_at=calls, takes_effect=st.booleans())
    def find_orphans(self, crash_at: int | None, takes_effect: bool) -> None:
        with self.crashes.at(crash_at, takes_effect=takes_effect):
            self.driver.services.find_orphans(plenty)

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: str) -> None:
        entry = self.driver.services.table.entry(name(key))
        if entry:
            assert self.driver.services.remove_entry(entry.archive_id, lambda _: True)

    @rule(seconds=st.sampled_from(WAITS))
    def wait(self, seconds: int) -> None:
        self.driver.clock.advance(seconds)

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def the_queue_is_read(self) -> None:
        self.messages += self.driver.messages()

    @invariant()
    def every_entry_has_the_bytes_that_were_committed(self) -> None:
        for key in KEYS:
            entry = self.driver.services.table.entry(name(key))
            if entry:
                archive = self.driver.archive(entry.archive_id)
                assert archive.is_stored
                assert self.driver.content(archive.id) == self.known[archive.id].committed

    @invariant()
    def no_reader_is_cut_off(self) -> None:
        for reader in self.readers:
            if self.now < reader.url_until:
                assert self.driver.content(reader.archive_id) == self.known[reader.archive_id].committed
            if self.now < reader.stream_until:
                for part in reader.objects:
                    assert self.driver.services.bucket.stat(part.key) == part

    @invariant()
    def merged_and_removed_archives_stay_so(self) -> None:
        for archive_id in self.known:
            archive = self.driver.services.table.archive(archive_id)
            if archive is None or archive.state is ArchiveState.DELETED:
                self.removed.add(archive_id)
                continue
            assert archive_id not in self.removed
            if archive.merge.state is MergeState.MERGED:
                assert archive.object is not None
                assert self.merged.setdefault(archive_id, archive.object) == archive.object
            else:
                assert archive_id not in self.merged

    @invariant()
    def usage_counts_every_entry_once(self) -> None:
        services = self.driver.services
        stored = total(map(Usage.of, services.table.stored_archives(REPOSITORY)))
        assert services.repositories.usage(REPOSITORY) == services.repositories.store_usage() == stored

    # ------------------------------------------------------------------ and in the end

    def teardown(self) -> None:
        """Check that after two days without crashes all is merged, and the bucket has just what the table points to."""
        during = audit(self.driver.services, self.now, 2 * DAY / SECOND)
        assert (during.missing, during.unowned) == ([], [])
        for _ in range(8):
            self.driver.clock.advance(6 * HOUR)
            self.driver.clean_up()
            self.driver.merge_all()
        assert audit(self.driver.services, self.now, DAY / SECOND).violations == {}
        held: set[str] = set()
        for archive_id in self.known:
            archive = self.driver.services.table.archive(archive_id)
            if archive and archive.state is ArchiveState.DELETED:
                assert self.now - archive.deleted_at < 12 * HOUR * SECOND, "it expired just now"
                held.update(ArchiveKeys(archive_id).prefix + key for key in self.driver.keys(archive_id))
            elif archive:
                assert archive.is_stored
                assert archive.object is not None
                assert self.driver.content(archive_id) == self.known[archive_id].committed
                held.add(archive.object.key)
        assert {part.key for part in self.driver.services.bucket.list("archives/")} == held
        assert not any(self.bucket.sent_parts(upload) for upload in self.direct.values())

    def reserved(self, key: str, *, is_direct: bool = False) -> str:
        """Reserve, and return the new archive's id, or an empty one if the key is taken."""
        entry, held = self.driver.services.table.entry(name(key)), self.driver.services.table.reservation(name(key))
        is_held = held is not None and held.expires_at > self.now
        try:
            archive_id = (self.driver.reserve_direct if is_direct else self.driver.reserve)(name(key))
        except AlreadyExists:
            assert entry or is_held
            return ""
        assert entry is None
        assert not is_held
        self.known[archive_id] = Upload(key)
        if offered := self.driver.archive(archive_id).direct:
            self.direct[archive_id] = MultipartUpload.of(offered)
        return archive_id

    @property
    def bucket(self) -> Bucket:
        """Return the bucket as clients have it, whose requests crash no server."""
        crashing_bucket: Any = self.driver.services.bucket
        bucket: Bucket = crashing_bucket._adapter
        return bucket

    @property
    def now(self) -> Millis:
        return self.driver.clock.now()

    def parts(self, archive: Archive) -> tuple[Part, ...]:
        return (archive.object,) if archive.object else self.driver.services.manifests.of(archive).parts


QUICK = settings(
    max_examples=6,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LONG = settings(
    max_examples=300, stateful_step_count=80, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def test_guarantees_hold_whatever_happens(on_moto: CacheDriver, is_long: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(direct_upload, "MIN_UPLOAD_PART_BYTES", 1)
    monkeypatch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", 1)

    class OnMoto(Protocol):
        def __init__(self) -> None:
            super().__init__()
            on_moto.forget_everything()
            self.driver, self.crashes = crashing(on_moto)

    run_state_machine_as_test(OnMoto, settings=LONG if is_long else QUICK)

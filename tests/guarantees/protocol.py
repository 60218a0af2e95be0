"""The whole protocol as a machine for hypothesis: what may happen, in any order, and what must hold after each step.

All guarantees but full speed and isolation, together. What tests/guarantees/model explores exhaustively, for one
archive and without bytes, is here driven through the use cases and adapters, with keys that are saved again and again.
"""

from dataclasses import dataclass, field
from itertools import count

import boto3
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from actions_cache.domain.archive import Archive, ArchiveState, MergeState, Part
from actions_cache.domain.budgets import Usage, total
from actions_cache.domain.claim import claimable_at
from actions_cache.domain.errors import AlreadyExists, CommittedDifferently, InvalidBlockList, InvalidRequest, NotFound
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.events import RunEnd
from actions_cache.merge import GivenUp
from actions_cache.ports import MergeMessage  # noqa: TC001 - hypothesis reads annotations
from dev.local.resources import Clients, create
from dev.local.template import Template
from dev.services import AllServices
from tests.conftest import settings_for
from tests.guarantees.mortal import Life, make_mortal
from tests.support.journey import REPOSITORY, Journey, SetClock, block_ids, name, plenty

KEYS = ("npm", "npm-1")
BLOCK_IDS = block_ids(3)
HOUR = 3600

WAITS = (1, 59, 61, 599, 2129, 2131, HOUR, 4 * HOUR + 1, 24 * HOUR, 7 * 24 * HOUR + 1)
"""Seconds: around a claim's, a lease's, a URL's, the grace's, a reservation's, the queue's and an entry's life."""

deaths = st.none() | st.integers(0, 12)
"""At which call; a merge of three parts makes about a dozen."""

block_lists = st.lists(st.sampled_from(BLOCK_IDS), min_size=1, max_size=3)


@dataclass
class Upload:
    key: str
    arrived: dict[str, bytes] = field(default_factory=dict)
    """The newest arrival of each block."""
    committed: bytes | None = None


@dataclass(frozen=True)
class Reader:
    """Whoever was sent to an archive: to its URL, which it may still use, and to the objects it streams already."""

    archive_id: str
    url_until: Millis
    objects: tuple[Part, ...]
    stream_until: Millis


class Protocol(RuleBasedStateMachine):
    journey: Journey
    life: Life

    uploads = Bundle("uploads")

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Upload] = {}
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
        """In one go, one block sent twice, and finalized with a wrong size first."""
        archive_id = self.reserved(key)
        if archive_id:
            for block_id in (*ids, ids[0]):
                self.put(archive_id, block_id)
            self.commit(archive_id, ids, None, takes_effect=False)
            self.finalize(key, 1, None, takes_effect=False)
            self.finalize(key, 0, None, takes_effect=False)
            assert self.journey.archive(archive_id).is_stored
        return archive_id

    @rule(archive_id=uploads, block_id=st.sampled_from(BLOCK_IDS))
    def put(self, archive_id: str, block_id: str) -> None:
        """Before the block list and after it, once or often, also long after the entry was removed."""
        archive = archive_id and self.journey.services.table.archive(archive_id)
        if archive and self.now < archive.upload_closes_at:
            self.puts += 1
            body = b"%d of %s" % (self.puts, archive_id[:4].encode())
            self.journey.put_block(archive_id, block_id, body)
            self.known[archive_id].arrived[block_id] = body

    @rule(archive_id=uploads, ids=block_lists, death=deaths, takes_effect=st.booleans())
    def commit(self, archive_id: str, ids: list[str], death: int | None, takes_effect: bool) -> None:
        if archive_id not in self.known:
            return
        upload = self.known[archive_id]
        with self.life.of(death, takes_effect=takes_effect):
            try:
                self.journey.services.commit_blocks(archive_id, ids)
            except InvalidBlockList:
                assert len(set(ids)) < len(ids) or not set(ids) <= set(upload.arrived)
            except (NotFound, CommittedDifferently):
                pass
        archive = self.journey.services.table.archive(archive_id)
        if archive and archive.commit and upload.committed is None:
            upload.committed = b"".join(upload.arrived[block_id] for block_id in ids)

    @rule(key=st.sampled_from(KEYS), off_by=st.sampled_from([0, 0, 0, 1]), death=deaths, takes_effect=st.booleans())
    def finalize(self, key: str, off_by: int, death: int | None, takes_effect: bool) -> None:
        """Names no upload: a late one meets whatever holds the key by now."""
        held = self.journey.services.table.reservation(name(key))
        upload = held and self.known.get(held.archive_id)
        size = len(upload.committed or b"") if upload else 0
        before = self.journey.services.table.entry(name(key))
        with self.life.of(death, takes_effect=takes_effect):
            try:
                entry = self.journey.services.finalize(name(key), (before.size if before else size) + off_by)
            except (InvalidRequest, NotFound):
                assert self.journey.services.table.entry(name(key)) == before
            else:
                assert off_by == 0
                assert before in (None, entry)

    @rule(key=st.sampled_from(KEYS))
    def download(self, key: str) -> None:
        """Looks up, and claims the merge if nobody has."""
        if self.journey.look_up(key) is None:
            return
        entry = self.journey.services.table.entry(name(key))
        if entry is None:
            return
        archive = self.journey.archive(entry.archive_id)
        chosen = self.journey.services.settings
        url_until = self.now + chosen.download_url_seconds * SECOND
        stream_until = self.now + chosen.max_stream_seconds * SECOND
        self.readers.append(Reader(archive.id, url_until, self.parts(archive), stream_until))
        claimable = claimable_at(archive, self.journey.services.lifetimes)
        if claimable is not None and claimable <= self.now:
            self.journey.services.claim_merge(archive.id)

    @rule(death=st.integers(0, 3), takes_effect=st.booleans(), archive_id=uploads)
    def claim_and_die(self, archive_id: str, death: int, takes_effect: bool) -> None:
        if archive_id not in self.known:
            return
        with self.life.of(death, takes_effect=takes_effect):
            self.journey.services.claim_merge(archive_id)

    @precondition(lambda self: self.messages)
    @rule(pick=st.integers(0, 99), death=deaths, takes_effect=st.booleans())
    def deliver(self, pick: int, death: int | None, takes_effect: bool) -> None:
        """Any message that ever was in the queue: late, out of order, or again."""
        message = self.messages[pick % len(self.messages)]
        before = self.journey.services.table.archive(message.archive_id)
        with self.life.of(death, takes_effect=takes_effect):
            try:
                outcome = self.journey.services.merge(message, plenty)
            except GivenUp:
                return
            if outcome is RunEnd.MERGED:
                assert before is not None
                assert before.object is None

    @rule(death=deaths, takes_effect=st.booleans())
    def clean_up(self, death: int | None, takes_effect: bool) -> None:
        with self.life.of(death, takes_effect=takes_effect):
            assert not self.journey.clean_up().get("failed")

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: str) -> None:
        entry = self.journey.services.table.entry(name(key))
        if entry:
            assert self.journey.services.remove_entry(entry.archive_id, lambda _: True)

    @rule(seconds=st.sampled_from(WAITS))
    def wait(self, seconds: int) -> None:
        self.journey.clock.advance(seconds)

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def the_queue_is_read(self) -> None:
        self.messages += self.journey.messages()

    @invariant()
    def every_entry_has_the_bytes_that_were_committed(self) -> None:
        for key in KEYS:
            entry = self.journey.services.table.entry(name(key))
            if entry:
                archive = self.journey.archive(entry.archive_id)
                assert archive.is_stored
                assert self.journey.content(archive.id) == self.known[archive.id].committed

    @invariant()
    def no_reader_is_cut_off(self) -> None:
        for reader in self.readers:
            if self.now < reader.url_until:
                assert self.journey.content(reader.archive_id) == self.known[reader.archive_id].committed
            if self.now < reader.stream_until:
                for part in reader.objects:
                    assert self.journey.services.bucket.stat(part.key) == part

    @invariant()
    def what_is_merged_stays_so_and_what_is_removed_stays_away(self) -> None:
        for archive_id in self.known:
            archive = self.journey.services.table.archive(archive_id)
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
    def usage_is_of_what_can_be_found(self) -> None:
        """Nothing leaks: every byte counts, whoever died between which writes."""
        services = self.journey.services
        stands = total(Usage(archive.size, 1) for archive in services.table.stored_archives(REPOSITORY))
        assert services.repositories.usage(REPOSITORY) == services.repositories.store_usage() == stands

    # ------------------------------------------------------------------ and in the end

    def teardown(self) -> None:
        """Two days without faults later, all is merged and the bucket is what the table points to."""
        for _ in range(8):
            self.journey.clock.advance(6 * HOUR)
            self.journey.clean_up()
            self.journey.merge_all()
        held: set[str] = set()
        for archive_id in self.known:
            archive = self.journey.services.table.archive(archive_id)
            if archive and archive.state is ArchiveState.DELETED:
                assert self.now - archive.deleted_at < 12 * HOUR * SECOND, "it expired just now"
                held.update(ArchiveKeys(archive_id).prefix + key for key in self.journey.keys(archive_id))
            elif archive:
                assert archive.is_stored
                assert archive.object is not None
                assert self.journey.content(archive_id) == self.known[archive_id].committed
                held.add(archive.object.key)
        assert {part.key for part in self.journey.services.bucket.list("archives/")} == held

    def reserved(self, key: str) -> str:
        """The new archive's id, or an empty one where the key is taken."""
        entry, held = self.journey.services.table.entry(name(key)), self.journey.services.table.reservation(name(key))
        is_held = held is not None and held.expires_at > self.now
        try:
            archive_id = self.journey.reserve(name(key))
        except AlreadyExists:
            assert entry or is_held
            return ""
        assert entry is None
        assert not is_held
        self.known[archive_id] = Upload(key)
        return archive_id

    @property
    def now(self) -> Millis:
        return self.journey.clock.now()

    def parts(self, archive: Archive) -> tuple[Part, ...]:
        return (archive.object,) if archive.object else self.journey.services.manifests.of(archive).parts


def run_on_moto(template: Template, session: boto3.Session, runs: settings) -> None:
    """Each run has resources of its own; moto runs already."""
    prefixes = count()

    class OnMoto(Protocol):
        def __init__(self) -> None:
            super().__init__()
            clients = Clients.of(session)
            resources = create(template, clients, prefix=f"run-{next(prefixes)}")
            clock, self.life = SetClock(), Life()
            services = AllServices(settings_for(resources.environment("ApiFunction")), clock)
            services.session = session
            make_mortal(services, self.life)
            self.journey = Journey(services, clock, clients.s3, clients.sqs)

    run_state_machine_as_test(OnMoto, settings=runs)

"""One client of a soak run: saves, restores at every speed, removals, and what clients that die leave behind."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from threading import Event
from urllib.parse import urlsplit

from dev.clients.wire import ACTIONS_CACHE, GO, Job, Reply, put_blob, put_block, put_block_list, random_block_id, send
from tests.guarantees.faults.slow_reader import read_at
from tests.guarantees.soak.tally import HEADER_BYTES, Slot, Status, Tally, Violation

KIB, MIB = 1024, 1024 * 1024

PAUSE_SECONDS = (0.3, 4)
"""Pause between two operations of a client: two cores run the emulators, the server and all clients."""

SLOW_BYTES_PER_SECOND = MIB / 2
"""Rate at which the longest content, of 8 MiB, takes half of the time that a stream may."""


@dataclass
class SoakClient:
    """A client that picks its operations at random.

    Attributes:
        own: Slots that this client alone changes.
        all_slots: Slots that it reads.
        remove: Removes the entry of a key, as an administrator would.
        unused_seconds: Time since the last use after which an entry may be removed.
    """

    server: str
    token: str
    own: Sequence[Slot]
    all_slots: Sequence[Slot]
    remove: Callable[[str], bool]
    unused_seconds: float
    tally: Tally
    rng: Random
    _old_upload: str | None = None
    _orphans: int = 0

    def run(self, stop: Event) -> None:
        while not stop.is_set():
            slot = self.rng.choice(self.own)
            for kind, act in self._next(slot):
                with self.tally.operation(kind):
                    act(slot)
            stop.wait(self.rng.uniform(*PAUSE_SECONDS))

    def _next(self, slot: Slot) -> Sequence[tuple[str, Callable[[Slot], None]]]:
        if slot.view.status is not Status.PRESENT:
            return [("save", self._save), ("restore", self._restore)]
        removal = ("remove", self._remove)
        others = ("restore of others'", self._restore_others)
        return self.rng.choices(
            [
                [("restore", self._restore)],
                [others],
                [("ranges", self._read_ranges)],
                [("slow restore", self._restore_slowly)],
                [removal],
                [removal, ("save again", self._save)],
                [("abandoned upload", self._abandon)],
                [("late PUT", self._put_late)],
            ],
            weights=[30, 20, 20, 5, 5, 8, 4, 8],
        )[0]

    # ---------------------------------------------------------------- writing

    def _save(self, slot: Slot) -> None:
        sizes = self._block_sizes()
        body = slot.saving(sum(sizes))
        job = self._job()
        url = job.reserve(slot.key)
        if len(sizes) == 1:
            _expect("Put Blob", put_blob(url, body), 201)
        else:
            self._put_blocks(url, sizes, body)
        self.tally.count("bytes sent", len(body))
        reply = _expect("Finalize", job.finalize(slot.key, len(body)), 200)
        if not reply.json["ok"]:
            raise Violation("Finalize", repr(reply.body))
        slot.became(Status.PRESENT)
        self._old_upload = url

    def _put_blocks(self, url: str, sizes: Sequence[int], body: bytes) -> None:
        """Put the blocks out of order, and some twice, as clients do that got no answer."""
        ids = [random_block_id() for _ in sizes]
        order = list(range(len(sizes)))
        self.rng.shuffle(order)
        for i in [*order, *order[: self.rng.choice([0, 0, 0, 1])]]:
            start = sum(sizes[:i])
            _expect("Put Block", put_block(url, ids[i], body[start : start + sizes[i]]), 201)
        for _ in range(self.rng.choice([1, 1, 2])):
            _expect("Put Block List", put_block_list(url, ids), 201)

    def _block_sizes(self) -> Sequence[int]:
        blob = [self.rng.randint(HEADER_BYTES, 512 * KIB)]
        small = [MIB] * self.rng.randint(2, 5) + [self.rng.randint(1, MIB)]
        large = [self.rng.randint(5 * MIB, 6 * MIB), self.rng.randint(1, 2 * MIB)]
        return self.rng.choices([blob, small, large], weights=[5, 3, 2])[0]

    def _remove(self, slot: Slot) -> None:
        slot.became(Status.CHANGING)
        self.remove(slot.key)
        slot.became(Status.ABSENT)

    def _abandon(self, slot: Slot) -> None:
        """Leave an upload behind, as a job that died after its blocks or before its Finalize."""
        self._orphans += 1
        url = self._job().reserve(f"{slot.key} abandoned {self._orphans:06d}")
        ids = [random_block_id() for _ in range(2)]
        for block_id in ids:
            _expect("Put Block", put_block(url, block_id, self.rng.randbytes(64 * KIB)), 201)
        if self.rng.random() < 0.5:
            _expect("Put Block List", put_block_list(url, ids), 201)

    def _put_late(self, slot: Slot) -> None:
        """PUT into a finalized upload: while its URL lives this is accepted, and changes nothing."""
        if self._old_upload:
            reply = put_blob(self._old_upload, self.rng.randbytes(32 * KIB))
            if reply.status not in (201, 403):
                raise Violation("late PUT", f"{reply.status} {reply.body[:200]!r}")

    # ---------------------------------------------------------------- reading

    def _restore(self, slot: Slot) -> None:
        self._read(slot, ACTIONS_CACHE, lambda url: [(0, _whole(url))])

    def _restore_others(self, slot: Slot) -> None:
        self._restore(self.rng.choice(self.all_slots))

    def _restore_slowly(self, slot: Slot) -> None:
        self._read(slot, ACTIONS_CACHE, lambda url: [(0, read_at(url, SLOW_BYTES_PER_SECOND))])

    def _read_ranges(self, slot: Slot) -> None:
        """Read ranges as BuildKit does when it seeks."""

        def pieces(url: str) -> list[tuple[int, bytes]]:
            head = _expect("range", send("GET", url, headers={"x-ms-range": f"bytes=0-{HEADER_BYTES - 1}"}), 206)
            size = int(head.headers["Content-Range"].rpartition("/")[2])
            start = self.rng.randrange(size)
            tail = _expect("range", send("GET", url, headers={"x-ms-range": f"bytes={start}-"}), 206)
            if len(tail.body) != size - start:
                raise Violation("wrong length", f"{slot.key}: {len(tail.body)} bytes from {start} of {size}")
            return [(0, head.body), (start, tail.body)]

        self._read(slot, GO, pieces)

    def _read(self, slot: Slot, user_agent: str, fetch: Callable[[str], list[tuple[int, bytes]]]) -> None:
        """Look an entry up, fetch it, and check the result.

        Args:
            slot: The entry.
            user_agent: The client's name.
            fetch: Returns pieces with their offsets, the first from 0 on; a single one is the whole content.
        """
        before, began = slot.view, time.monotonic()
        hit = self._job(user_agent).look_up(slot.key)
        after = slot.view
        if not hit["ok"]:
            if before.must_hit(after, self.unused_seconds):
                raise Violation("lost entry", f"{slot.key}, generation {before.generation}, isn't found")
            if slot in self.own and slot.view.status is Status.PRESENT:
                slot.became(Status.ABSENT)
            return
        if before.must_miss(after):
            raise Violation("removed entry", f"{slot.key}, generation {before.generation}, is found though removed")
        url = hit["signed_download_url"]
        path = urlsplit(url).path
        where = next((kind for kind in ("download", "object") if path.startswith(f"/blobs/{kind}/")), "presigned")
        self.tally.count(f"reads by {where} URL")
        pieces = fetch(url)
        generation = int(pieces[0][1][:HEADER_BYTES])
        if not before.generation <= generation <= after.generation:
            raise Violation("wrong entry", f"{slot.key}: {generation}, not {before.generation}-{after.generation}")
        expected = slot.content(generation)
        for start, piece in pieces:
            end = len(expected) if len(pieces) == 1 else start + len(piece)
            if piece != expected[start:end]:
                raise Violation("wrong bytes", f"{slot.key}, generation {generation}, from {start} on")
            self.tally.count("bytes checked", len(piece))
        slot.was_used(generation, began)

    def _job(self, user_agent: str = ACTIONS_CACHE) -> Job:
        return Job(self.server, self.token, user_agent)


def _expect(what: str, reply: Reply, status: int) -> Reply:
    if reply.status != status:
        raise Violation(f"{what}: {reply.status}", repr(reply.body[:300]))
    return reply


def _whole(url: str) -> bytes:
    reply = send("GET", url)
    if reply.status == 302:
        reply = send("GET", reply.headers["Location"])
    return _expect("download", reply, 200).body

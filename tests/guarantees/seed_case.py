"""The case that this project came from, as a scenario that a test can run against any variant.

Eight readers start together on an unmerged entry of thirteen parts, while its merge is half-way. Seven read as fast as
they can; the eighth dawdles until the merge has ended.
"""

import asyncio
import hashlib
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.request import urlopen

from actions_cache.domain.archive import MergeState
from actions_cache.domain.merge_plan import MIB
from actions_cache.domain.ranges import PartRange
from actions_cache.download_services import DownloadServices
from actions_cache.events import RunEnd
from actions_cache.ports import Chunk, MergeMessage, MultipartUpload, PartReader, UploadedPart
from dev.clients.driver import CacheDriver, name, plenty
from dev.emulation.asgi_server import served
from functions.download.handler import create_app

PARTS = [bytes([i]) * (6 * MIB + i) for i in range(13)]
CONTENT = b"".join(PARTS)
KEY = name("linux-npm-1")
READERS = 8

Merge = Callable[[MergeMessage, Callable[[], int]], RunEnd]


@dataclass
class HalfWay:
    """Wraps the merge's bucket, whose copies stop half-way until they may go on."""

    bucket: Any
    reached: threading.Event = field(default_factory=threading.Event)
    may_go_on: threading.Event = field(default_factory=threading.Event)
    copied: set[str] = field(default_factory=set)
    completed: int = 0

    def __getattr__(self, method: str) -> Any:
        return getattr(self.bucket, method)

    def copy_part(self, upload: MultipartUpload, number: int, source: PartRange) -> UploadedPart:
        if number > len(PARTS) // 2:
            self.reached.set()
            assert self.may_go_on.wait(60)
        copied: UploadedPart = self.bucket.copy_part(upload, number, source)
        self.copied.add(source.part.key)
        return copied

    def complete_upload(self, upload: MultipartUpload, parts: Sequence[UploadedPart]) -> None:
        self.bucket.complete_upload(upload, parts)
        self.completed += 1


@dataclass
class SeedCase:
    driver: CacheDriver
    break_merge: Callable[[Merge, CacheDriver], Merge] = lambda merge, _: merge
    break_reader: Callable[[PartReader, HalfWay], PartReader] = lambda reader, _: reader
    timeout_seconds: float = 60

    def run(self) -> None:
        """Run the scenario.

        Raises:
            AssertionError: A guarantee, which the message names, is broken.
        """
        driver = self.driver
        half_way = HalfWay(driver.services.bucket)
        merge = self.break_merge(replace(driver.services.merge, bucket=half_way), driver)
        data = DownloadServices(driver.services)
        data.download = replace(data.download, reader=self.break_reader(data.stream, half_way))

        entry = driver.save(KEY, *PARTS)
        parts = [key for key in driver.keys(entry.archive_id) if key.startswith("parts/")]
        [message] = driver.messages()
        merge_ended = threading.Event()
        with ThreadPoolExecutor(2 + READERS) as executor, served(create_app(data)) as base_url:
            try:
                # The queue delivers at least once: here twice, at the same time.
                merges = [executor.submit(merge, message, plenty) for _ in range(2)]
                assert half_way.reached.wait(30), "the merge didn't get half-way"
                together = threading.Barrier(READERS)
                readers = [
                    executor.submit(self._read, base_url, together, merge_ended if i == 0 else None)
                    for i in range(READERS)
                ]
                self._assert_fast_readers_did_not_wait(readers[1:], entry.archive_id)
                half_way.may_go_on.set()
                outcomes = {future.result(60) for future in merges}
                assert outcomes == {RunEnd.MERGED, RunEnd.NOT_OURS}, f"single merge: {outcomes}"
                assert half_way.completed == 1, f"single merge: {half_way.completed} merges were completed"
                left = [key for key in driver.keys(entry.archive_id) if key.startswith("parts/")]
                assert left == parts, f"readers cut off: {len(parts) - len(left)} parts were gone when the merge ended"
                merge_ended.set()
                digests = {future.result(60) for future in readers}
                assert digests == {digest(CONTENT)}, "right bytes: a reader got others"
            finally:
                half_way.may_go_on.set()
                merge_ended.set()
        self._assert_merged_entry_restores()
        driver.clock.advance(driver.services.settings.grace_seconds)
        driver.clean_up()
        [left_over] = driver.keys(entry.archive_id)
        assert left_over.startswith("merged/")
        self._assert_merged_entry_restores()

    def _read(self, base_url: str, together: threading.Barrier, dawdles_until: threading.Event | None) -> str:
        hit = self.driver.look_up(KEY.key)
        assert hit is not None
        assert hit.url.startswith("/blobs/download/")
        together.wait(30)
        sha = hashlib.sha256()
        with urlopen(base_url + hit.url, timeout=60) as answer:
            sha.update(answer.read(MIB))
            if dawdles_until:
                dawdles_until.wait(60)
            while chunk := answer.read(MIB):
                sha.update(chunk)
        return sha.hexdigest()

    def _assert_fast_readers_did_not_wait(self, fast: Sequence[Future[str]], archive_id: str) -> None:
        ended, waiting = wait(fast, timeout=self.timeout_seconds)
        assert not waiting, f"full speed: {len(waiting)} readers waited for the merge"
        assert {future.result() for future in ended} == {digest(CONTENT)}
        assert self.driver.archive(archive_id).merge.state is MergeState.RUNNING

    def _assert_merged_entry_restores(self) -> None:
        hit = self.driver.look_up(KEY.key)
        assert hit is not None
        assert hit.url.startswith(self.driver.s3.meta.endpoint_url), "not presigned"
        with urlopen(hit.url, timeout=60) as answer:
            assert digest(answer.read()) == digest(CONTENT)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def deletes_parts_inline(merge: Merge, driver: CacheDriver) -> Merge:
    """Put the second defect of github-actions-cache-server into a merge."""

    def broken(message: MergeMessage, remaining: Callable[[], int]) -> RunEnd:
        outcome = merge(message, remaining)
        if outcome is RunEnd.MERGED:
            parts = driver.services.manifests.of(driver.archive(message.archive_id)).parts
            driver.services.bucket.delete([part.key for part in parts])
        return outcome

    return broken


@dataclass
class FedByTheMerge:
    """Has the first defect of github-actions-cache-server: parts reach readers only as the merge gets to them."""

    reader: PartReader
    half_way: HalfWay

    async def read(self, source: PartRange) -> AsyncGenerator[Chunk, None]:
        while source.part.key not in self.half_way.copied:  # noqa: ASYNC110 - set in another thread
            await asyncio.sleep(0.05)
        async for chunk in self.reader.read(source):
            yield chunk

"""A download has exactly the archive's bytes, whatever its manifest and its store say, and waits for no merge."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from actions_cache.archives import Manifests
from actions_cache.domain import claim
from actions_cache.domain.archive import Manifest, Part
from actions_cache.domain.errors import NotFound
from actions_cache.domain.ranges import PartRange
from actions_cache.download import Content
from actions_cache.download_services import DownloadServices
from actions_cache.ports import Unavailable, WrongBytes
from dev.clients.driver import CacheDriver, name

PARTS = [b"first", b"second", b"third"]


@dataclass
class Store:
    """Brings the same bytes for each part that is read, whatever part that is."""

    brings: bytes | None = None
    """Bytes of each part; None for as many as the part has."""

    async def read(self, source: PartRange) -> AsyncGenerator[bytes, None]:
        yield b"x" * source.size if self.brings is None else self.brings


async def download(driver: CacheDriver, store: Store, **changes: Any) -> bytes:
    """Save an entry and download it.

    Args:
        driver: The driver of the use cases.
        store: The store that the parts are read from.
        changes: Changed fields of the use case that downloads.
    """
    entry = driver.save(name("npm"), *PARTS)
    downloading = replace(DownloadServices(driver.services).download, reader=store, **changes)
    content = await downloading(entry.archive_id, None, can_read_from_s3=False, through_edge=False)
    assert isinstance(content, Content)
    assert content.size == 16
    return b"".join([bytes(chunk) async for chunk in content.chunks])


async def test_download_has_as_many_bytes_as_its_archive(driver: CacheDriver):
    assert len(await download(driver, Store())) == 16


@pytest.mark.parametrize("listed", [2, 0], ids=["all but one", "none"])
async def test_manifest_of_fewer_bytes_breaks_download(
    driver: CacheDriver, monkeypatch: pytest.MonkeyPatch, listed: int
):
    whole = Manifests.of

    def shortened(self: Manifests, archive: object) -> Manifest:
        parts: tuple[Part, ...] = whole(self, archive).parts  # type: ignore[arg-type]
        return Manifest(parts[:listed])

    monkeypatch.setattr(Manifests, "of", shortened)
    with pytest.raises(Unavailable, match=r"\d+ bytes of 16"):
        await download(driver, Store())


async def test_store_with_more_bytes_breaks_download(driver: CacheDriver):
    with pytest.raises(Unavailable, match="21 bytes of 16"):
        await download(driver, Store(b"sevens!"))


async def test_bytes_with_another_etag_break_download(driver: CacheDriver):
    with pytest.raises(WrongBytes):
        await download(driver, Store(), checks_parts=True)


async def test_download_waits_for_no_claim(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch):
    """The claim is a write and a message; either may take long."""
    monkeypatch.setattr(claim, "claimed", lambda *_: None)
    is_read = threading.Event()

    def claim_merge(_: str) -> bool:
        return is_read.wait(30)

    try:
        assert len(await asyncio.wait_for(download(driver, Store(), claim_merge=claim_merge), 10)) == 16
    finally:
        is_read.set()


async def test_removed_entry_is_readable_in_its_grace(driver: CacheDriver):
    """Its URLs were given out before."""
    entry = driver.save(name("npm"), *PARTS)
    downloading = DownloadServices(driver.services).download
    driver.services.remove_entry(entry.archive_id, lambda _: True)
    driver.clock.advance(driver.services.settings.grace_seconds - 1)
    assert (await downloading.describe(entry.archive_id)).size == 16
    driver.clock.advance(1)
    with pytest.raises(NotFound):
        await downloading.describe(entry.archive_id)

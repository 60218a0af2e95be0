"""Isolation: a signed URL is good for one archive or object, one direction, and a while.

Tokens have tests of their own: test_isolation.py.
"""

import string
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast
from urllib.parse import urlsplit

import pytest

from actions_cache.domain.archive import Archive
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.signing import Direction, signed_path
from actions_cache.domain.timing import SECOND
from dev.clients.driver import block_ids
from dev.clients.runtime_token import READ_WRITE
from dev.clients.wire import Reply, put_blob, put_block, put_block_list, random_block_id, send
from tests.guarantees.isolation import FEATURE, OURS, VerifiedServer
from tests.support.part_list_reader import MEDIA_TYPE, PartListReader


@dataclass(frozen=True)
class Signed:
    """Holds URLs for each direction, of two archives each, so that one's signature can be tried on the other."""

    uploads: tuple[str, str]
    downloads: tuple[str, str]
    objects: tuple[str, str]

    @property
    def by_direction(self) -> dict[Direction, tuple[str, str]]:
        return {Direction.UPLOAD: self.uploads, Direction.DOWNLOAD: self.downloads, Direction.OBJECT: self.objects}


@pytest.fixture
def signed(server: VerifiedServer) -> Signed:
    """Make open uploads, archives in parts, and archives of one object."""
    job = server.job(OURS, (FEATURE, READ_WRITE))
    uploads, downloads, objects = [], [], []
    for _ in range(2):
        uploads.append(job.reserve(server.new_key()))
        in_parts, whole = server.new_key(), server.new_key()
        job.save(in_parts, b"first part", b"second part")
        job.save(whole, b"one object")
        downloads.append(job.download_url(in_parts))
        objects.append(job.download_url(whole))
    made = Signed((uploads[0], uploads[1]), (downloads[0], downloads[1]), (objects[0], objects[1]))
    for direction, (url, _) in made.by_direction.items():
        assert f"/blobs/{direction}/" in url
    return made


BASE64URL = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def _with(url: str, *, path: str | None = None, se: str | None = None, sig: str | None = None) -> str:
    parts = urlsplit(url)
    old_se, old_sig = (pair.partition("=")[2] for pair in parts.query.split("&"))
    query = f"se={old_se if se is None else se}&sig={old_sig if sig is None else sig}"
    return f"{parts.scheme}://{parts.netloc}{parts.path if path is None else path}?{query}"


def _altered(url: str, other: str) -> Iterator[tuple[str, str]]:
    """Yield altered URLs.

    Args:
        url: A good URL.
        other: A good URL of the same direction for another archive.
    """
    parts = urlsplit(url)
    se, sig = (pair.partition("=")[2] for pair in parts.query.split("&"))
    for at in (0, len(sig) // 2, len(sig) - 1):
        # The last character's lowest bits stand for nothing, so this one decodes to the same bytes.
        swapped = BASE64URL[BASE64URL.index(sig[at]) ^ 1]
        yield f"character {at} of the signature", _with(url, sig=sig[:at] + swapped + sig[at + 1 :])
    yield "a shorter signature", _with(url, sig=sig[:-1])
    yield "a longer signature", _with(url, sig=sig + "A")
    yield "a padded signature", _with(url, sig=sig + "=")
    yield "a signature in another case", _with(url, sig=sig.swapcase())
    yield "an empty signature", _with(url, sig="")
    yield "a later expiry", _with(url, se=str(int(se) + 1))
    yield "the same expiry, written otherwise", _with(url, se="0" + se)
    yield "an expiry with a sign", _with(url, se="%2B" + se)
    yield "an expiry in another script", _with(url, se="".join(f"%D9%A{digit}" for digit in se))
    yield "no expiry", _with(url, se="")
    yield "another archive's signature", _with(url, sig=urlsplit(other).query.partition("sig=")[2])
    yield "another archive's path", _with(url, path=urlsplit(other).path)
    yield "a second signature behind", f"{url}&sig=A"
    yield "a second expiry", f"{url}&se=9999999999"
    yield "a path that climbs", _with(url, path=f"{parts.path}/../{urlsplit(other).path.rpartition('/')[2]}")
    yield "a slash behind", _with(url, path=parts.path + "/")


def _spelled_otherwise(url: str) -> Iterator[str]:
    """Yield spellings with the signature whole, which edge and API may read differently, or not at all."""
    path, _, query = url.partition("?")
    yield f"{path}?sig=A&{query}"
    yield f"{path}?se=9999999999&{query}"
    yield f"{path}?{query}&{query}"
    yield f"{path}?{'&'.join(reversed(query.split('&')))}"
    yield f"{path.replace('/blobs/', '/blobs%2F')}?{query}"
    yield f"{path.replace('/blobs/', '//blobs/')}?{query}"
    yield f"{path.replace('/blobs/', '/x/../blobs/')}?{query}"


def _attempts(url: str) -> Iterator[tuple[str, Reply]]:
    yield "GET", send("GET", url)
    yield "x-ms-range", send("GET", url, headers={"x-ms-range": "bytes=0-"})
    yield "part list", send("GET", url, headers={"Accept": MEDIA_TYPE})
    yield "HEAD", send("HEAD", url)
    yield "PUT", put_blob(url, b"forged")
    yield "PUT block", put_block(url, random_block_id(), b"forged")
    yield "PUT block list", put_block_list(url, [])
    yield "DELETE", send("DELETE", url)
    yield "POST", send("POST", url, b"")


ALLOWED = {
    Direction.UPLOAD: {"PUT", "PUT block", "PUT block list"},
    Direction.DOWNLOAD: {"GET", "x-ms-range", "part list", "HEAD"},
    Direction.OBJECT: {"GET", "x-ms-range", "part list", "HEAD"},
}
"""An empty block list is a good one."""


def test_good_url_opens_its_own_direction_alone(signed: Signed):
    for direction, (url, _) in signed.by_direction.items():
        opened = {attempt for attempt, reply in _attempts(url) if reply.status < 400}
        assert opened == ALLOWED[direction], direction


def test_altered_url_opens_and_changes_nothing(server: VerifiedServer, signed: Signed):
    before = server.everything()
    opened = [
        (str(direction), alteration, attempt, reply.status)
        for direction, (url, other) in signed.by_direction.items()
        for alteration, altered in _altered(url, other)
        for attempt, reply in _attempts(altered)
        if not 400 <= reply.status < 500
    ]
    assert opened == []
    assert server.everything() == before


def test_other_spelling_of_a_url_opens_no_more_than_it(signed: Signed):
    opened = [
        (spelling, attempt, reply.status)
        for direction, (url, _) in signed.by_direction.items()
        for spelling in _spelled_otherwise(url)
        for attempt, reply in _attempts(spelling)
        if reply.status >= 500 or (reply.status < 400 and attempt not in ALLOWED[direction])
    ]
    assert opened == []


def test_signature_is_good_for_no_other_path(server: VerifiedServer, signed: Signed):
    """Each path is tried with each good signature that isn't its own."""
    before = server.everything()
    urls = [url for pair in signed.by_direction.values() for url in pair]
    paths = sorted({url.partition("?")[0] for url in (*urls, *_other_objects(server, signed))})
    opened = [
        (path, signed_as, attempt, reply.status)
        for path, signed_as in product(paths, urls)
        if path != signed_as.partition("?")[0]
        for attempt, reply in _attempts(f"{path}?{signed_as.partition('?')[2]}")
        if reply.status not in (403, 404, 405)
    ]
    assert opened == []
    assert server.everything() == before


def _other_objects(server: VerifiedServer, signed: Signed) -> Iterator[str]:
    """Yield object URLs that nobody was given: parts, a manifest, another size, the other directions' archives."""
    for url in (*signed.downloads, *signed.objects):
        archive_id = next(part for part in urlsplit(url).path.split("/") if len(part) == 32)
        for part in server.services.bucket.list(ArchiveKeys(archive_id).prefix):
            yield f"{server.url}/blobs/object/{part.size}/{part.key.removeprefix('archives/')}"
            yield f"{server.url}/blobs/object/{part.size + 1}/{part.key.removeprefix('archives/')}"
    for url in (*signed.uploads, *signed.downloads):
        archive_id = urlsplit(url).path.rpartition("/")[2]
        yield f"{server.url}/blobs/upload/{archive_id}"
        yield f"{server.url}/blobs/download/{archive_id}"


def test_signature_of_a_listed_part_opens_that_part_alone(server: VerifiedServer, signed: Signed):
    """The whole bucket is tried with each; as text, since S3 knows no other way to name a key."""
    stored = [part.key for part in server.services.bucket.list("")]
    lists = [PartListReader.of(url).message for url in signed.downloads]
    opened = set()
    for listed in lists:
        for own, _, _, signature in listed["parts"]:
            for key in stored:
                query = f"{listed['query']}&X-Amz-Signature={signature}"
                if send("GET", f"{listed['base']}{key}?{query}").status != 403:
                    opened.add((own, key))
    assert opened == {(own, own) for listed in lists for own, *_ in listed["parts"]}


@pytest.mark.parametrize(
    ("seconds_left", "secret"), [(0, None), (-1, None), (-3600, None), (600, ""), (600, " "), (600, "another")]
)
def test_expired_or_forged_url_opens_nothing(
    server: VerifiedServer, signed: Signed, seconds_left: int, secret: str | None
):
    """The secret is the server's own where none is named."""
    before, [current, *_] = server.everything(), server.services.urls.secrets.current()
    expires_at = int(time.time() + seconds_left) * SECOND
    server.driver.clock.at = max(server.driver.clock.at, expires_at if seconds_left <= 0 else 0)
    for direction, (url, _) in signed.by_direction.items():
        subject = urlsplit(url).path.removeprefix(f"/blobs/{direction}/")
        made = signed_path(direction, subject, expires_at, current if secret is None else secret)
        for attempt, reply in _attempts(server.url + made):
            assert reply.status in (403, 405), (direction, attempt, reply.status)
    assert server.everything() == before


# ------------------------------------------------------------------ replays


def _replay(url: str, ids: Sequence[str]) -> None:
    assert put_blob(url, b"replayed").status == 201
    assert [put_block(url, block_id, b"replayed block").status for block_id in ids] == [201] * len(ids)
    assert put_block_list(url, [*ids, *ids] or [random_block_id()]).status in (400, 404, 409)


def _as_saved(archive: Archive) -> tuple[object, ...]:
    return archive.state, archive.commit, archive.object, archive.stored_at


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_upload_url_changes_nothing_after_the_commit(server: VerifiedServer, blocks: int):
    job, key = server.job(OURS, (FEATURE, READ_WRITE)), server.new_key()
    url, ids = job.reserve(key), block_ids(blocks)
    pieces = [f"piece {i}".encode() for i in range(blocks)] or [b"blob"]
    if blocks:
        assert [put_block(url, *block).status for block in zip(ids, pieces, strict=True)] == [201] * blocks
        assert put_block_list(url, ids).status == 201
        _replay(url, ids)
    else:
        assert put_blob(url, pieces[0]).status == 201
    assert job.finalize(key, sum(map(len, pieces))).json["ok"]
    archive_id = cast("str", server.archive_of(OURS, FEATURE, key))
    saved = _as_saved(server.driver.archive(archive_id))

    _replay(url, ids)

    assert _as_saved(server.driver.archive(archive_id)) == saved
    assert job.restore(key).body == b"".join(pieces)


def test_urls_of_a_removed_entry_never_reach_its_successor(server: VerifiedServer):
    job, key = server.job(OURS, (FEATURE, READ_WRITE)), server.new_key()
    old_upload = job.reserve(key)
    assert put_blob(old_upload, b"the old one").status == 201
    assert job.finalize(key, 11).json["ok"]
    old_download = job.download_url(key)
    assert server.services.remove_entry(cast("str", server.archive_of(OURS, FEATURE, key)), lambda _: True)
    new_upload = job.reserve(key)
    assert put_blob(new_upload, b"the new one").status == 201

    _replay(old_upload, [])
    assert job.finalize(key, 11).json["ok"]
    _replay(old_upload, [])

    assert job.restore(key).body == b"the new one"
    assert send("GET", old_download).body == b"the old one"

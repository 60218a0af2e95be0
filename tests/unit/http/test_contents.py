"""Answers with an archive's bytes, from a real store, have a safe type and honour pinned ETags."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from actions_cache.domain.signing import Direction
from actions_cache.domain.timing import SECOND
from actions_cache.http.headers import INERT_HEADERS
from dev.clients.driver import CacheDriver, name
from dev.clients.wire import Reply, send
from dev.emulation.asgi_server import served
from functions.api import handler as api
from functions.download import handler as download

PAGE = b"<!doctype html><script>alert(document.cookie)</script>"
OCTET_STREAM = "application/octet-stream"


@dataclass
class Functions:
    driver: CacheDriver
    api: str
    download: str

    def signed(self, direction: Direction, archive_id: str) -> str:
        return self.driver.services.urls.sign(direction, archive_id, self.driver.clock.now() + 60 * SECOND)

    def saved(self, *parts: bytes) -> str:
        """Save an entry, and return the path of its download URL."""
        self.driver.clock.advance(1)
        entry = self.driver.save(name(f"npm-{self.driver.clock.now()}"), *parts)
        return self.signed(Direction.DOWNLOAD, entry.archive_id)


@pytest.fixture
def functions(on_emulators: CacheDriver) -> Iterator[Functions]:
    services = on_emulators.services
    with served(api.create_app(services)) as api_url, served(download.create_app(services.downloads)) as download_url:
        yield Functions(on_emulators, api_url, download_url)


def assert_inert(reply: Reply) -> None:
    assert {header: reply.headers[header] for header in INERT_HEADERS} == INERT_HEADERS


def test_saved_page_is_served_as_binary(functions: Functions):
    path = functions.saved(PAGE[:20], PAGE[20:])
    streamed, described = send("GET", functions.download + path), send("HEAD", functions.api + path)
    ranged = send("GET", functions.download + path, headers={"x-ms-range": "bytes=1-"})
    assert (streamed.body, ranged.body) == (PAGE, PAGE[1:])
    for reply in (streamed, described, ranged):
        assert reply.headers["Content-Type"] == OCTET_STREAM
        assert_inert(reply)


def test_blob_errors_and_redirects_are_inert(functions: Functions):
    refused = send("GET", f"{functions.download}/blobs/download/x?se=1&sig=x")
    behind = send("GET", functions.download + functions.saved(PAGE), headers={"x-ms-range": "bytes=999-"})
    redirect = send("GET", functions.download + functions.saved(PAGE))
    unknown = send("DELETE", f"{functions.api}/blobs/upload/x")
    assert [reply.status for reply in (refused, behind, redirect, unknown)] == [403, 416, 302, 405]
    for reply in (refused, behind, redirect, unknown):
        assert_inert(reply)


def test_client_content_type_is_ignored(functions: Functions):
    archive_id = functions.driver.reserve(name("npm-1"))
    url = functions.api + functions.signed(Direction.UPLOAD, archive_id)
    named = {"Content-Type": "text/html", "x-ms-blob-content-type": "text/html"}
    for query in ("", "&comp=block&blockid=QQ=="):
        assert send("PUT", url + query, PAGE, named).status == 201
    bucket = functions.driver.services.settings.bucket
    for key in functions.driver.keys(archive_id):
        stored = functions.driver.s3.head_object(Bucket=bucket, Key=f"archives/{archive_id}/{key}")
        assert stored["ContentType"] == OCTET_STREAM, key


TAGS = {
    **dict.fromkeys(('"{id}"', ' "{id}" '), True),
    **dict.fromkeys(('W/"{id}"', '"another"', '"{id}", "another"', "*", ""), False),
    "Wed, 21 Oct 2015 07:28:00 GMT": False,
}
IGNORED = [("If-None-Match", '"{id}"'), ("If-None-Match", "*")]
IGNORED += [("If-Modified-Since", "Fri, 31 Dec 2100 23:59:59 GMT")]
IGNORED += [("If-Unmodified-Since", "Wed, 21 Oct 2015 07:28:00 GMT")]
"""The bytes behind a URL never change, and a streamed answer without a body, as 304 has, may not end."""


def test_range_needs_matching_if_range(functions: Functions):
    """RFC 9110, 13.1.5: otherwise the client would join two archives' bytes. The merged object has another ETag."""
    path = functions.saved(b"0123", b"456789")
    for merge in (list, functions.driver.merge_all):
        merge()
        for tag, applies in TAGS.items():
            headers = {"If-Range": tag.replace("{id}", archive_of(path)), "Range": "bytes=2-5"}
            reply = send("GET", functions.download + path, headers=headers)
            assert (reply.status, reply.body) == ((206, b"2345") if applies else (200, b"0123456789")), tag


def test_other_conditions_are_ignored(functions: Functions):
    path = functions.saved(b"0123", b"456789")
    # Azure's clients assume that their range is honoured, whatever the status.
    reply = send("GET", functions.download + path, headers={"If-Range": '"another"', "x-ms-range": "bytes=2-5"})
    assert (reply.status, reply.body) == (206, b"2345")
    for header, value in IGNORED:
        reply = send("GET", functions.download + path, headers={header: value.replace("{id}", archive_of(path))})
        assert (reply.status, reply.body) == (200, b"0123456789"), (header, value)


def test_if_match_compares_strongly(functions: Functions):
    path = functions.saved(b"0123", b"456789")
    for tag, status in {"*": 200, '"x", "{id}"': 200, 'W/"{id}"': 412, '"x"': 412, "": 412}.items():
        headers = {"If-Match": tag.replace("{id}", archive_of(path))}
        assert send("GET", functions.download + path, headers=headers).status == status, tag
        assert send("HEAD", functions.api + path, headers=headers).status == status, tag


def archive_of(path: str) -> str:
    return urlsplit(path).path.rpartition("/")[2]

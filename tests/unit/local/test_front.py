"""Tests what the local run answers by itself: other hosts, its own health, and writes to a full store."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest
from botocore.exceptions import ClientError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from dev.clients.wire import Reply, send
from dev.emulation.asgi_server import served
from dev.local.front import PROBE, Front, Hosts, WritableStore

EVIL = "evil.example"


@dataclass
class SomeStore:
    why: str | None = None
    tests: int = 0

    def fault(self) -> str | None:
        self.tests += 1
        return self.why


async def edge(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve as a healthy server whose uploads fail where their path says so."""
    request = Request(scope, receive)
    await request.body()
    answer: Response = Response("done", 201)
    if scope["path"] == "/health":
        answer = JSONResponse({"ok": True, "faults": {}, "version": "1"})
    elif scope["path"].endswith("fails"):
        answer = Response("<Error>odd</Error>", 500, {"x-ms-request-id": "r"})
    await answer(scope, receive, send)


@dataclass
class Served:
    url: str
    ready_file: Path
    store: SomeStore = field(default_factory=SomeStore)
    reported: list[str] = field(default_factory=list)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Served]:
    run = Served("", tmp_path / "env")
    run.ready_file.touch()
    hosts = Hosts("127.0.0.1", "https://cache.example:8443/")
    with served(Front(edge, hosts, run.ready_file, run.store.fault, run.reported.append)) as url:
        run.url = url
        yield run


# ------------------------------------------------------------------ names


ADMITTED = ["127.0.0.1", "127.0.0.1:3000", "127.9.9.9:1", "localhost", "LOCALHOST:65535", "[::1]:3000", "[::1]"]
ADMITTED += ["cache.example", "Cache.Example:8443", "cache.blob.core.windows.net:3000"]
REFUSED = [EVIL, "127.0.0.1.evil.example", "localhost.evil.example", "evil.localhost", "127.0.0.1@evil.example"]
REFUSED += ["blob.core.windows.net.evil.example", "evilblob.core.windows.net", "evil.example:127", "localhost:3000:1"]
REFUSED += ["192.168.1.2", "0.0.0.0", "2130706433", "[::2]", ""]


@pytest.mark.parametrize("host", [*ADMITTED, *REFUSED])
def test_this_machines_hosts_are_answered_on_any_port(host: str):
    assert Hosts("127.0.0.1", "https://cache.example:8443/").admit([host]) is (host in ADMITTED)


def test_every_host_header_must_be_known():
    hosts = Hosts("127.0.0.1")
    assert not hosts.admit(["localhost", EVIL])
    assert not hosts.admit([])


def test_public_address_is_answered_by_any_name():
    """Tokens are verified there, so another name gains nothing."""
    assert Hosts("0.0.0.0").admit(["box.example:3000"])


def test_other_hosts_are_refused_in_the_dialect_of_the_path(front: Served):
    def refused(path: str, method: str = "GET") -> Reply:
        reply = send(method, f"{front.url}{path}", b"", {"Host": EVIL})
        assert reply.status == 421
        return reply

    for method, path in (("OPTIONS", "/"), ("DELETE", "/health"), ("PUT", "/blobs/upload/x"), ("POST", "/x")):
        refused(path, method)
    twirp, blob = refused("/twirp/a/b"), refused("/blobs/a")
    v1, manage = refused("/_apis/artifactcache/cache"), refused("/manage/role")
    xml = ET.fromstring(blob.body)
    assert (twirp.json["code"], twirp.headers["Content-Type"]) == ("permission_denied", "application/json")
    assert (xml.findtext("Code"), bool(blob.headers["x-ms-request-id"])) == ("InvalidHostName", True)
    assert manage.json["status"] == "421"
    for message in (twirp.json["msg"], xml.findtext("Message"), v1.json["message"], manage.json["message"]):
        assert EVIL in str(message)
        assert "PUBLIC_URL" in str(message)


# ------------------------------------------------------------------ health


def health(front: Served) -> tuple[int, dict[str, str]]:
    reply = send("GET", f"{front.url}/health")
    assert reply.json["version"] == "1"
    assert reply.json["ok"] is not bool(reply.json["faults"])
    return reply.status, reply.json["faults"]


@pytest.mark.parametrize("faults", [{}, {"store": "the disk has 3 MiB left"}], ids=str)
def test_health_needs_the_env_file_and_a_store_with_room(front: Served, faults: dict[str, str]):
    front.store.why = faults.get("store")
    for _ in range(2):
        assert health(front) == (503 if faults else 200, faults)
        front.ready_file.unlink()
        status, missing = health(front)
        assert (status, missing.keys() - faults.keys()) == (503, {"local run"})
        front.ready_file.touch()


def test_unreadable_health_is_passed_on(tmp_path: Path):
    async def odd(scope: Scope, receive: Receive, send: Send) -> None:
        await Response("bad gateway", 502)(scope, receive, send)

    with served(Front(odd, Hosts("127.0.0.1"), tmp_path, SomeStore().fault, print)) as url:
        reply = send("GET", f"{url}/health")
    assert (reply.status, reply.body) == (502, b"bad gateway")


# ------------------------------------------------------------------ a full store


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("PUT", "/blobs/upload/fails", "<Code>InsufficientStorage</Code>"),
        ("PATCH", "/_apis/artifactcache/caches/fails", '"typeKey": "InsufficientStorage"'),
        ("POST", "/twirp/a/fails", '"code": "resource_exhausted"'),
    ],
)
def test_full_store_is_reported_to_client_and_terminal(front: Served, method: str, path: str, text: str):
    front.store.why = "the disk has 3 MiB left"
    assert send("PUT", f"{front.url}/blobs/upload/x", b"x").status == 201
    assert front.store.tests == 0, "a write that succeeds tests nothing"
    for _ in range(2):
        reply = send(method, f"{front.url}{path}", b"x")
        assert reply.status == 507
        assert text in reply.body.decode()
        assert "the disk has 3 MiB left" in reply.body.decode()
    assert front.reported == ["the disk has 3 MiB left"], "once, not for each request"


def test_other_write_errors_are_passed_on(front: Served):
    reply = send("PUT", f"{front.url}/blobs/upload/fails", b"x")
    assert (reply.status, reply.body, front.reported) == (500, b"<Error>odd</Error>", [])


# ------------------------------------------------------------------ the test of the store


TB = 10**12


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def has(free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=TB, free=free))

    return has


class Bucket:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.error: Exception | None = None

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803 - boto3's
        self.calls.append(("put", Key))
        assert (Bucket, Body) == ("bucket", b"probe")
        if self.error is not None:
            raise self.error

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803 - boto3's
        assert Bucket == "bucket"
        self.calls.append(("delete", Key))


def store_of(bucket: Bucket, directory: Path | None) -> WritableStore:
    return WritableStore(
        cast("Any", SimpleNamespace(put_object=bucket.put_object, delete_object=bucket.delete_object)),
        "bucket",
        directory,
    )


def test_store_test_leaves_nothing_behind(free: Callable[[int], None], tmp_path: Path):
    free(TB)
    bucket = Bucket()
    assert store_of(bucket, tmp_path).fault() is None
    assert bucket.calls == [("put", PROBE), ("delete", PROBE)]
    assert not PROBE.startswith("archives/")


def test_refusing_store_says_why_and_names_its_log(free: Callable[[int], None], tmp_path: Path):
    free(TB)
    bucket = Bucket()
    bucket.error = ClientError({"Error": {"Code": "InternalError", "Message": "no room"}}, "PutObject")
    text = store_of(bucket, tmp_path / "seaweedfs").fault() or ""
    assert "no room" in text
    assert str(tmp_path / "logs" / "seaweedfs.log") in text
    assert "seaweedfs.log" not in (store_of(bucket, None).fault() or "")
    free(0)
    bucket.calls.clear()
    assert "0 MiB left" in (store_of(bucket, tmp_path).fault() or "")
    assert bucket.calls == [], "a full disk is seen before a write"

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


@pytest.mark.parametrize(
    ("host", "is_admitted"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:3000", True),
        ("127.9.9.9:1", True),
        ("localhost", True),
        ("LOCALHOST:65535", True),
        ("[::1]:3000", True),
        ("[::1]", True),
        ("cache.example", True),
        ("Cache.Example:8443", True),
        ("cache.blob.core.windows.net:3000", True),
        ("blob.core.windows.net.evil.example", False),
        ("evilblob.core.windows.net", False),
        (EVIL, False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("evil.localhost", False),
        ("127.0.0.1@evil.example", False),
        ("evil.example:127", False),
        ("localhost:3000:1", False),
        ("192.168.1.2", False),
        ("0.0.0.0", False),
        ("2130706433", False),
        ("[::2]", False),
        ("", False),
    ],
)
def test_this_machines_hosts_are_answered_on_any_port(host: str, *, is_admitted: bool):
    assert Hosts("127.0.0.1", "https://cache.example:8443/").admit([host]) is is_admitted


def test_every_host_header_must_be_known():
    hosts = Hosts("127.0.0.1")
    assert not hosts.admit(["localhost", EVIL])
    assert not hosts.admit([])


def test_public_address_is_answered_by_any_name():
    """Tokens are verified there, so another name gains nothing."""
    assert Hosts("0.0.0.0").admit(["box.example:3000"])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/health", "/twirp/a/b", "/blobs/upload/x", "/_apis/artifactcache/caches"])
def test_other_hosts_are_refused(front: Served, method: str, path: str):
    assert send(method, f"{front.url}{path}", b"", {"Host": EVIL}).status == 421


def test_refusal_is_in_the_dialect_of_the_path(front: Served):
    def refused(path: str) -> Reply:
        return send("GET", f"{front.url}{path}", headers={"Host": EVIL})

    twirp, blob, v1, manage = (
        refused(path) for path in ("/twirp/a/b", "/blobs/a", "/_apis/artifactcache/cache", "/manage/role")
    )
    assert (twirp.json["code"], twirp.headers["Content-Type"]) == ("permission_denied", "application/json")
    assert ET.fromstring(blob.body).findtext("Code") == "InvalidHostName"
    assert blob.headers["x-ms-request-id"]
    messages = (
        twirp.json["msg"],
        ET.fromstring(blob.body).findtext("Message"),
        v1.json["message"],
        manage.json["message"],
    )
    assert all(EVIL in str(message) and "PUBLIC_URL" in str(message) for message in messages)
    assert manage.json["status"] == "421"


# ------------------------------------------------------------------ health


def health(front: Served) -> tuple[int, dict[str, str]]:
    reply = send("GET", f"{front.url}/health")
    assert reply.json["version"] == "1"
    assert reply.json["ok"] is not bool(reply.json["faults"])
    return reply.status, reply.json["faults"]


def test_health_is_good_while_the_env_file_exists(front: Served):
    assert health(front) == (200, {})
    front.ready_file.unlink()
    status, faults = health(front)
    assert (status, list(faults)) == (503, ["local run"])
    front.ready_file.touch()
    assert health(front) == (200, {})


def test_health_reports_a_full_store(front: Served):
    front.store.why = "the disk has 3 MiB left"
    assert health(front) == (503, {"store": "the disk has 3 MiB left"})


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
    replies = [send(method, f"{front.url}{path}", b"x") for _ in range(2)]
    for reply in replies:
        assert reply.status == 507
        assert text in reply.body.decode()
        assert "the disk has 3 MiB left" in reply.body.decode()
    assert front.reported == ["the disk has 3 MiB left"], "once, not for each request"


def test_other_write_errors_are_passed_on(front: Served):
    reply = send("PUT", f"{front.url}/blobs/upload/fails", b"x")
    assert (reply.status, reply.body, front.reported) == (500, b"<Error>odd</Error>", [])


def test_successful_write_tests_no_store(front: Served):
    front.store.why = "the disk has 3 MiB left"
    assert send("PUT", f"{front.url}/blobs/upload/x", b"x").status == 201
    assert front.store.tests == 0


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


def test_full_disk_is_seen_before_a_write(free: Callable[[int], None], tmp_path: Path):
    free(0)
    bucket = Bucket()
    assert "0 MiB left" in (store_of(bucket, tmp_path).fault() or "")
    assert bucket.calls == []

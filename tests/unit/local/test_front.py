"""The local run itself answers other names, requests during its start, and writes to a full store."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from dev.local.front import Front
from dev.local.hosts import Hosts
from tests.support.clients.wire import Reply, send
from tests.support.serving import served

EVIL = "evil.example"


@dataclass
class SomeStore:
    why: str | None = None
    asked: int = 0

    def fault(self) -> str | None:
        self.asked += 1
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
class Stage:
    url: str
    store: SomeStore
    ready_file: Path
    terminal: int

    def told(self) -> str:
        os.set_blocking(self.terminal, False)
        try:
            return os.read(self.terminal, 65536).decode()
        except BlockingIOError:
            return ""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    store, ready_file = SomeStore(), tmp_path / "env"
    ready_file.touch()
    reading, writing = os.pipe()
    try:
        with served(Front(edge, Hosts("127.0.0.1", "https://cache.example:8443/"), ready_file, store, writing)) as url:
            yield Stage(url, store, ready_file, reading)
    finally:
        os.close(reading)
        os.close(writing)


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
def test_local_run_answers_to_this_machines_names_on_any_port(host: str, *, is_admitted: bool):
    assert Hosts("127.0.0.1", "https://cache.example:8443/").admit([host]) is is_admitted


def test_each_of_several_host_headers_counts_and_none_is_too_few():
    hosts = Hosts("127.0.0.1")
    assert not hosts.admit(["localhost", EVIL])
    assert not hosts.admit([])


def test_another_address_has_names_that_nobody_here_knows():
    """Tokens are verified there, so another name gains nothing."""
    assert Hosts("0.0.0.0").admit(["box.example:3000"])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/health", "/twirp/a/b", "/blobs/upload/x", "/_apis/artifactcache/caches"])
def test_another_name_is_refused_whatever_is_asked(stage: Stage, method: str, path: str):
    assert send(method, f"{stage.url}{path}", b"", {"Host": EVIL}).status == 421


def test_refusal_of_a_name_is_in_the_dialect_of_the_path(stage: Stage):
    def refused(path: str) -> Reply:
        return send("GET", f"{stage.url}{path}", headers={"Host": EVIL})

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


def health(stage: Stage) -> tuple[int, dict[str, str]]:
    reply = send("GET", f"{stage.url}/health")
    assert reply.json["version"] == "1"
    assert reply.json["ok"] is not bool(reply.json["faults"])
    return reply.status, reply.json["faults"]


def test_health_is_good_only_while_the_env_file_is_there(stage: Stage):
    assert health(stage) == (200, {})
    stage.ready_file.unlink()
    status, faults = health(stage)
    assert (status, list(faults)) == (503, ["local run"])
    stage.ready_file.touch()
    assert health(stage) == (200, {})


def test_health_knows_a_store_that_takes_nothing(stage: Stage):
    stage.store.why = "the disk has 3 MiB left"
    assert health(stage) == (503, {"store": "the disk has 3 MiB left"})


def test_health_that_is_none_comes_through_as_it_is(tmp_path: Path):
    async def odd(scope: Scope, receive: Receive, send: Send) -> None:
        await Response("bad gateway", 502)(scope, receive, send)

    with served(Front(odd, Hosts("127.0.0.1"), tmp_path, SomeStore(), 2)) as url:
        reply = send("GET", f"{url}/health")
    assert (reply.status, reply.body) == (502, b"bad gateway")


# ------------------------------------------------------------------ a full store


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("PUT", "/blobs/upload/fails", "<Code>InsufficientStorage</Code>"),
        ("PATCH", "/_apis/artifactcache/caches/fails", '"typeKey": "InsufficientStorage"'),
        ("POST", "/twirp/a/fails", '"code": "resource_exhausted"'),
    ],
)
def test_write_without_room_tells_client_and_terminal(stage: Stage, method: str, path: str, said: str):
    stage.store.why = "the disk has 3 MiB left"
    replies = [send(method, f"{stage.url}{path}", b"x") for _ in range(2)]
    for reply in replies:
        assert reply.status == 507
        assert said in reply.body.decode()
        assert "the disk has 3 MiB left" in reply.body.decode()
    assert stage.told() == "error: nothing can be saved: the disk has 3 MiB left\n", "once, not for each request"


def test_write_that_fails_for_another_reason_keeps_its_answer(stage: Stage):
    reply = send("PUT", f"{stage.url}/blobs/upload/fails", b"x")
    assert (reply.status, reply.body, stage.told()) == (500, b"<Error>odd</Error>", "")


def test_write_that_succeeds_asks_the_store_nothing(stage: Stage):
    stage.store.why = "the disk has 3 MiB left"
    assert send("PUT", f"{stage.url}/blobs/upload/x", b"x").status == 201
    assert json.dumps(stage.store.asked) == "0"

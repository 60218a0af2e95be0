"""Too much of anything is refused in time, memory stays bounded, and meanwhile others are served."""

import base64
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import psutil
import pytest

from dev.clients.runtime_token import ac_claim, runtime_token
from dev.clients.wire import SERVICE, VERSION, Job, Reply, block_list_xml, put_block, put_block_list, send, with_query
from tests.guarantees.fuzz.target import ANSWER_SECONDS, Target, errors_logged, exchange, request
from tests.integration.local_run.local_run import LocalRun

pytestmark = pytest.mark.long

logger = logging.getLogger(__name__)

MIB = 1024 * 1024
GIB = 1024 * MIB
MAX_GROWTH_MIB = 128
"""Growth of all the server's processes together in a flood: a few bodies of 4.5 MB and their parse trees."""

SLOW_CLIENTS = 300

BOMB = b"".join(
    [
        b'<!DOCTYPE b [<!ENTITY l0 "lol">',
        *(b'<!ENTITY l%d "%s">' % (i, b"&l%d;" % (i - 1) * 10) for i in range(1, 10)),
        b"]><BlockList><Latest>&l9;</Latest></BlockList>",
    ]
)
QUADRATIC = b'<!DOCTYPE b [<!ENTITY a "%s">]><BlockList><Latest>%s</Latest></BlockList>' % (
    b"a" * 200_000,
    b"&a;" * 20_000,
)
ATTRIBUTES = b"<Error " + b" ".join(b'a%d=""' % i for i in range(300_000)) + b"/>"


def twirp(target: Target, body: bytes, token: str | None = None) -> Reply:
    return Job(target.server, token or target.token).post("CreateCacheEntry", body)


def block_list(target: Target, body: bytes) -> Reply:
    return send("PUT", with_query(target.upload, last={"comp": "blocklist"}), body)


def resident_mib(run: LocalRun) -> float:
    """Return the resident memory of the server and of its edge's runtime."""
    [server] = run.running("dev.local.server")
    return sum(process.memory_info().rss for process in (server, *server.children(recursive=True))) / MIB


@contextmanager
def harmless(fuzzed: tuple[Target, LocalRun], seconds: float = ANSWER_SECONDS) -> Iterator[Target]:
    """Check that the block is over in time, and leaves the server as it was."""
    target, run = fuzzed
    target.restores()
    errors, before, began = len(errors_logged(run)), resident_mib(run), time.monotonic()
    yield target
    took, grown = time.monotonic() - began, resident_mib(run) - before
    target.restores()
    logger.info("%.2f s, %+.0f MiB", took, grown)
    assert took < seconds
    assert grown < MAX_GROWTH_MIB
    assert errors_logged(run)[errors:] == []


# ------------------------------------------------------------------ bodies


@pytest.mark.parametrize("query", ["&comp=blocklist", ""])
def test_gigabyte_of_a_block_list_is_refused_unread(fuzzed, query):
    """A blob announces 6 GB here, since it may be larger than a block list."""
    size = GIB if query else 6 * GIB
    with harmless(fuzzed) as target:
        path = (target.upload.removeprefix(target.server) + query).encode()
        head = request(b"PUT", path, [(b"Content-Length", b"%d" % size)])
        assert exchange(target.server, head, is_whole=False).status == 413


@pytest.mark.parametrize("where", ["block list", "message"])
def test_endless_chunked_body_is_refused_at_its_limit(fuzzed, where):
    with harmless(fuzzed, seconds=10) as target:
        method, url = b"POST", f"/twirp/{SERVICE}/CreateCacheEntry"
        if where == "block list":
            method, url = b"PUT", target.upload.removeprefix(target.server) + "&comp=blocklist"
        authorization = (b"Authorization", f"Bearer {target.token}".encode())
        rows = [(b"Transfer-Encoding", b"chunked"), (b"Content-Type", b"application/json"), authorization]
        taken = _pour(target, request(method, url.encode(), rows), b"%x\r\n%s\r\n" % (MIB, b" " * MIB))
        assert taken < 64 * MIB


def connected(target: Target) -> socket.socket:
    address = urlsplit(target.server)
    return socket.create_connection((str(address.hostname), int(address.port or 80)), timeout=ANSWER_SECONDS)


def _pour(target: Target, head: bytes, chunk: bytes) -> int:
    """Send the chunk until the server answers or hangs up, a gigabyte at most, and return the number of bytes."""
    taken = 0
    with connected(target) as connection, suppress(OSError):
        connection.sendall(head)
        while taken < GIB:
            connection.sendall(chunk)
            taken += len(chunk)
    return taken


@pytest.mark.parametrize("body", [BOMB, QUADRATIC, ATTRIBUTES], ids=["billion laughs", "quadratic", "attributes"])
def test_xml_bomb_is_refused(fuzzed, body):
    with harmless(fuzzed) as target:
        assert block_list(target, body).status == 400


def test_longest_block_lists_are_read_in_time(fuzzed):
    """They name 50,000 unknown blocks, and as many of BuildKit's ids as fit."""
    short = [base64.b64encode(b"%06d" % i).decode() for i in range(50_000)]
    long = [base64.b64encode(b"%064d" % i).decode() for i in range(42_000)]
    for ids in (short, long):
        body = block_list_xml(ids)
        with harmless(fuzzed) as target:
            reply = block_list(target, body)
            assert (reply.status, reply.headers["x-ms-error-code"]) == (400, "InvalidBlockList")


def test_block_named_50000_times_is_refused_in_time(fuzzed):
    target, _ = fuzzed
    url = Job(target.server, target.token).reserve("fifty thousand")
    assert put_block(url, "AAAA", b"a").status == 201
    with harmless(fuzzed):
        reply = put_block_list(url, ["AAAA"] * 50_000)
        assert (reply.status, reply.headers["x-ms-error-code"]) == (400, "InvalidBlockList")


DEEP = 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP + b"]" * DEEP,
        b'{"key":' * (DEEP // 4),
        b'{"metadata":' + b'{"scope":[' * 10_000 + b"]}" * 10_000 + b"}",
        b'{"key": "' + b"\\u0000" * 40_000 + b'"}',
        b'{"size_bytes": 1e999999999}',
        b'{"size_bytes": ' + b"9" * 200_000 + b"}",
        json.dumps({"restore_keys": ["k"] * 50_000}).encode(),
    ],
    ids=["lists", "objects", "messages", "NULs", "exponent", "digits", "restore keys"],
)
def test_deep_or_endless_json_is_refused_in_time(fuzzed, body):
    with harmless(fuzzed) as target:
        assert twirp(target, body).status == 400


def test_token_of_many_or_deep_scopes_is_refused_in_time(fuzzed):
    many = runtime_token([("refs/heads/x", 3)] * 150)
    deep = runtime_token(ac="[" * 5_000 + "]" * 5_000)
    with harmless(fuzzed) as target:
        for token in (many, deep, "A" * 20_000, ".".join("A" * 10_000)):
            assert twirp(target, b"{}", token).status == 401
        hidden = runtime_token(ac=ac_claim([("refs/heads/x", 3)]), padding="x" * 10_000)
        body = json.dumps({"key": "with a long token", "version": VERSION}).encode()
        assert twirp(target, body, hidden).status == 200


# ------------------------------------------------------------------ heads

HEADS: dict[str, tuple[bytes, list[tuple[bytes, bytes]]]] = {
    "a million query parameters": (b"/health?" + b"&".join(b"a%d=%d" % (i, i) for i in range(1_000_000)), []),
    "one parameter a million times": (b"/health?" + b"a=&" * 1_000_000, []),
    "a path of eight megabytes": (b"/" + b"a" * 8 * MIB, []),
    "a header of eight megabytes": (b"/health", [(b"X-Long", b"a" * 8 * MIB)]),
    "a hundred thousand headers": (b"/health", [(b"X-%d" % i, b"a") for i in range(100_000)]),
    "one header a hundred thousand times": (b"/health", [(b"Range", b"bytes=0-1")] * 100_000),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_huge_head_is_refused_in_time(fuzzed, head):
    """CloudFront takes a URL of 8,192 bytes and headers of 32,768 in all; nothing larger reaches a function."""
    target_path, rows = head
    with harmless(fuzzed) as target:
        answer = exchange(target.server, request(b"GET", target_path, rows))
        assert answer.status in (400, 413, 414, 431, 494), (answer.status, answer.head[:500], answer.body[:500])


# ------------------------------------------------------------------ slow clients


@pytest.mark.parametrize("part", ["head", "body", "chunks", "silence"])
def test_requests_that_never_end_keep_nobody_waiting(fuzzed, part):
    target, _ = fuzzed
    path = target.upload.removeprefix(target.server).encode()
    begun = {
        "head": b"PUT " + path + b" HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        "body": request(b"PUT", path, [(b"Content-Length", b"%d" % MIB)], b"a" * 100),
        "chunks": request(b"PUT", path + b"&comp=blocklist", [(b"Transfer-Encoding", b"chunked")], b"ffff\r\nhel"),
        "silence": b"",
    }[part]
    with harmless(fuzzed, seconds=20), ExitStack() as stack:
        slow = []
        for _ in range(SLOW_CLIENTS):
            slow.append(stack.enter_context(connected(target)))
            slow[-1].sendall(begun)
        for _ in range(5):
            for connection in slow:
                if begun:
                    connection.sendall(b"a")
            began = time.monotonic()
            target.restores()
            assert time.monotonic() - began < ANSWER_SECONDS


def test_stalled_readers_hold_bounded_memory(fuzzed):
    """Each holds at most what one stream reads ahead, of an archive of 24 MB in parts."""
    target, run = fuzzed
    job = Job(target.server, target.token, "curl")
    job.save("never read", *[bytes(6 * MIB)] * 4)
    path = job.download_url("never read").removeprefix(target.server).encode()
    before = resident_mib(run)
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(connected(target)).sendall(request(b"GET", path, []))
        time.sleep(3)
        held = resident_mib(run) - before
        target.restores()
    logger.info("%+.0f MiB held", held)
    assert held < 16 * 32 + MAX_GROWTH_MIB


@pytest.fixture(autouse=True)
def _still_one_server(fuzzed: tuple[Target, LocalRun]) -> Iterator[None]:
    """Check that the server's process is the same as before, so that none was replaced because it died."""
    _, run = fuzzed
    [before] = run.running("dev.local.server")
    yield
    assert psutil.pid_exists(before.pid)
    assert run.process.poll() is None

"""Restores by the hook, as the real client sees them, while server and store fail at every point.

All downloads of a mode run side by side in one process; each test looks at one of them. The hook's sizes are scaled
down (hooked_downloads.py), its times aren't: the client's own five seconds count.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final, Literal

import pytest

from tests.support.hooked_downloads import (
    MIB,
    MIN_BYTES,
    VERSIONS,
    Run,
    install_hook,
    is_whole,
    run_downloads,
)
from tests.support.scripted_store import Archive, Ask, Kind, Reply, Rule, scripted_store

pytestmark = pytest.mark.slow

CONNECTIONS: Final = 8
PARTS: Final = (700_000, 200_000, 1_100_000)
SIZE: Final = sum(PARTS)
"""Some fifteen ranges, and twice as much as the hook keeps in memory."""

AS_PLAIN_CLIENTS: Final = re.compile("aborted|socket hang up|ECONNRESET|Incomplete download|responded with [45]")
"""What @actions/cache says of a plain download that broke off, or was refused."""

REFUSAL: Final = b"<Error><Code>Scripted</Code></Error>"
"""@actions/cache saves a refusal's body as if it were the archive, and fails on it later."""

CLIENTS_HEADERS: Final = {"host", "connection", "user-agent", "range", "if-match"}
"""Names of the headers that the hook may send to the store."""

Change = Callable[[Reply], Reply]
Expected = Literal["whole", "error", "refusal", "stop"]


def on(kind: Kind, change: Change, *numbers: int) -> Rule:
    """Return the rule that changes answers of a kind: all, or those with these numbers."""
    return lambda ask, reply: change(reply) if ask.kind == kind and (not numbers or ask.number in numbers) else reply


def refused(status: int, **headers: str) -> Change:
    return lambda reply: Reply(status, {**reply.headers, "Content-Type": "application/xml", **headers}, REFUSAL)


def broken(after: int, then: Literal["reset", "stall", "close"]) -> Change:
    return lambda reply: replace(reply, cut=after, then=then)


def saying(**headers: str | None) -> Change:
    return lambda reply: reply.having(**headers)


def of_another(change: Change) -> Change:
    """Return what changes an answer, and its bytes into those of another object."""
    return lambda reply: replace(change(reply), body=bytes(len(reply.body)))


def longer(reply: Reply) -> Reply:
    return replace(reply.having(Content_Length=str(len(reply.body) + 100)), cut=len(reply.body), then="close")


def shorter(reply: Reply) -> Reply:
    return replace(reply.having(Content_Length=str(len(reply.body) - 100)), body=reply.body[:-100])


def shifted(reply: Reply) -> Reply:
    return reply.having(Content_Range=f"bytes 1-{len(reply.body)}/{SIZE}")


def slow(rate: float) -> Change:
    return lambda reply: replace(reply, rate=rate)


def listing(change: Callable[[dict[str, Any]], object]) -> Change:
    """Return what changes the list's message."""

    def changed(reply: Reply) -> Reply:
        message = json.loads(bytes(reply.body))
        change(message)
        return replace(reply, body=json.dumps(message).encode())

    return changed


def body(content: bytes) -> Change:
    return lambda reply: replace(reply, body=content)


# What a range may meet, and whether asking again for the same can help.
RANGE_FAULTS: Final[Mapping[str, Change]] = {
    "reset before its answer": broken(-1, "reset"),
    "reset before its first byte": broken(0, "reset"),
    "reset after 5000 bytes": broken(5000, "reset"),
    "reset before its last byte": lambda reply: replace(reply, cut=len(reply.body) - 1),
    "closed after 5000 bytes": broken(5000, "close"),
    "no answer": broken(-1, "stall"),
    "silence before its first byte": broken(0, "stall"),
    "silence after 5000 bytes": broken(5000, "stall"),
    "silence before its last byte": lambda reply: replace(reply, cut=len(reply.body) - 1, then="stall"),
    "a trickle": slow(4000),
    "429": refused(429),
    "500": refused(500),
    "503": refused(503),
    "400": refused(400),
    "403": refused(403),
    "404": refused(404),
    "412": refused(412),
    "416": refused(416),
    "302": refused(302, Location="/elsewhere"),
    "200 with its bytes": of_another(lambda reply: replace(reply, status=200)),
    "200 with all bytes": lambda reply: replace(reply, status=200, body=bytes(SIZE)).having(Content_Range=None),
    "206 with all bytes": lambda reply: replace(reply, body=bytes(SIZE)),
    "another Content-Range": of_another(shifted),
    "no Content-Range": of_another(saying(Content_Range=None)),
    "another Content-Range's total": of_another(
        lambda reply: reply.having(Content_Range=reply.headers["Content-Range"].rpartition("/")[0] + "/9999999")
    ),
    "more Content-Length than bytes": longer,
    "less Content-Length": shorter,
    "another ETag": of_another(saying(ETag='"another"')),
    "a weak ETag": of_another(lambda reply: reply.having(ETag=f"W/{reply.headers['ETag']}")),
    "no ETag": of_another(saying(ETag=None)),
    "a Content-Encoding": saying(Content_Encoding="gzip"),
    "no HTTP": lambda reply: reply.having(Content_Length="many"),
}

AGAIN_AND_AGAIN: Final = {name for name in RANGE_FAULTS if name.endswith(("5000 bytes", "trickle"))}
"""Faults that leave some bytes each time: where all ranges have them, the archive takes minutes."""

LIST_FAULTS: Final[Mapping[str, Change]] = {
    "is no JSON": body(b"{"),
    "is empty": body(b""),
    "is null": body(b"null"),
    "is of a later version": listing(lambda message: message.update(version=2)),
    "has no parts": listing(lambda message: message.update(parts=[], size=0)),
    "has another sum": listing(lambda message: message.update(size=SIZE + 1)),
    "has sizes as text": listing(lambda message: message["parts"][0].__setitem__(1, "700000")),
    "has a negative size": listing(lambda message: message["parts"].append(["x", -1, '"x"', "x"])),
    "has half a byte": listing(
        lambda message: message["parts"].extend([["x", 0.5, '"x"', "x"], ["y", -0.5, '"x"', "x"]])
    ),
    "has a fraction": listing(
        lambda message: [message["parts"][0].__setitem__(1, 699_999.5), message["parts"][1].__setitem__(1, 200_000.5)]
    ),
    "has no ETag": listing(lambda message: message["parts"][1].__setitem__(2, None)),
    "has a weak ETag": listing(lambda message: message["parts"][1].__setitem__(2, 'W/"x"')),
    "has an ETag of two lines": listing(lambda message: message["parts"][2].__setitem__(2, '"x"\r\nX: "y"')),
    "has a part that is no row": listing(lambda message: message["parts"].__setitem__(1, None)),
    "leads to ftp": listing(lambda message: message.update(base="ftp://127.0.0.1/")),
    "leads nowhere": listing(lambda message: message.update(base="")),
    "leads to two hosts": listing(
        lambda message: [
            message.update(base=message["base"].removesuffix("/store/")),
            [row.__setitem__(0, f"/store/{row[0]}") for row in message["parts"]],
            message["parts"][2].__setitem__(0, "@localhost:1/store/x"),
        ]
    ),
    "says no time": listing(lambda message: message.update(query="X-Amz-Expires=600")),
    "has ended": listing(lambda message: message.update(query=re.sub("Date=2...", "Date=1999", message["query"]))),
    "has no Date": saying(Date=None),
    "is huge": body(b'{"version": 1, "size": 2000000, "parts": [' + b" " * 2_000_000 + b"]}"),
    "ends early": broken(100, "close"),
}


@dataclass(frozen=True)
class Case:
    """One download: of what, by whom, and what is to come of it."""

    archive: Archive
    expected: Expected = "whole"
    by: str = "cache"
    asked: Mapping[Kind, int] = field(default_factory=dict)
    """How often each kind of request is to be seen, where that is sure."""


def merged(*rules: Rule, size: int = SIZE, **other: Any) -> Archive:
    return Archive(size, rules=rules, **other)


def unmerged(*rules: Rule, parts: tuple[int, ...] = PARTS, **other: Any) -> Archive:
    return Archive(sum(parts), parts, rules=rules, **other)


def led(kind: Kind, location: Callable[[Ask], str]) -> Rule:
    """Return the rule by which the server redirects."""

    def rule(ask: Ask, reply: Reply) -> Reply:
        is_led = ask.kind == kind and ask.by_server
        return Reply(302, {**reply.headers, "Location": location(ask)}) if is_led else reply

    return rule


def cases() -> Iterator[tuple[str, Case]]:
    yield from cases_of_versions()
    yield from cases_of_ranges()
    yield from cases_of_first_answers()
    yield from cases_of_lists()
    yield from cases_of_clocks()
    yield from cases_of_rests()
    yield from cases_of_clients()


def cases_of_versions() -> Iterator[tuple[str, Case]]:
    for version in VERSIONS:
        yield f"merged by {version}", Case(merged(), by=version, asked={"first": 1, "rest": 0})
        yield f"unmerged by {version}", Case(unmerged(), by=version, asked={"list": 1, "stream": 0, "rest": 0})
        server_is_older = unmerged(knows_lists=False)
        yield f"unmerged by {version} from an older server", Case(server_is_older, by=version, asked={"range": 0})
        yield f"redirected {version}", Case(unmerged(is_redirected=True), by=version, asked={"first": 1, "rest": 0})
        aborted = merged(on("first", broken(5000, "reset")), on("range", refused(403)), on("rest", refused(404)))
        yield f"neither first nor ranges nor rest by {version}", Case(aborted, "error", by=version)


def cases_of_ranges() -> Iterator[tuple[str, Case]]:
    for name, fault in RANGE_FAULTS.items():
        for place, number in (("the first range", 0), ("a middle range", 3)):
            yield f"merged: {name} on {place}", Case(merged(on("range", fault, number)), asked={"first": 1})
            yield f"unmerged: {name} on {place}", Case(unmerged(on("range", fault, number)), asked={"stream": 0})
        # The client's own first connection then goes on, and nothing is asked for twice.
        if name not in AGAIN_AND_AGAIN:
            never: dict[Kind, int] = {} if name.endswith("last byte") else {"rest": 0, "first": 1}
            yield f"merged: {name} on all ranges", Case(merged(on("range", fault)), asked=never)
            yield f"unmerged: {name} on all ranges", Case(unmerged(on("range", fault)), asked={"stream": 0})


def cases_of_first_answers() -> Iterator[tuple[str, Case]]:
    for name in ("reset after 5000 bytes", "closed after 5000 bytes", "silence after 5000 bytes", "a trickle"):
        fault = RANGE_FAULTS[name]
        yield f"merged: {name} on the first connection", Case(merged(on("first", fault)), asked={"first": 1})
        if name != "a trickle":
            only_rest = on("first", broken(5000, "reset")), on("range", refused(403))
            yield f"merged: {name} on the rest", Case(merged(*only_rest, on("rest", fault, 0)), asked={"first": 1})
    for status in (403, 404, 412):
        yield f"merged: {status} at once", Case(merged(on("first", refused(status))), "refusal", asked={"range": 0})
        yield f"unmerged: {status} at once", Case(unmerged(on("list", refused(status))), "refusal", asked={"range": 0})
    yield "merged: reset once at once", Case(merged(on("first", broken(-1, "reset"), 0)), asked={"first": 2})
    for name, change in {
        "no ETag": saying(ETag=None),
        "a weak ETag": saying(ETag='W/"weak"'),
        "no Date": saying(Date=None),
        "a Content-Encoding": saying(Content_Encoding="gzip"),
        "chunks": lambda reply: replace(
            reply.having(Transfer_Encoding="chunked"), body=b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, reply.body)
        ),
    }.items():
        yield f"merged with {name}", Case(merged(on("first", change)), asked={"first": 1, "range": 0, "rest": 0})
    yield "merged: first is longer than all", Case(merged(on("first", longer)), "error", asked={"first": 1})
    yield "its range is asked for", Case(merged(), by="byItsRange", asked={"first": 0, "range": 0, "rest": 1})


def cases_of_lists() -> Iterator[tuple[str, Case]]:
    for name, change in LIST_FAULTS.items():
        plain: dict[Kind, int] = {"list": 1, "stream": 1, "range": 0}
        yield f"list {name}", Case(unmerged(on("list", change)), asked=plain)
    lies = listing(
        lambda message: [message["parts"][0].__setitem__(1, 700_001), message["parts"][1].__setitem__(1, 199_999)]
    )
    yield "list has other sizes of the same sum", Case(unmerged(on("list", lies)))
    yield (
        "list is of no use, and the stream breaks off",
        Case(unmerged(on("list", body(b"")), on("stream", broken(5000, "reset"))), "error"),
    )
    yield (
        "list is of no use, and the stream doesn't begin",
        Case(unmerged(on("list", body(b"")), on("stream", broken(-1, "reset"), 0)), asked={"list": 2}),
    )
    yield (
        "list is of no use, and the server is redirecting now",
        Case(
            unmerged(on("list", body(b"")), led("stream", lambda ask: ask.whole_url)), asked={"stream": 1, "first": 1}
        ),
    )
    thousand = tuple(1 + (index * 7919) % (MIB // 4) for index in range(1000))
    yield "1000 parts", Case(unmerged(parts=thousand), asked={"list": 1, "stream": 0, "rest": 0})
    yield "1000 parts of one byte", Case(unmerged(parts=(1,) * 1000), asked={"list": 1, "stream": 0, "rest": 0})


def cases_of_clocks() -> Iterator[tuple[str, Case]]:
    for hours in (-7, 7):
        yield f"merged, clocks {hours} h ahead", Case(merged(ahead=hours * 3600), asked={"first": 1, "rest": 0})
        yield f"unmerged, clocks {hours} h ahead", Case(unmerged(ahead=hours * 3600), asked={"stream": 0, "rest": 0})
    crawl = slow(60_000)
    for ahead in (0, 7 * 3600):
        late = (on("first", crawl), on("range", crawl))
        ending: dict[str, Any] = {"url_seconds": 5, "ahead": ahead}
        yield f"merged, its URL ends, {ahead}", Case(merged(*late, **ending), asked={"first": 1, "rest": 1})
        yield f"unmerged, its URLs end, {ahead}", Case(unmerged(*late, **ending), asked={"rest": 1, "stream": 0})
        slowing = (*late, on("range", refused(503), *range(5, 500)))
        yield f"merged, 503 until its URL ends, {ahead}", Case(merged(*slowing, **ending))
    yield "merged, its URL has almost ended", Case(merged(url_seconds=2), asked={"first": 1, "range": 0, "rest": 0})


def cases_of_rests() -> Iterator[tuple[str, Case]]:
    for name, location in {
        "ftp": lambda _: "ftp://127.0.0.1/x",
        "no URL": lambda _: "//",
        "itself": lambda ask: ask.url,
    }.items():
        yield f"rest leads to {name}", Case(unmerged(on("range", refused(403)), led("rest", location)), "error")
    yield (
        "rest leads to the store",
        Case(
            unmerged(on("range", refused(403), 4), led("rest", lambda ask: ask.whole_url)),
            asked={"rest": 2, "stream": 0},
        ),
    )
    yield "rest: 404", Case(unmerged(on("range", refused(403), 4), on("rest", refused(404))), "error")
    yield (
        "rest: 200",
        Case(unmerged(on("range", refused(403), 4), on("rest", lambda reply: replace(reply, status=200))), "error"),
    )
    yield "rest: 503 once", Case(unmerged(on("range", refused(403), 4), on("rest", refused(503), 0)))
    yield (
        "rest: other total",
        Case(
            unmerged(on("range", refused(403), 4), on("rest", RANGE_FAULTS["another Content-Range's total"])), "error"
        ),
    )
    ending_first = on("first", broken(200_000, "reset"))
    yield "first connection ends while it waits", Case(merged(ending_first, on("range", refused(503), *range(40))))
    yield "first connection ends while it waits in vain", Case(merged(ending_first, on("range", refused(503))))


def cases_of_clients() -> Iterator[tuple[str, Case]]:
    for reader in ("slowDisk", "slowDiskAtTheEnd", "slowly"):
        yield f"merged, {reader}", Case(merged(), by=reader)
        yield f"unmerged, {reader}", Case(unmerged(), by=reader)
    for reader in ("destroysMessage", "destroysRequest", "aborts"):
        yield f"merged, {reader}", Case(merged(on("range", slow(50_000))), "stop", by=reader)
        yield f"unmerged, {reader}", Case(unmerged(on("range", slow(50_000))), "stop", by=reader)
    yield "small", Case(merged(size=MIN_BYTES - 1), asked={"range": 0})


CASES: Final = {re.sub("[^a-z0-9]+", "-", name.lower()): case for name, case in cases()}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Download all, side by side."""
    directory = tmp_path_factory.mktemp("faults")
    with scripted_store({name: case.archive for name, case in CASES.items()}) as store:
        hook = install_hook(directory / "hook", store.url, connections=CONNECTIONS)
        yield run_downloads(
            directory / "run", store, {name: case.by for name, case in CASES.items()}, at_once=60, hook=hook
        )


@pytest.mark.parametrize("name", CASES)
def test_restore_is_whole_or_an_error(ran: Run, name: str) -> None:
    case, result = CASES[name], ran.results[name]
    asked = {kind: len(case.archive.asked(kind)) for kind in case.asked}
    if case.expected == "whole":
        assert is_whole(case.archive, result), result
    elif case.expected == "refusal":
        assert result.sha256 == sha256(REFUSAL).hexdigest(), result
    elif case.expected == "stop":
        assert len(case.archive.asks) <= CONNECTIONS + 1, "it read on"
    else:
        assert result.error, "a broken download succeeded"
        assert AS_PLAIN_CLIENTS.search(result.error), result.error
    assert asked == case.asked


def test_nothing_is_left_of_restores(ran: Run) -> None:
    assert (ran.unhandled, ran.left) == ([], [])


def test_store_sees_no_header_of_clients(ran: Run) -> None:
    asks = [ask for case in CASES.values() if case.by != "byItsRange" for ask in case.archive.asked("range", "rest")]
    assert {name for ask in asks for name in ask.headers} == CLIENTS_HEADERS
    assert {ask.headers["user-agent"] for ask in asks} == {"actions-cache-hook/1 (fast)"}


def test_no_request_begins_after_its_urls_end(ran: Run) -> None:
    late = {
        name: [ask for ask in case.archive.asked("range", "rest") if ask.seconds_left < 0]
        for name, case in CASES.items()
    }
    assert not {name: asks for name, asks in late.items() if asks}


def test_connections_at_once_are_bounded(ran: Run) -> None:
    most = {name: case.archive.most_connections for name, case in CASES.items()}
    assert {name: number for name, number in most.items() if number > 2 * CONNECTIONS + 1} == {}

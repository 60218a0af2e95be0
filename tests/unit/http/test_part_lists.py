"""A download URL answers with the archive's parts to clients that ask for them, and plainly where it can't."""

import io
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.client import HTTPResponse
from urllib.parse import urlsplit

import pytest

from actions_cache import logs
from actions_cache.aws.telemetry import LoggedTelemetry
from actions_cache.domain.archive import MergeState
from actions_cache.domain.delivery import PlainReason
from actions_cache.domain.merge_plan import MIB
from actions_cache.domain.signing import Direction
from actions_cache.domain.timing import SECOND
from actions_cache.download_services import DownloadServices
from actions_cache.events import BYTES_LISTED, PARTS_LISTED, PLAIN_FALLS
from actions_cache.http.part_lists import MEDIA_TYPE, wants_parts
from actions_cache.ports import Unavailable
from dev.clients.driver import CacheDriver, fail, name
from dev.clients.wire import Reply, send
from dev.emulation.asgi_server import served
from functions.download.handler import create_app
from tests.guarantees.crashes.environment import wait_until
from tests.support.fakes import RecordingTelemetry
from tests.support.part_list_reader import NoList, PartListReader, RangeRefused, ask, read_by_list

ONE, TWO, THREE = b"1" * 1000, b"22" * 1000, b"3"
CONTENT = ONE + TWO + THREE
HOOK = "actions-cache-hook/1 (fast)"


@dataclass
class Server:
    driver: CacheDriver
    telemetry: RecordingTelemetry
    services: DownloadServices
    url: str = ""

    def url_of(self, archive_id: str) -> str:
        expires_at = self.driver.clock.now() + 60 * SECOND
        return self.url + self.driver.services.urls.sign(Direction.DOWNLOAD, archive_id, expires_at)

    def saved(self, *parts: bytes) -> str:
        """Save an entry, and return its download URL."""
        self.driver.clock.advance(1)
        return self.url_of(self.driver.save(name(f"npm-{self.driver.clock.now()}"), *parts).archive_id)

    @property
    def falls(self) -> list[object]:
        return self.telemetry.counted(PLAIN_FALLS)


@pytest.fixture
def server(on_emulators: CacheDriver) -> Iterator[Server]:
    telemetry = RecordingTelemetry()
    on_emulators.services.telemetry = telemetry
    services = DownloadServices(on_emulators.services)
    made = Server(on_emulators, telemetry, services)
    with served(create_app(services)) as made.url:
        yield made


def archive_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


# ------------------------------------------------------------------ the request


@pytest.mark.parametrize(
    ("accept", "wants"),
    [
        ([MEDIA_TYPE], True),
        ([MEDIA_TYPE.upper()], True),
        ([f"*/*, {MEDIA_TYPE};q=0.1 ,text/html"], True),
        (["text/html", f"{MEDIA_TYPE};q=0"], True),
        ([], False),
        (["*/*"], False),
        (["application/*"], False),
        (["application/json"], False),
        ([MEDIA_TYPE.replace("v1", "v2")], False),
        ([f"{MEDIA_TYPE}x"], False),
        ([f"text/html;a={MEDIA_TYPE}"], False),
        ([",;,"], False),
    ],
)
def test_only_exact_media_type_asks_for_parts(accept: list[str], wants: bool):
    assert wants_parts(accept) is wants


# ------------------------------------------------------------------ the list


def test_list_has_every_part_in_order(server: Server):
    url = server.saved(ONE, TWO, THREE)
    reply = ask(url)
    archive_id = archive_of(url)
    parts = server.driver.services.manifests.of(server.driver.archive(archive_id)).parts
    assert (reply.status, reply.headers["Content-Type"]) == (200, MEDIA_TYPE)
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Vary"] == "Accept"
    assert reply.headers["Content-Length"] == str(len(reply.body))
    assert reply.headers["Date"]
    assert (b" " in reply.body, list(reply.json)) == (False, ["version", "size", "base", "query", "parts"])
    assert (reply.json["version"], reply.json["size"]) == (1, len(CONTENT))
    assert [row[:3] for row in reply.json["parts"]] == [[part.key, part.size, part.etag] for part in parts]
    assert {len(row[3]) for row in reply.json["parts"]} == {64}
    assert [name.partition("=")[0] for name in reply.json["query"].split("&")] == [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
    ]


@pytest.mark.parametrize("range_bytes", [1, 999, 1000, 1001, MIB])
def test_list_reads_the_same_bytes(server: Server, range_bytes: int):
    parts = ONE[:7], TWO[:5], THREE if range_bytes == 1 else TWO
    url = server.saved(*parts)
    content = b"".join(parts)
    assert read_by_list(url, range_bytes) == (content, len(content))
    server.driver.merge_all()
    assert server.driver.archive(archive_of(url)).merge.state is MergeState.MERGED
    assert read_by_list(url, range_bytes) == (content, len(content))
    assert len(PartListReader.of(url).parts) == 1


def test_single_part_is_a_list_of_one(server: Server):
    url = server.saved(ONE)
    assert len(PartListReader.of(url).parts) == 1
    assert read_by_list(url) == (ONE, len(ONE))


def test_list_leaves_out_empty_parts(server: Server):
    url = server.saved(b"", ONE, b"", TWO, b"")
    assert [part.size for part in PartListReader.of(url).parts] == [1000, 2000]
    assert read_by_list(url) == (ONE + TWO, 3000)


def test_list_lives_as_long_as_a_download_url(server: Server):
    reader = PartListReader.of(server.saved(ONE, TWO))
    seconds = server.driver.services.settings.download_url_seconds
    assert f"&X-Amz-Expires={seconds}&" in reader.message["query"]


def test_removed_entry_is_listed_until_its_grace_ends(server: Server):
    url = server.saved(ONE, TWO)
    server.driver.services.remove_entry(archive_of(url), lambda _: True)
    assert read_by_list(url) == (ONE + TWO, 3000)
    server.driver.clock.advance(server.driver.services.settings.grace_seconds)
    late = server.url_of(archive_of(url))
    assert same(ask(late), send("GET", late)).status == 404
    assert server.falls == [PlainReason.GONE]


@pytest.mark.slow
def test_up_to_a_thousand_parts_are_listed(server: Server):
    """Of 1,001 the plain answer has the bytes."""
    parts = [b"%d" % number for number in range(1001)]
    fitting, longer = server.saved(*parts[:1000]), server.saved(*parts)
    assert len(PartListReader.of(fitting).parts) == 1000
    assert len(ask(fitting).body) < 300_000
    assert read_by_list(fitting)[0] == b"".join(parts[:1000])
    with pytest.raises(NoList) as plain:
        read_by_list(longer)
    assert plain.value.reply.body == b"".join(parts)
    assert server.falls == [PlainReason.TOO_MANY_PARTS]
    server.driver.merge_all()
    assert read_by_list(longer) == (b"".join(parts), len(b"".join(parts)))


# ------------------------------------------------------------------ plain answers


def same(reply: Reply, plain: Reply) -> Reply:
    """Return the reply, which is the plain one but for its date and id."""
    varying = ("date", "x-ms-request-id")
    headers, others = (
        sorted((name.lower(), it) for name, it in one.headers.items() if name.lower() not in varying)
        for one in (reply, plain)
    )
    assert (reply.status, headers, reply.body) == (plain.status, others, plain.body)
    return reply


@pytest.mark.parametrize(
    "header",
    [
        ("Range", "bytes=0-9"),
        ("x-ms-range", "bytes=0-9"),
        ("If-Match", "*"),
        ("If-Range", '"x"'),
        ("Range", "bytes=9-1"),
    ],
)
def test_range_or_pinned_etag_gets_the_plain_answer(server: Server, header: tuple[str, str]):
    url = server.saved(ONE, TWO)
    reply = send("GET", url, headers={"Accept": MEDIA_TYPE, header[0]: header[1]})
    same(reply, send("GET", url, headers={header[0]: header[1]}))
    assert reply.headers["Vary"] == "Accept"
    assert server.falls == [PlainReason.RANGE]


def test_other_accept_headers_get_the_plain_answer(server: Server):
    url = server.saved(ONE, TWO)
    assert same(ask(url, "*/*"), send("GET", url)).body == ONE + TWO
    server.driver.merge_all()
    assert same(ask(url, "application/json"), send("GET", url)).headers["Vary"] == "Accept"
    assert server.falls == []


def test_empty_archive_gets_the_plain_answer(server: Server):
    url = server.saved(b"")
    assert ask(url).status == 302
    assert server.falls == [PlainReason.EMPTY]


def test_lost_manifest_gets_the_plain_answer(server: Server):
    url, other = server.saved(ONE, TWO), server.saved(ONE, TWO)
    for lost in (url, other):
        manifest = server.driver.archive(archive_of(lost)).commit.manifest
        server.driver.services.bucket.delete([manifest.key])
    same(ask(url), send("GET", other))
    assert server.falls == [PlainReason.GONE]


def test_failure_to_sign_gets_the_plain_answer(server: Server, monkeypatch: pytest.MonkeyPatch):
    url = server.saved(ONE, TWO)
    monkeypatch.setattr(server.driver.services.bucket, "presign_parts", lambda *_: fail(Unavailable("credentials")))
    assert ask(url).body == ONE + TWO
    assert server.falls == [PlainReason.UNAVAILABLE]


def test_list_of_other_size_is_not_given(server: Server, monkeypatch: pytest.MonkeyPatch):
    """A manifest that isn't the commit's; the stream breaks at its end."""
    url, bucket = server.saved(ONE, TWO), server.driver.services.bucket
    presign = bucket.presign_parts
    monkeypatch.setattr(bucket, "presign_parts", lambda parts, seconds: presign(parts[:1], seconds))
    assert ask(url).body == ONE + TWO
    assert server.falls == [PlainReason.UNAVAILABLE]


@pytest.mark.parametrize("host", ["cache.example", "10.0.0.7:3000"])
def test_store_on_loopback_is_listed_to_its_machine_alone(server: Server, host: str):
    url = server.saved(ONE, TWO)
    assert ask(url, X_Viewer_Host=host).body == ONE + TWO
    assert server.falls == [PlainReason.OUT_OF_REACH]


def test_invalid_host_gets_an_answer(server: Server):
    url = server.saved(ONE, TWO)
    at = urlsplit(url)
    for host in ("[half", "a b", "", "[::1", ":"):
        with socket.create_connection((at.hostname, at.port), timeout=20) as connection:
            lines = [
                f"GET {at.path}?{at.query} HTTP/1.1",
                f"Host: {host}",
                f"Accept: {MEDIA_TYPE}",
                "Connection: close",
            ]
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = HTTPResponse(connection)
            answer.begin()
            assert answer.status in (200, 400), host


def test_list_needs_a_good_signature(server: Server):
    url = server.saved(ONE, TWO)
    for altered in (url.replace("sig=", "sig=A"), url.replace("se=", "se=9"), url.partition("?")[0]):
        assert same(ask(altered), send("GET", altered)).status == 403
    server.driver.clock.advance(60)
    assert ask(url).status == 403


# ------------------------------------------------------------------ what its URLs open


def test_part_signature_opens_no_other_part(server: Server):
    url, other = server.saved(ONE, TWO), server.saved(TWO, ONE)
    message = PartListReader.of(url).message
    paths = [row[0] for listed in (url, other) for row in PartListReader.of(listed).message["parts"]]
    paths.append(server.driver.archive(archive_of(url)).commit.manifest.key)
    for own, _, _, signature in message["parts"]:
        for path in paths:
            reply = send("GET", f"{message['base']}{path}?{message['query']}&X-Amz-Signature={signature}")
            assert reply.status == (200 if path == own else 403), path


def test_part_url_opens_nothing_but_reads(server: Server):
    [part, _] = PartListReader.of(server.saved(ONE, TWO)).parts
    for method, body in (("PUT", b"forged"), ("DELETE", None), ("POST", b"")):
        assert send(method, part.url, body).status in (403, 405)
    later = part.url.replace("X-Amz-Expires=600", "X-Amz-Expires=6000")
    assert send("GET", later).status == 403
    assert send("GET", part.url).body == ONE


# ------------------------------------------------------------------ parts that are gone or changed


def test_reader_goes_on_plainly_where_a_part_is_gone(server: Server):
    """As after a merge and a cleanup that came too early."""
    url = server.saved(ONE, TWO, THREE)
    reader = PartListReader.of(url)
    server.driver.merge_all()
    server.driver.services.bucket.delete([reader.message["parts"][1][0]])
    ranges = reader.ranges()
    assert next(ranges) == ONE
    with pytest.raises(RangeRefused):
        next(ranges)
    assert read_by_list(url) == (CONTENT, len(CONTENT)), "by the merged object"


def test_lost_part_is_no_shorter_archive(server: Server):
    """The plain answer for the rest then finds that the entry is broken."""
    url = server.saved(ONE, TWO, THREE)
    server.driver.services.bucket.delete([PartListReader.of(url).message["parts"][1][0]])
    with pytest.raises((AssertionError, OSError)):
        read_by_list(url)


@pytest.mark.parametrize("body", [b"other", b"x" * 2000])
def test_changed_part_is_refused_by_its_etag(server: Server, body: bytes):
    url = server.saved(ONE, TWO, THREE)
    reader = PartListReader.of(url)
    server.driver.overwrite(reader.message["parts"][1][0], body)
    ranges = reader.ranges()
    assert next(ranges) == ONE
    with pytest.raises(RangeRefused, match="412"):
        next(ranges)


# ------------------------------------------------------------------ the claim, events, logs


@pytest.fixture
def claimable(server: Server) -> str:
    """Return the URL of an archive whose claim is dead."""
    url = server.saved(ONE, TWO)
    server.driver.messages()
    server.driver.clock.advance(server.driver.services.settings.queue_retention_seconds + 60)
    return server.url_of(archive_of(url))


def test_list_claims_the_merge_once(server: Server, claimable: str):
    assert read_by_list(claimable) == (ONE + TWO, 3000)
    wait_until(lambda: "merge retaken" in server.telemetry.names)
    assert len(server.driver.messages()) == 1
    assert read_by_list(claimable) == (ONE + TWO, 3000)
    assert server.driver.messages() == []


def test_list_comes_before_its_claim_and_ends_after_it(server: Server, claimable: str, monkeypatch: pytest.MonkeyPatch):
    """A claim that Lambda froze with the end of the answer would be dead for minutes."""
    may_fail = threading.Event()

    def claim(_: str) -> None:
        may_fail.wait(30)
        raise Unavailable("the queue")

    server.services.download = replace(server.services.download, claim_merge=claim)  # type: ignore[arg-type]
    at = urlsplit(claimable)
    with socket.create_connection((at.hostname, at.port), timeout=20) as connection:
        try:
            lines = [
                f"GET {at.path}?{at.query} HTTP/1.1",
                "Host: 127.0.0.1",
                f"Accept: {MEDIA_TYPE}",
                "Connection: close",
            ]
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = HTTPResponse(connection)
            answer.begin()
            assert json.loads(answer.read(int(answer.headers["Content-Length"])))["size"] == 3000
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            assert "merge not claimed; the schedule will" not in server.telemetry.names
        finally:
            may_fail.set()
        connection.settimeout(20)
        assert connection.recv(1) == b""
    assert "merge not claimed; the schedule will" in server.telemetry.names


def test_list_is_counted_with_parts_and_bytes(server: Server):
    url = server.saved(ONE, TWO)
    ask(url, User_Agent=HOOK)
    server.driver.merge_all()
    ask(url)
    assert (server.telemetry.counted(PARTS_LISTED), server.telemetry.counted(BYTES_LISTED)) == ([2, 1], [3000, 3000])
    assert server.falls == []


def test_list_is_logged_without_what_opens_it(server: Server, monkeypatch: pytest.MonkeyPatch):
    server.driver.services.telemetry = LoggedTelemetry()
    server.services.download = replace(server.services.download, telemetry=LoggedTelemetry())
    written = io.StringIO()
    [handler] = logs.logger.handlers
    monkeypatch.setattr(handler, "stream", written)
    url = server.saved(ONE, TWO)
    message = ask(url, User_Agent=HOOK).json
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    [line, *_] = [line for line in lines if line["message"] == "parts listed"]
    assert (line["PartsListed"], line["BytesListed"], line["archive_id"]) == (2, 3000, archive_of(url))
    assert (line["hook_version"], line["hook_mode"]) == ("1", "fast")
    secrets = [row[3] for row in message["parts"]] + [message["query"], "X-Amz-", url.partition("sig=")[2]]
    assert not [secret for secret in [*secrets, logs.LEFT_OUT] if secret in written.getvalue()]

"""What a run's logs tell: one id from a save to its end, each refusal and fault once, and no secret anywhere."""

import json
import re
import socket
from collections.abc import Iterator
from functools import cached_property
from http.client import IncompleteRead
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from actions_cache.logs import LEFT_OUT
from tests.integration.local_run.local_run import LocalRun, wait_until
from tests.support.clients.runtime_token import READ, runtime_token
from tests.support.clients.wire import GO, SERVICE, Job, send, with_query

UNUSED_SECONDS = 5
REPOSITORY, OTHER_REPOSITORY = "987654321", "123456789"
PART = b"p" * 300_000
HOSTILE = "npm-\x1b[2J\u202e\u061c" + "k" * 200
"""A key that a terminal would obey, and longer than its line."""


class Scene:
    """A run in which everything happens once, and what its jobs were given."""

    def __init__(self, run: LocalRun) -> None:
        self.run = run
        self.job = Job(run.url, runtime_token(repository=REPOSITORY))
        self.urls: list[str] = []
        self.broken_id, self.request_id = "", ""

    def play(self) -> "Scene":
        self._a_life()
        self._a_hostile_key()
        self._a_break()
        self._refusals()
        wait_until(lambda: "expire the entry" in self.told(self.archive_id), 60)
        assert self.run.stop() == 0
        return self

    def _a_life(self) -> None:
        job = self.job
        assert not job.look_up("life")["ok"]
        job.save("life", PART, PART)
        url = job.download_url("life")
        self.archive_id = urlsplit(url).path.rpartition("/")[2]
        reply = send("GET", url)
        assert reply.body == PART + PART
        self.request_id = reply.headers["x-ms-request-id"]
        job.wait_until_merged("life")
        merged = job.download_url("life")
        assert send("GET", merged).body == PART + PART
        self.urls += [url, merged]

    def _a_hostile_key(self) -> None:
        assert not self.job.look_up(HOSTILE)["ok"]
        self.job.save(HOSTILE, PART)
        self.urls.append(self.job.download_url(HOSTILE))

    def _a_break(self) -> None:
        """Its last part is gone before it is read."""
        self.job.save("broken", PART, PART, PART)
        url = Job(self.run.url, self.job.token, GO).download_url("broken")
        self.broken_id = urlsplit(url).path.rpartition("/")[2]
        s3, bucket = self.run.clients.s3, self.run.variables["BUCKET"]
        parts = s3.list_objects_v2(Bucket=bucket, Prefix=f"archives/{self.broken_id}/parts/")["Contents"]
        # What stands last in the list arrived last.
        last = max(parts, key=lambda it: it["Key"].rpartition("/")[2])["Key"]
        s3.delete_object(Bucket=bucket, Key=last)
        with pytest.raises(IncompleteRead):
            send("GET", url)
        self.urls.append(url)

    def _refusals(self) -> None:
        altered = self.urls[0].replace("sig=", "sig=A")
        assert send("GET", altered).status == 403
        assert Job(self.run.url, self.job.token[:-3] + "..").create("key").status == 401
        reader = Job(self.run.url, runtime_token(((("refs/heads/x"), READ),), repository=OTHER_REPOSITORY))
        assert reader.create("key").json["ok"] is False
        assert send("GET", with_query(f"{self.run.url}/unknown", last={"sig": "secret-of-a-query"})).status == 404
        self.urls += [altered, "?sig=secret-of-a-query"]
        with socket.create_connection(("127.0.0.1", self.run.port)) as connection:
            head = (
                f"POST /twirp/{SERVICE}/CreateCacheEntry HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Type: application/json\r\nAuthorization: Bearer {self.job.token}\r\n"
                "Content-Length: 1000\r\n\r\nhalf"
            )
            connection.sendall(head.encode())

    # ---------------------------------------------------------------- what was written

    @property
    def logs(self) -> list[Path]:
        """Of all processes, engines and the run itself among them."""
        return [self.run.output, *sorted((self.run.data / "logs").glob("*.log"))]

    @property
    def functions_logs(self) -> list[Path]:
        functions = [log for log in self.logs if re.match("server|merge-worker|cleanup|rotate", log.name)]
        assert len(functions) >= 5
        return functions

    def lines(self) -> list[dict[str, Any]]:
        """The functions', all of them structured, by time."""
        lines = [json.loads(line) for log in self.functions_logs for line in log.read_text().splitlines()]
        return sorted(lines, key=lambda line: line["timestamp"])

    @cached_property
    def all(self) -> list[dict[str, Any]]:
        return self.lines()

    def told(self, archive_id: str) -> list[str]:
        return [line["message"] for line in self.lines() if line.get("archive_id") == archive_id]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    run = LocalRun.start(
        tmp_path_factory.mktemp("seeing") / "data",
        MERGE_TRIGGER="first-download",
        UNUSED_ENTRY_SECONDS=str(UNUSED_SECONDS),
        CLEANUP_INTERVAL_SECONDS="1",
    )
    try:
        yield Scene(run.wait_until_ready()).play()
    finally:
        run.kill_everything()


def the(scene: Scene, message: str, **fields: object) -> dict[str, Any]:
    [line] = [it for it in scene.all if it["message"] == message and fields.items() <= it.items()]
    return line


def test_one_id_leads_from_the_save_through_lookup_download_and_merge_to_cleanup(scene: Scene):
    told = [line["message"] for line in scene.all if line.get("archive_id") == scene.archive_id]
    in_order = ["reserved", "saved", "hit", "first byte", "merge started", "merged", "hit"]
    steps = iter(told)
    assert all(step in steps for step in [*in_order, "entry removed", "expire the entry"]), told
    assert "merge claimed" in told


def test_every_line_about_an_archive_names_its_repository_and_the_request(scene: Scene):
    about_it = [line for line in scene.all if line.get("archive_id") in (scene.archive_id, scene.broken_id)]
    assert len(about_it) > 15
    for line in about_it:
        assert (line["repository"], bool(line["function_request_id"])) == (REPOSITORY, True), line


def test_the_id_in_a_blobs_answer_finds_the_requests_lines(scene: Scene):
    lines = [line for line in scene.all if line["function_request_id"] == scene.request_id]
    assert "first byte" in [line["message"] for line in lines]


def test_a_miss_says_why_and_whose_it_is(scene: Scene):
    line = the(scene, "miss", asked="life")
    assert (line["reason"], line["repository"], line["Misses"]) == ("no match", REPOSITORY, 1)
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["reason", "service"]]


def test_bytes_up_and_down_are_counted_where_the_repository_stands(scene: Scene):
    saved = the(scene, "saved", archive_id=scene.archive_id)
    assert (saved["BytesUp"], saved["repository"]) == (2 * len(PART), REPOSITORY)
    hits = [it for it in scene.all if it["message"] == "hit" and it["archive_id"] == scene.archive_id]
    assert len(hits) >= 3
    assert {(it["Hits"], it["BytesDown"]) for it in hits} == {(1, 2 * len(PART))}


def test_a_stream_that_breaks_on_purpose_is_told_in_one_line_and_no_traceback(scene: Scene):
    """A reader gets the right bytes or a broken connection."""
    line = the(scene, "stream broken off")
    assert (line["archive_id"], line["kind"], line["bytes"]) == (scene.broken_id, "StreamBroken", 3 * len(PART))
    assert 0 < line["sent"] < line["bytes"]
    assert not [it for it in scene.all if "exception" in it and it["archive_id"] != scene.broken_id]
    assert "unexpected error" not in {it["message"] for it in scene.all}


def test_a_client_that_goes_away_is_no_error(scene: Scene):
    line = the(scene, "the client went away")
    assert (line["level"], line["repository"]) == ("INFO", REPOSITORY)


def test_refusals_are_counted_by_their_kind(scene: Scene):
    kinds = {(it["kind"], it["request"].partition(" ")[0]) for it in scene.all if it["message"] == "refused"}
    assert {("PermissionDenied", "GET"), ("Unauthenticated", "POST"), ("PermissionDenied", "CreateCacheEntry")} <= kinds


def test_the_terminal_has_a_line_for_each_save_restore_and_miss(scene: Scene):
    told = [line.partition("  ")[2] for line in scene.run.lines if line.endswith("  life")]
    assert told[:3] == [
        "miss               repository 987654321  life",
        "save     600.0 kB  repository 987654321  life",
        "restore  600.0 kB  repository 987654321  life",
    ]
    shown = [line for line in scene.run.lines if re.match(r"\d\d:\d\d:\d\d  (save|restore|miss) ", line)]
    assert len(shown) == len([it for it in scene.all if it["message"] in ("saved", "hit", "miss")])


def test_a_hostile_key_reaches_the_terminal_harmless_and_cut(scene: Scene):
    shown = "npm-\ufffd[2J\ufffd\ufffd" + "k" * 87 + "..."
    told = [line.split()[1] for line in scene.run.lines if line.endswith(f"  repository {REPOSITORY}  {shown}")]
    assert told == ["miss", "save", "restore"]
    text = scene.run.output.read_text()
    assert [it for it in HOSTILE if not it.isprintable() and it in text] == []


def test_the_ready_line_stays_alone_on_its_line(scene: Scene):
    assert [line for line in scene.run.lines if "ready" in line] == [f"ready {scene.run.url}"]


def test_no_log_holds_a_token_a_signature_or_a_secret(scene: Scene):
    """Not even one that had to be left out."""
    query = [parse_qs(urlsplit(url).query) for url in scene.urls]
    signatures = {value for it in query for name in ("sig", "X-Amz-Signature") for value in it.get(name, ())}
    known = scene.run.variables
    secrets = {scene.job.token, scene.job.token.rpartition(".")[0], known["AWS_SECRET_ACCESS_KEY"], *signatures}
    assert len(signatures) >= 4
    for log in scene.logs:
        text = log.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], log.name
    for log in scene.functions_logs:
        text = log.read_text()
        for sign in ("sig=", "X-Amz-Signature", "Bearer ", "eyJ", LEFT_OUT):
            assert sign not in text, (log.name, text[max(0, text.index(sign) - 300) :][:400])

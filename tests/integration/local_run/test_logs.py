"""Tests a run's logs: one id from a save to its end, each refusal and error once, and no secret anywhere."""

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
from dev.clients.runtime_token import READ, runtime_token
from dev.clients.wire import GO, SERVICE, Job, send, with_query
from tests.integration.local_run.local_run import LocalRun, wait_until

UNUSED_SECONDS = 5
REPOSITORY, OTHER_REPOSITORY = "987654321", "123456789"
PART = b"p" * 300_000
HOSTILE = "npm-\x1b[2J\u202e\u061c" + "k" * 200
"""A key that a terminal would obey, and longer than its line."""


class Scenario:
    """A run in which everything happens once, and the URLs its jobs got."""

    def __init__(self, run: LocalRun) -> None:
        self.run = run
        self.job = Job(run.url, runtime_token(repository=REPOSITORY))
        self.urls: list[str] = []
        self.key, self.broken_id, self.request_id = "", "", ""

    def play(self) -> "Scenario":
        self._save_restore_and_merge()
        self._save_a_hostile_key()
        self._break_a_download()
        self._be_refused()
        wait_until(lambda: "expire the entry" in self.messages(self.archive_id), 60)
        assert self.run.stop() == 0
        return self

    def _save_restore_and_merge(self) -> None:
        job = self.job
        assert not job.look_up("life")["ok"]
        self.key, url = job.save_in_parts(PART, PART)
        self.archive_id = urlsplit(url).path.rpartition("/")[2]
        reply = send("GET", url)
        assert reply.body == PART + PART
        self.request_id = reply.headers["x-ms-request-id"]
        job.wait_until_merged(self.key)
        merged = job.download_url(self.key)
        assert send("GET", merged).body == PART + PART
        self.urls += [url, merged]

    def _save_a_hostile_key(self) -> None:
        assert not self.job.look_up(HOSTILE)["ok"]
        self.job.save(HOSTILE, PART)
        self.urls.append(self.job.download_url(HOSTILE))

    def _break_a_download(self) -> None:
        """Download an archive whose last part is gone, and that no merge has copied before."""
        while self._is_restored_without_its_last_part():
            pass

    def _is_restored_without_its_last_part(self) -> bool:
        _, url = Job(self.run.url, self.job.token, GO).save_in_parts(PART, PART, PART)
        self.broken_id = urlsplit(url).path.rpartition("/")[2]
        s3, bucket = self.run.clients.s3, self.run.variables["BUCKET"]
        parts = s3.list_objects_v2(Bucket=bucket, Prefix=f"archives/{self.broken_id}/parts/")["Contents"]
        # The last one in the list was uploaded last.
        last = max(parts, key=lambda part: part["Key"].rpartition("/")[2])["Key"]
        s3.delete_object(Bucket=bucket, Key=last)
        self.urls.append(url)
        try:
            return send("GET", url).status == 302
        except IncompleteRead:
            return False

    def _be_refused(self) -> None:
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
        """The logs of all processes, emulators and the run itself among them."""
        return [self.run.output, *sorted((self.run.data / "logs").glob("*.log"))]

    @property
    def functions_logs(self) -> list[Path]:
        return [log for log in self.logs if re.match("server|merge-worker|cleanup|rotate", log.name)]

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the functions' logs, all of them structured, by time."""
        lines = [json.loads(line) for log in self.functions_logs for line in log.read_text().splitlines()]
        return sorted(lines, key=lambda line: line["timestamp"])

    @cached_property
    def all(self) -> list[dict[str, Any]]:
        return self.lines()

    def messages(self, archive_id: str) -> list[str]:
        return [line["message"] for line in self.lines() if line.get("archive_id") == archive_id]


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    run = LocalRun.start(
        tmp_path_factory.mktemp("seeing") / "data",
        MERGE_TRIGGER="first-download",
        UNUSED_ENTRY_SECONDS=str(UNUSED_SECONDS),
        CLEANUP_INTERVAL_SECONDS="1",
    )
    try:
        yield Scenario(run.wait_until_ready()).play()
    finally:
        run.kill_everything()


def the(scenario: Scenario, message: str, **fields: object) -> dict[str, Any]:
    [found] = [line for line in scenario.all if line["message"] == message and fields.items() <= line.items()]
    return found


def test_one_id_leads_from_save_to_cleanup(scenario: Scenario):
    messages = [line["message"] for line in scenario.all if line.get("archive_id") == scenario.archive_id]
    in_order = ["reserved", "saved", "hit", "first byte", "merge started", "merged", "hit"]
    steps = iter(messages)
    assert all(step in steps for step in [*in_order, "entry removed", "expire the entry"]), messages
    assert "merge claimed" in messages


def test_lines_name_repository_and_request(scenario: Scenario):
    about_it = [line for line in scenario.all if line.get("archive_id") in (scenario.archive_id, scenario.broken_id)]
    assert len(about_it) > 15
    for line in about_it:
        assert (line["repository"], bool(line["function_request_id"])) == (REPOSITORY, True), line
    assert "first byte" in [
        line["message"] for line in scenario.all if line["function_request_id"] == scenario.request_id
    ]


def test_misses_saves_and_hits_are_counted(scenario: Scenario):
    miss = the(scenario, "miss", requested_key="life")
    assert (miss["reason"], miss["repository"], miss["Misses"]) == ("no match", REPOSITORY, 1)
    assert miss["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["reason", "service"]]
    saved = the(scenario, "saved", archive_id=scenario.archive_id)
    assert (saved["BytesUp"], saved["repository"]) == (2 * len(PART), REPOSITORY)
    hits = [line for line in scenario.all if line["message"] == "hit" and line["archive_id"] == scenario.archive_id]
    assert len(hits) >= 3
    assert {(hit["Hits"], hit["BytesDown"]) for hit in hits} == {(1, 2 * len(PART))}


def test_broken_stream_is_logged_once(scenario: Scenario):
    """No reader gets wrong bytes: a stream that can't go on breaks off."""
    line = the(scenario, "stream broken off")
    assert (line["archive_id"], line["kind"], line["bytes"]) == (scenario.broken_id, "StreamBroken", 3 * len(PART))
    assert 0 < line["sent"] < line["bytes"]
    assert not [line for line in scenario.all if "exception" in line and line["archive_id"] != scenario.broken_id]
    assert "unexpected error" not in {line["message"] for line in scenario.all}


def test_refusals_are_counted_by_kind(scenario: Scenario):
    """A client that goes away is none, and no error."""
    refused = [line for line in scenario.all if line["message"] == "refused"]
    kinds = {(line["kind"], line["request"].partition(" ")[0]) for line in refused}
    assert {("PermissionDenied", "GET"), ("Unauthenticated", "POST"), ("PermissionDenied", "CreateCacheEntry")} <= kinds
    gone = the(scenario, "the client went away")
    assert (gone["level"], gone["repository"]) == ("INFO", REPOSITORY)


def test_terminal_shows_saves_restores_and_misses(scenario: Scenario):
    keys = ("  life", f"  {scenario.key}")
    shown_lines = [line.partition("  ")[2] for line in scenario.run.lines if line.endswith(keys)]
    assert shown_lines[:3] == [
        "miss                repository 987654321  life",
        f"save     585.9 KiB  repository 987654321  {scenario.key}",
        f"restore  585.9 KiB  repository 987654321  {scenario.key}",
    ]
    assert [line for line in scenario.run.lines if "ready" in line] == [f"ready {scenario.run.url}"]
    shown = [line for line in scenario.run.lines if re.match(r"\d\d:\d\d:\d\d  (save|restore|miss) ", line)]
    assert len(shown) == len([line for line in scenario.all if line["message"] in ("saved", "hit", "miss")])


def test_hostile_key_is_harmless_on_the_terminal(scenario: Scenario):
    shown = "npm-\ufffd[2J\ufffd\ufffd" + "k" * 87 + "..."
    shown_lines = [
        line.split()[1] for line in scenario.run.lines if line.endswith(f"  repository {REPOSITORY}  {shown}")
    ]
    assert shown_lines == ["miss", "save", "restore"]
    text = scenario.run.output.read_text()
    assert [char for char in HOSTILE if not char.isprintable() and char in text] == []


def test_logs_hold_no_secret(scenario: Scenario):
    """No secret even had to be left out."""
    query = [parse_qs(urlsplit(url).query) for url in scenario.urls]
    signatures = {value for fields in query for name in ("sig", "X-Amz-Signature") for value in fields.get(name, ())}
    known = scenario.run.variables
    secrets = {scenario.job.token, scenario.job.token.rpartition(".")[0], known["AWS_SECRET_ACCESS_KEY"], *signatures}
    assert len(signatures) >= 4
    for log in scenario.logs:
        text = log.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], log.name
    assert len(scenario.functions_logs) >= 5
    for log in scenario.functions_logs:
        text = log.read_text()
        for sign in ("sig=", "X-Amz-Signature", "Bearer ", "eyJ", LEFT_OUT):
            assert sign not in text, (log.name, text[max(0, text.index(sign) - 300) :][:400])

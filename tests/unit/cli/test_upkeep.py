"""`verify`, `reconcile` and `dlq`: damage is found, and repaired only with --yes."""

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from actions_cache.aws.sqs import SqsDeadLetters, SqsMergeQueue
from actions_cache.domain.archive import MergeState
from actions_cache.domain.budgets import Repository, Usage
from actions_cache.events import RunEnd
from actions_cache.ports import MergeMessage, Unavailable
from actions_cache_cli.__main__ import main
from dev.clients.driver import fail, name, plenty
from tests.unit.cli.conftest import Operated, fail_merge

BODY = b"modules " * 100


def test_verify_removes_damaged_entries_with_yes(operated: Operated):
    operated.driver.services.repositories.note(Repository("42", "acme/app", 0))
    entry = operated.driver.save(name("npm-1"), BODY)
    operated.driver.save(name("npm-2"), BODY)
    assert operated.run("verify", "--deep").last_line == "2 archives, 1.6 KiB: 0 damaged"
    key = operated.driver.archive(entry.archive_id).object.key
    operated.driver.overwrite(key, BODY[:99] + b"X" + BODY[100:])
    before = operated.everything()

    found = operated.run.json("verify", code=1)
    assert found["archives"] == 2
    place = {"repository": "42", "scope": "refs/heads/main", "version": "v1", "key": "npm-1"}
    damage = {"archive_id": entry.archive_id, "object": key, "damage": "it has another size or ETag", "removed": False}
    assert found["damaged"] == [damage | place]
    seen = operated.run("verify", "--repair")
    assert (seen.code, seen.out.splitlines()[1].split()[0]) == (1, "acme/app")
    assert seen.last_line == "2 archives, 1.6 KiB: 1 damaged (800 B); nothing was changed: --yes removes their entries"
    refused = operated.run("verify", "--yes")
    assert (refused.code, "--repair" in refused.err) == (2, True)
    assert operated.everything() == before

    assert operated.run("verify", "--repair", "--yes").last_line.endswith("1 entry removed")
    assert operated.driver.look_up("npm-1") is None
    assert operated.driver.look_up("npm-2") is not None
    assert operated.run("verify").code == 0


def test_reconcile_deletes_orphans_and_corrects_counts_with_yes(operated: Operated):
    kept = [operated.driver.save(name("npm-1", repository=it), BODY).archive_id for it in ("42", "43")]
    orphan = "0" * 32
    for number in range(2):
        operated.driver.services.bucket.write_once(f"archives/{orphan}/parts/blob/{number}", b"nobody's")
    repositories = operated.driver.services.repositories
    for repository in ("42", "43"):
        repositories.note(Repository(repository, None, 0))
    repositories.correct_usage("42", Usage(1_000, 3))
    before = operated.everything()

    found = operated.run.json("reconcile", code=1)
    wrong = {"counted": {"entries": 4, "bytes": 1_800}, "stored": {"entries": 1, "bytes": 800}}
    assert found["orphans"] == [{"archive_id": orphan, "objects": 2, "bytes": 16, "deleted": False}]
    assert found["miscounted"] == [wrong | {"repository": "42", "corrected": False}]
    assert operated.everything() == before
    assert operated.run("reconcile", "--yes").last_line.endswith("1 counted wrong; corrected")
    assert {part.key.split("/")[1] for part in operated.driver.services.bucket.list("")} == set(kept)
    assert repositories.usage("42") == repositories.usage("43") == Usage(800, 1)
    assert repositories.store_usage() == Usage(1_600, 2)
    assert operated.run.json("reconcile")["miscounted"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify"], "--stack NAME"),
        (["verify", "--local"], "make run"),
        (["verify", "--local", "--stack", "cache"], "say one of them"),
    ],
)
def test_missing_server_says_what_to_do(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LOCAL_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("ACTIONS_CACHE_STACK", raising=False)
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_redrive_needs_yes_and_ends_merged(operated: Operated, monkeypatch):
    message = fail_merge(operated, "npm-1")
    before = operated.everything()

    [shown] = operated.run.json("dlq", "show", code=1)["messages"]
    assert shown["archive_id"] == message.archive_id
    assert (shown["key"], shown["merge"], shown["replay"]) == ("npm-1", "failed", "claim")
    dry = operated.run("dlq", "redrive")
    assert (dry.code, dry.last_line) == (1, "1 message; nothing was changed: --yes redrives")
    assert operated.everything() == before
    with monkeypatch.context() as patch:
        patch.setattr(SqsMergeQueue, "send", lambda *_: fail(Unavailable("503")))
        refused = operated.run("dlq", "redrive", "--yes")
    assert (refused.code, "failed: 503" in refused.out, operated.dead()) == (1, True, 1)

    assert operated.run("dlq", "replay", "--yes").last_line == "1 message: 1 dealt with, 0 left", "its former name"
    assert "replay" not in operated.run("dlq", "--help").out
    assert operated.dead() == 0
    services = operated.driver.services
    assert services.merge(message, plenty) is RunEnd.NOT_OURS, "delivered once more after all"
    assert operated.driver.merge_all() == [RunEnd.MERGED]
    assert operated.driver.content(message.archive_id) == b"onetwo"


def test_redrive_drops_obsolete_messages_only(operated: Operated):
    driver = operated.driver
    merged, removed, running, overtaken = [
        fail_merge(operated, key) for key in ("merged", "removed", "running", "retaken")
    ]
    again = driver.services.claim_merge.again
    assert again(merged)
    driver.merge_all()
    driver.services.remove_entry(removed.archive_id, lambda _: True)
    assert again(overtaken)
    start_a_run_of(operated, running)
    driver.sqs.send_message(QueueUrl=operated.dead_letter_queue_url, MessageBody="no merge message")

    answer = operated.run("dlq", "redrive", "--yes", "--json")
    messages = answer.document["messages"]
    done = {row["key"] or row["body"]: (row["replay"], row["done"]) for row in messages}
    assert done == {
        "merged": ("drop_merged", True),
        "removed": ("drop_gone", True),
        "retaken": ("drop_overtaken", True),
        "running": ("leave_running", False),
        "no merge message": ("leave_unreadable", False),
    }
    assert answer.code == 1
    assert operated.dead() == 2
    assert len(driver.messages()) == 1, "the retaken one's"
    assert operated.run("dlq", "redrive", "--yes", "--drop-unreadable").last_line == "2 messages: 1 dealt with, 1 left"
    assert operated.dead() == 1


def start_a_run_of(operated: Operated, message: MergeMessage) -> None:
    """Put the archive into a live run, as if the message had been delivered twice."""
    table = operated.driver.services.table
    seen = operated.driver.archive(message.archive_id)
    lease = operated.driver.clock.now() + 600_000
    merge = replace(seen.merge, state=MergeState.RUNNING, run_token="run", lease_until=lease)
    table.replace_archive(seen, replace(seen, merge=merge))


def test_messages_come_back_if_the_queue_fails(operated: Operated, monkeypatch: pytest.MonkeyPatch):
    fail_merge(operated, "npm-1")
    client = operated.driver.services.session.client("sqs")
    dead_letters = SqsDeadLetters(client, operated.dead_letter_queue_url)
    answers = iter([client.receive_message, lambda **_: fail(EndpointConnectionError(endpoint_url="sqs"))])

    def receive(**parameters: Any) -> Any:
        return next(answers)(**parameters)

    monkeypatch.setattr(client, "receive_message", receive)
    with pytest.raises(Unavailable), dead_letters.held():
        raise AssertionError
    monkeypatch.undo()
    with dead_letters.held() as held:
        assert len(held) == 1

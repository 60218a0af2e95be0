"""`verify`, `reconcile` and `dlq`: damage is found, and repaired only with --yes."""

from concurrent.futures import ThreadPoolExecutor
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
from tests.unit.cli.conftest import Operated, fail_merge, process

BODY = b"modules " * 100


def flip_a_byte(operated: Operated, archive_id: str) -> str:
    """Change one byte of an archive's only object, and return its key."""
    key = operated.driver.archive(archive_id).object.key
    operated.driver.overwrite(key, BODY[:99] + b"X" + BODY[100:])
    return key


def test_verify_removes_damaged_entries_with_yes(operated: Operated):
    entry = operated.driver.save(name("npm-1"), BODY)
    operated.driver.save(name("npm-2"), BODY)
    assert operated.run("verify", "--deep").last_line == "2 archives, 1.6 kB: 0 damaged"
    key = flip_a_byte(operated, entry.archive_id)
    before = operated.everything()

    found = operated.run.json("verify", code=1)
    assert found["archives"] == 2
    assert found["damaged"] == [
        {
            "archive_id": entry.archive_id,
            "repository": "42",
            "scope": "refs/heads/main",
            "version": "v1",
            "key": "npm-1",
            "object": key,
            "damage": "it has another size or ETag",
            "removed": False,
        }
    ]
    seen = operated.run("verify", "--repair")
    assert seen.code == 1
    assert seen.last_line == "2 archives, 1.6 kB: 1 damaged; nothing was changed: --yes removes their entries"
    assert operated.everything() == before

    assert operated.run("verify", "--repair", "--yes").last_line.endswith("1 entry removed")
    assert operated.driver.look_up("npm-1") is None
    assert operated.driver.look_up("npm-2") is not None
    assert operated.run("verify").code == 0


def test_yes_without_repair_is_an_error(operated: Operated):
    answer = operated.run("verify", "--yes")
    assert answer.code == 2
    assert "--repair" in answer.err


def test_reconcile_deletes_orphans_with_yes(operated: Operated):
    kept = operated.driver.save(name("npm-1"), BODY).archive_id
    orphan = "0" * 32
    for number in range(2):
        operated.driver.services.bucket.write_once(f"archives/{orphan}/parts/blob/{number}", b"nobody's")
    before = operated.everything()

    orphans = [{"archive_id": orphan, "objects": 2, "bytes": 16, "deleted": False}]
    assert operated.run.json("reconcile")["orphans"] == orphans
    assert operated.everything() == before
    assert operated.run("reconcile", "--yes").last_line.endswith("0 counted wrong; corrected")
    assert {part.key.split("/")[1] for part in operated.driver.services.bucket.list("")} == {kept}


def test_reconcile_corrects_wrong_counts_only(operated: Operated):
    operated.driver.save(name("npm-1"), BODY)
    operated.driver.save(name("npm-1", repository="43"), BODY)
    repositories = operated.driver.services.repositories
    for repository in ("42", "43"):
        repositories.note(Repository(repository, None, 0))
    repositories.correct_usage("42", Usage(1_000, 3))

    wrong = {
        "repository": "42",
        "counted": {"entries": 4, "bytes": 1_800},
        "stored": {"entries": 1, "bytes": 800},
        "corrected": False,
    }
    assert operated.run.json("reconcile")["miscounted"] == [wrong]
    assert operated.run.json("reconcile", "--yes")["miscounted"] == [wrong | {"corrected": True}]
    assert repositories.usage("42") == repositories.usage("43") == Usage(800, 1)
    assert repositories.store_usage() == Usage(1_600, 2)
    assert operated.run.json("reconcile")["miscounted"] == []


def test_verify_and_reconcile_run_as_processes(operated: Operated):
    operated.driver.save(name("npm-1"), BODY)
    verified = process("verify", "--local", "--deep")
    assert (verified.code, verified.out, verified.err) == (0, "1 archive, 800 B: 0 damaged\n", "")
    assert process("reconcile", "--local", "--json").document["archives"] == 1


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


def test_redrive_needs_yes_and_ends_merged(operated: Operated):
    message = fail_merge(operated, "npm-1")
    before = operated.everything()

    [shown] = operated.run.json("dlq", "show")["messages"]
    assert shown["archive_id"] == message.archive_id
    assert (shown["key"], shown["merge"], shown["replay"]) == ("npm-1", "failed", "claim")
    dry = operated.run("dlq", "redrive")
    assert (dry.code, dry.last_line) == (0, "1 message; nothing was changed: --yes redrives")
    assert operated.everything() == before

    assert operated.run("dlq", "redrive", "--yes").last_line == "1 message: 1 dealt with, 0 left"
    assert operated.dead() == 0
    services = operated.driver.services
    assert services.merge(message, plenty) is RunEnd.NOT_OURS, "delivered once more after all"
    assert operated.driver.merge_all() == [RunEnd.MERGED]
    assert operated.driver.content(message.archive_id) == b"onetwo"


def test_concurrent_redrives_claim_once(operated: Operated):
    message = fail_merge(operated, "npm-1")
    with ThreadPoolExecutor(8) as executor:
        won = list(executor.map(lambda _: operated.driver.services.claim_merge.again(message), range(8)))
    assert sum(won) == 1
    assert len(operated.driver.messages()) == 1


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


def test_message_stays_if_the_queue_refuses_it(operated: Operated, monkeypatch):
    fail_merge(operated, "npm-1")
    with monkeypatch.context() as patch:
        patch.setattr(SqsMergeQueue, "send", refuse)
        answer = operated.run("dlq", "redrive", "--yes")
    assert answer.code == 1
    assert "failed: 503" in answer.out
    assert operated.dead() == 1


def refuse(*_: object) -> None:
    raise Unavailable("503")


def test_dlq_runs_as_a_process(operated: Operated):
    assert process("dlq", "show", "--local").out == "0 messages in the dead-letter queue\n"
    assert process("dlq", "redrive", "--local", "--json").document == {"messages": []}


def test_redrives_former_name_works_unlisted(operated: Operated):
    assert operated.run("dlq", "replay").last_line == operated.run("dlq", "redrive").last_line
    assert "replay" not in operated.run("dlq", "--help").out


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

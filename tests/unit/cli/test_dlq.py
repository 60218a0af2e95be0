"""`dlq`: merges that failed for good get another try, and never two at once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from actions_cache.aws.sqs import SqsDeadLetters, SqsMergeQueue
from actions_cache.domain.archive import MergeState
from actions_cache.events import RunEnd
from actions_cache.ports import MergeMessage, Unavailable
from tests.support.journey import fail, plenty
from tests.unit.cli.command import process
from tests.unit.cli.conftest import Operated
from tests.unit.cli.poisoning import poison


def test_a_poisoned_merge_is_shown_replayed_only_by_yes_and_ends_merged(operated: Operated):
    dead_letter = poison(operated, "npm-1")
    before = operated.everything()

    [shown] = operated.run.json("dlq", "show")["messages"]
    assert shown["archive_id"] == dead_letter.archive_id
    assert (shown["key"], shown["merge"], shown["replay"]) == ("npm-1", "failed", "claim")
    dry = operated.run("dlq", "replay")
    assert (dry.code, dry.last_line) == (0, "1 message; nothing was changed: --yes replays")
    assert operated.everything() == before

    assert operated.run("dlq", "replay", "--yes").last_line == "1 message: 1 dealt with, 0 left"
    assert operated.dead() == 0
    services = operated.journey.services
    assert services.merge(dead_letter, plenty) is RunEnd.NOT_OURS, "delivered once more after all"
    assert operated.journey.merge_all() == [RunEnd.MERGED]
    assert operated.journey.content(dead_letter.archive_id) == b"onetwo"


def test_of_many_replays_of_one_letter_one_claims_and_sends(operated: Operated):
    dead_letter = poison(operated, "npm-1")
    with ThreadPoolExecutor(8) as executor:
        won = list(executor.map(lambda _: operated.journey.services.claim_merge.again(dead_letter), range(8)))
    assert sum(won) == 1
    assert len(operated.journey.messages()) == 1


def test_letters_that_nobody_needs_go_and_those_that_people_should_see_stay(operated: Operated):
    journey = operated.journey
    merged, removed, running, overtaken = [poison(operated, key) for key in ("merged", "removed", "running", "retaken")]
    again = journey.services.claim_merge.again
    assert again(merged)
    journey.merge_all()
    journey.services.remove_entry(removed.archive_id, lambda _: True)
    assert again(overtaken)
    start_a_run_of(operated, running)
    journey.sqs.send_message(QueueUrl=operated.dead_letter_queue_url, MessageBody="no merge message")

    answer = operated.run("dlq", "replay", "--yes", "--json")
    done = {it["key"] or it["body"]: (it["replay"], it["done"]) for it in answer.document["messages"]}
    assert done == {
        "merged": ("drop_merged", True),
        "removed": ("drop_gone", True),
        "retaken": ("drop_overtaken", True),
        "running": ("leave_running", False),
        "no merge message": ("leave_unreadable", False),
    }
    assert answer.code == 1
    assert operated.dead() == 2
    assert len(journey.messages()) == 1, "the retaken one's"
    assert operated.run("dlq", "replay", "--yes", "--drop-unreadable").last_line == "2 messages: 1 dealt with, 1 left"
    assert operated.dead() == 1


def start_a_run_of(operated: Operated, dead_letter: MergeMessage) -> None:
    """A day later it may try again by itself; here the letter's own claim lives as if it were delivered twice."""
    table = operated.journey.services.table
    seen = operated.journey.archive(dead_letter.archive_id)
    lease = operated.journey.clock.now() + 600_000
    merge = replace(seen.merge, state=MergeState.RUNNING, run_token="run", lease_until=lease)
    table.replace_archive(seen, replace(seen, merge=merge))


def test_a_letter_stays_where_the_queue_takes_no_message(operated: Operated, monkeypatch):
    poison(operated, "npm-1")
    with monkeypatch.context() as patch:
        patch.setattr(SqsMergeQueue, "send", refuse)
        answer = operated.run("dlq", "replay", "--yes")
    assert answer.code == 1
    assert "failed: 503" in answer.out
    assert operated.dead() == 1


def refuse(*_: object) -> None:
    raise Unavailable("503")


def test_both_as_a_user_starts_them(operated: Operated):
    assert process("dlq", "show", "--local").out == "0 messages in the dead-letter queue\n"
    assert process("dlq", "replay", "--local", "--json").document == {"messages": []}


def test_letters_come_back_at_once_when_the_queue_stops_answering(operated: Operated, monkeypatch: pytest.MonkeyPatch):
    poison(operated, "npm-1")
    client = operated.journey.services.session.client("sqs")
    dead_letters = SqsDeadLetters(client, operated.dead_letter_queue_url)
    answers = iter([client.receive_message, lambda **_: fail(EndpointConnectionError(endpoint_url="sqs"))])

    def receive(**asked: Any) -> Any:
        return next(answers)(**asked)

    monkeypatch.setattr(client, "receive_message", receive)
    with pytest.raises(Unavailable), dead_letters.held():
        raise AssertionError
    monkeypatch.undo()
    with dead_letters.held() as held:
        assert len(held) == 1

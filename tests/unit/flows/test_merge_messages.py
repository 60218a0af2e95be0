"""A merge message ends merged, delivered again soon, or a dead letter, whatever the queue's count."""

import json
from typing import Any

import pytest

from actions_cache.domain.archive import MergeState
from actions_cache.ports import Unavailable
from dev.local.lambda_runtime import LambdaContext
from dev.local.triggers import sqs_event
from functions.merge import handler
from tests.support.journey import Journey, fail, name


class Queue:
    """Reads the journey's queue as Lambda's event source does, with the worker's visibility timeouts."""

    def __init__(self, journey: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
        self._journey = journey
        self.url = journey.services.settings.merge_queue_url
        self.retries: list[int] = []
        change = journey.services.queue.deliver_again_in

        def deliver_again_in(receipt_handle: str, seconds: int) -> None:
            self.retries.append(seconds)
            change(receipt_handle, 0)

        monkeypatch.setattr(journey.services.queue, "deliver_again_in", deliver_again_in)

    def deliver(self, *, counted: int = 0) -> bool:
        """Return whether the worker has done the next message.

        Args:
            counted: earlier deliveries that had no room.
        """
        sqs = self._journey.sqs
        [message] = sqs.receive_message(QueueUrl=self.url, MessageSystemAttributeNames=["All"])["Messages"]
        received = int(message["Attributes"]["ApproximateReceiveCount"])
        message["Attributes"]["ApproximateReceiveCount"] = str(received + counted)
        event = sqs_event([message], "arn:aws:sqs:eu-central-1:1:merge", "eu-central-1")
        context: Any = LambdaContext("MergeFunction", 1024, 300, "eu-central-1")
        failed = handler.lambda_handler(event, context)["batchItemFailures"]
        if not failed:
            sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return not failed

    def dead_letters(self) -> list[str]:
        url = self._journey.services.settings.merge_dead_letter_queue_url
        received = self._journey.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message["Body"] for message in received.get("Messages", [])]


@pytest.fixture
def queue(journey: Journey, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setattr(handler, "services", lambda: journey.services)
    return Queue(journey, monkeypatch)


@pytest.fixture
def failing(journey: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journey.services.bucket, "upload_part", lambda *_: fail(Unavailable("503")))


def test_invalid_message_becomes_dead_letter(journey: Journey, queue: Queue) -> None:
    journey.sqs.send_message(QueueUrl=queue.url, MessageBody="no merge message")
    assert queue.deliver()
    assert queue.dead_letters() == ["no merge message"]
    assert queue.retries == []


@pytest.mark.usefixtures("failing")
def test_failed_merge_becomes_dead_letter(journey: Journey, queue: Queue) -> None:
    entry = journey.save(name("npm-1"), b"one", b"two")
    for _ in range(journey.services.settings.merge_attempts):
        assert queue.dead_letters() == []
        assert not queue.deliver()
    assert queue.deliver()
    assert [json.loads(dead_letter)["archive_id"] for dead_letter in queue.dead_letters()] == [entry.archive_id]
    assert journey.archive(entry.archive_id).merge.state is MergeState.FAILED
    assert queue.retries == [10, 20, 40, 80, 160]


def test_throttled_deliveries_are_no_attempts(journey: Journey, queue: Queue) -> None:
    """Four times five is one less than the queue gives."""
    entry = journey.save(name("npm-1"), b"one", b"two")
    assert queue.deliver(counted=18)
    assert queue.dead_letters() == []
    assert journey.archive(entry.archive_id).merge.state is MergeState.MERGED


@pytest.mark.usefixtures("failing")
def test_late_failure_is_retried_within_minutes(journey: Journey, queue: Queue) -> None:
    journey.save(name("npm-1"), b"one", b"two")
    assert not queue.deliver(counted=18)
    assert queue.retries == [300]


def test_message_stays_if_dead_letter_fails(journey: Journey, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    journey.sqs.send_message(QueueUrl=queue.url, MessageBody="no merge message")
    with monkeypatch.context() as faults:
        faults.setattr(journey.services.queue, "give_up", lambda _: fail(Unavailable("503")))
        assert not queue.deliver()
    assert queue.retries == [10]
    assert queue.deliver()
    assert queue.dead_letters() == ["no merge message"]

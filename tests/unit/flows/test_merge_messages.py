"""A merge message is done, delivered again soon, or becomes a dead letter, whatever the queue's count."""

import json
from typing import Any

import pytest

from actions_cache.domain.archive import MergeState
from actions_cache.ports import Unavailable
from dev.clients.driver import CacheDriver, fail, name
from dev.local.lambda_runtime import LambdaContext
from dev.local.triggers import sqs_event
from functions.merge import handler


class Queue:
    """Delivers the queue's messages to the function as Lambda does, and records its back-offs."""

    def __init__(self, driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> None:
        self._driver = driver
        self.url = driver.services.settings.merge_queue_url
        self.retries: list[int] = []
        change = driver.services.queue.deliver_again_in

        def deliver_again_in(receipt_handle: str, seconds: int) -> None:
            self.retries.append(seconds)
            change(receipt_handle, 0)

        monkeypatch.setattr(driver.services.queue, "deliver_again_in", deliver_again_in)

    def deliver(self, *, counted: int = 0) -> bool:
        """Deliver the next message, and return whether the worker is done with it.

        Args:
            counted: number of earlier deliveries that Lambda had no room for.
        """
        sqs = self._driver.sqs
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
        url = self._driver.services.settings.merge_dead_letter_queue_url
        received = self._driver.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message["Body"] for message in received.get("Messages", [])]


@pytest.fixture
def queue(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setattr(handler, "services", lambda: driver.services)
    return Queue(driver, monkeypatch)


def test_invalid_message_becomes_dead_letter(driver: CacheDriver, queue: Queue, monkeypatch) -> None:
    driver.sqs.send_message(QueueUrl=queue.url, MessageBody="no merge message")
    with monkeypatch.context() as faults:
        faults.setattr(driver.services.queue, "give_up", lambda _: fail(Unavailable("503")))
        assert not queue.deliver(), "it stays if it can't become one"
    assert queue.retries == [10]
    assert queue.deliver()
    assert queue.dead_letters() == ["no merge message"]
    assert queue.retries == [10]


def test_failed_merge_becomes_dead_letter(driver: CacheDriver, queue: Queue, monkeypatch) -> None:
    monkeypatch.setattr(driver.services.bucket, "upload_part", lambda *_: fail(Unavailable("503")))
    entry = driver.save(name("npm-1"), b"one", b"two")
    for _ in range(driver.services.settings.merge_attempts):
        assert queue.dead_letters() == []
        assert not queue.deliver()
    assert queue.deliver()
    assert [json.loads(dead_letter)["archive_id"] for dead_letter in queue.dead_letters()] == [entry.archive_id]
    assert driver.archive(entry.archive_id).merge.state is MergeState.FAILED
    assert queue.retries == [10, 20, 40, 80, 160]


@pytest.mark.parametrize("fails", [False, True])
def test_throttled_deliveries_are_no_attempts(driver, queue, monkeypatch, *, fails: bool) -> None:
    """After 18 deliveries that Lambda had no room for, this one is the last but one that the queue allows."""
    entry = driver.save(name("npm-1"), b"one", b"two")
    if fails:
        monkeypatch.setattr(driver.services.bucket, "upload_part", lambda *_: fail(Unavailable("503")))
    assert queue.deliver(counted=18) is not fails
    assert queue.retries == ([300] if fails else []), "it comes back within minutes"
    assert queue.dead_letters() == []
    state = MergeState.QUEUED if fails else MergeState.MERGED
    assert driver.archive(entry.archive_id).merge.state is state

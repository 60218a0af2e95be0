"""Batches go to the function as Lambda hands them over, and only what it has done leaves the queue."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from dev.local.queue_poller import QueuePoller, done_records

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass
class Queues:
    sqs: "SQSClient"
    url: str
    dead_letters: str

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def waiting(self, url: str) -> int:
        """Messages in a queue, being worked on or not."""
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])


@dataclass
class Function:
    """Fails the messages whose body says so."""

    fails: bool = False
    events: list[Any] = field(default_factory=list)

    def __call__(self, event: Any) -> Any:
        self.events.append(event)
        if self.fails:
            raise RuntimeError("the whole batch")
        failed = [record["messageId"] for record in event["Records"] if record["body"] == "bad"]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


@pytest.fixture
def queues(boto_session: boto3.Session) -> Iterator[Queues]:
    """A message comes back at once, and is a dead letter after its second failure."""
    with mock_aws():
        sqs = boto_session.client("sqs")
        dead_letters = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
        url = sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "0", "RedrivePolicy": redrive})
        yield Queues(sqs, url["QueueUrl"], dead_letters)


def poller(queues: Queues, function: Function, batch_size: int = 10, *, reports: bool = True) -> QueuePoller:
    return QueuePoller(queues.sqs, queues.url, function, batch_size=batch_size, reports_item_failures=reports)


def test_only_the_messages_that_failed_stay(queues: Queues):
    queues.send("good", "bad", "good")
    poller(queues, Function()).poll()
    [left] = queues.sqs.receive_message(QueueUrl=queues.url, MaxNumberOfMessages=10)["Messages"]
    assert left["Body"] == "bad"


def test_an_error_of_the_function_fails_the_whole_batch(queues: Queues):
    queues.send("good", "good")
    poller(queues, Function(fails=True)).poll()
    assert queues.waiting(queues.url) == 2


def test_a_function_that_does_not_report_items_has_done_them_all(queues: Queues):
    queues.send("good", "bad")
    poller(queues, Function(), reports=False).poll()
    assert queues.waiting(queues.url) == 0


def test_a_poison_message_becomes_a_dead_letter(queues: Queues):
    queues.send("bad")
    worker = poller(queues, Function())
    for _ in range(3):
        worker.poll()
    assert (queues.waiting(queues.url), queues.waiting(queues.dead_letters)) == (0, 1)


def test_a_batch_is_no_larger_than_the_template_says(queues: Queues):
    queues.send("good", "good", "good")
    function = Function()
    poller(queues, function, batch_size=1).poll()
    assert [len(event["Records"]) for event in function.events] == [1]


def test_an_empty_queue_calls_nobody(queues: Queues):
    function = Function()
    poller(queues, function).poll()
    assert function.events == []


RECORDS = [{"messageId": "a"}, {"messageId": "b"}]


@pytest.mark.parametrize(
    ("answer", "done"),
    [
        (None, "ab"),
        ({}, "ab"),
        ({"batchItemFailures": []}, "ab"),
        ({"batchItemFailures": None}, "ab"),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, "b"),
        ({"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]}, ""),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, ""),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, ""),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, ""),
        ({"batchItemFailures": [{"id": "a"}]}, ""),
    ],
)
def test_an_answer_that_names_no_message_of_the_batch_fails_it(answer: Any, done: str):
    assert "".join(record["messageId"] for record in done_records(RECORDS, answer)) == done

"""Tests that queues and schedules call functions as on AWS, with events as recorded in events/."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from dev.local.template import ROOT, Template
from dev.local.triggers import (
    QueuePoller,
    done_records,
    run_once,
    schedule_event,
    schedule_input,
    seconds_until_next,
    sqs_event,
)

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


def test_failed_messages_stay_in_the_queue(queues: Queues):
    queues.send("good", "bad", "good")
    function = Function()
    poller(queues, function).poll()
    [left] = queues.sqs.receive_message(QueueUrl=queues.url, MaxNumberOfMessages=10)["Messages"]
    assert left["Body"] == "bad"
    poller(queues, Function(), reports=False).poll()
    assert queues.waiting(queues.url) == 0, "a function that reports no items has done them all"
    poller(queues, function).poll()
    queues.send("good", "good")
    poller(queues, function, batch_size=1).poll()
    assert [len(event["Records"]) for event in function.events] == [3, 1], "an empty queue invokes nothing"


def test_error_fails_the_whole_batch(queues: Queues):
    queues.send("good", "good")
    poller(queues, Function(fails=True)).poll()
    assert queues.waiting(queues.url) == 2


def test_poison_message_becomes_a_dead_letter(queues: Queues):
    queues.send("bad")
    worker = poller(queues, Function())
    for _ in range(3):
        worker.poll()
    assert (queues.waiting(queues.url), queues.waiting(queues.dead_letters)) == (0, 1)


RECORDS = [{"messageId": "a"}, {"messageId": "b"}]


@pytest.mark.parametrize(
    ("failures", "done"),
    [([], "ab"), (None, "ab"), ([{"itemIdentifier": "a"}], "b"), ([{"itemIdentifier": item} for item in "ab"], "")]
    + [([{"itemIdentifier": item}], "") for item in ("unknown", "", None)]
    + [([{"id": "a"}], "")],
)
def test_records_done_follow_from_the_result(failures: Any, done: str):
    for result in ({"batchItemFailures": failures}, *([None, {}] if failures is None else [])):
        assert "".join(record["messageId"] for record in done_records(RECORDS, result)) == done


@pytest.mark.parametrize(("now", "seconds"), [(0, 30), (1, 29), (29, 1), (30, 30), (59, 1), (61, 29)])
def test_long_run_skips_turns(now: float, seconds: float):
    assert seconds_until_next(0, now, 30) == seconds


def test_failed_run_does_not_end_the_schedule():
    events: list[Any] = []

    def fail(event: Any) -> None:
        events.append(event)
        raise RuntimeError("not today")

    run_once(fail, {"run": 1})
    run_once(fail, {"run": 2})
    assert events == [{"run": 1}, {"run": 2}]


def test_input_of_the_template_is_the_whole_event(template: Template):
    """https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html."""
    schedules = template.functions["CleanupFunction"]["Events"]
    assert schedule_input(schedules["Orphans"]["Properties"], "orphans", "us-east-1") == {"find": "orphans"}
    usual = schedule_input(schedules["Schedule"]["Properties"], "usual", "us-east-1")
    assert (usual["detail-type"], usual["resources"][0].rpartition("/")[2]) == ("Scheduled Event", "usual")


def recorded(name: str) -> Any:
    return json.loads((ROOT / "events" / f"{name}.json").read_text())


def test_sqs_event_is_like_the_recorded_one():
    example = recorded("sqs-merge")["Records"][0]
    message: Any = {name[0].upper() + name[1:]: example[name] for name in ("messageId", "receiptHandle", "body")}
    message |= {"Attributes": example["attributes"], "MD5OfBody": example["md5OfBody"]}
    assert sqs_event([message], example["eventSourceARN"], example["awsRegion"]) == recorded("sqs-merge")
    message["MessageAttributes"] = {"trace": {"StringValue": "1", "DataType": "String"}}
    [record] = sqs_event([message], "arn", "us-east-1")["Records"]
    trace = {"stringValue": "1", "dataType": "String", "stringListValues": [], "binaryListValues": []}
    assert record["messageAttributes"] == {"trace": trace}


def test_schedule_event_is_like_the_recorded_one():
    example = recorded("scheduler-cleanup")
    event = schedule_event("schedule", example["region"])
    assert event.keys() == example.keys()
    fixed = ("version", "detail-type", "source", "region", "detail")
    assert [event[name] for name in fixed] == [example[name] for name in fixed]

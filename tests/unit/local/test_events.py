"""The local run's events have the shape of those recorded in events/."""

import json
from typing import Any

from dev.local.events import schedule_event, sqs_event
from dev.local.template import ROOT


def recorded(name: str) -> Any:
    return json.loads((ROOT / "events" / f"{name}.json").read_text())


def test_a_batch_of_messages_has_the_shape_that_lambda_gives_it():
    example = recorded("sqs-merge")["Records"][0]
    message: Any = {
        "MessageId": example["messageId"],
        "ReceiptHandle": example["receiptHandle"],
        "Body": example["body"],
        "Attributes": example["attributes"],
        "MD5OfBody": example["md5OfBody"],
    }
    assert sqs_event([message], example["eventSourceARN"], example["awsRegion"]) == recorded("sqs-merge")


def test_message_attributes_are_named_as_lambda_names_them():
    message: Any = {
        "MessageId": "id",
        "ReceiptHandle": "handle",
        "Body": "",
        "MD5OfBody": "",
        "MessageAttributes": {"trace": {"StringValue": "1", "DataType": "String"}},
    }
    [record] = sqs_event([message], "arn", "us-east-1")["Records"]
    assert record["messageAttributes"] == {
        "trace": {"stringValue": "1", "dataType": "String", "stringListValues": [], "binaryListValues": []}
    }


def test_a_schedule_event_has_the_shape_that_eventbridge_gives_it():
    example = recorded("scheduler-cleanup")
    event = schedule_event("schedule", example["region"])
    assert event.keys() == example.keys()
    fixed = ("version", "detail-type", "source", "region", "detail")
    assert [event[name] for name in fixed] == [example[name] for name in fixed]

"""Invokes the functions that HTTP doesn't reach: queues, schedules, and CloudFormation for custom resources.

`python -m dev.local.triggers` is one worker of a queue, or one schedule, or creates one custom resource.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from dev.local.lambda_runtime import Execution, Stop
from dev.local.template import Template

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueOutputTypeDef, MessageTypeDef

logger = logging.getLogger(__name__)

Invoke = Callable[[Mapping[str, Any]], Any]
"""Calls a function with an event, and returns its result."""

WAIT_SECONDS = 1
"""Seconds that a poll waits for a message. Longer: fewer empty polls; shorter: the worker stops sooner."""

PAUSE_SECONDS = 1
"""Seconds until the next poll after one that failed."""

LARGEST_BATCH = 10
"""Most messages that SQS returns at once."""

RESPONSE_SECONDS = 10
"""Seconds to wait for a custom resource's response once the function has ended."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.local.triggers")
    parser.add_argument("--function", required=True, help="logical id")
    parser.add_argument("--event", help="name of its event in the template")
    parser.add_argument("--queue-url", help="URL of the event's queue")
    parser.add_argument("--interval", type=float, help="seconds between the runs of the event's schedule")
    parser.add_argument("--resource", help="logical id of the custom resource to create")
    options = parser.parse_args()

    stop = Stop()
    session = boto3.Session()
    template = Template.load()
    invoke = Execution(template, options.function, session.region_name, stop)
    if options.resource is not None:
        resource_type = template.body["Resources"][options.resource]["Type"]
        return create_custom_resource(invoke, options.resource, resource_type, options.function)
    properties = template.functions[options.function]["Events"][options.event]["Properties"]
    if options.queue_url is not None:
        batch_size = template.number(properties.get("BatchSize", LARGEST_BATCH))
        reports = "ReportBatchItemFailures" in properties.get("FunctionResponseTypes", ())
        sqs = session.client("sqs")
        poller = QueuePoller(sqs, options.queue_url, invoke, batch_size=batch_size, reports_item_failures=reports)
        while not stop.requested:
            try:
                poller.poll()
            except (ClientError, BotoCoreError):
                logger.exception("the queue doesn't answer")
                stop.wait(PAUSE_SECONDS)
    else:
        schedule = f"{options.function}{options.event}"
        started_at = time.monotonic()
        while not stop.requested:
            stop.wait(seconds_until_next(started_at, time.monotonic(), options.interval))
            if not stop.requested:
                run_once(invoke, schedule_input(properties, schedule, session.region_name))
    return 0


# ------------------------------------------------------------------ queues


class QueuePoller:
    """Does what Lambda's event source for SQS does: hands batches to a function, and deletes what it has processed.

    A message that failed comes back when its visibility timeout ends; the queue's own rule makes it a dead letter.

    Args:
        sqs: Client of the emulator.
        queue_url: URL of the queue.
        invoke: Calls the function.
        batch_size: Most messages of an event.
        reports_item_failures: Whether the function's result names the messages that failed.
    """

    def __init__(
        self, sqs: "SQSClient", queue_url: str, invoke: Invoke, *, batch_size: int, reports_item_failures: bool
    ) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._invoke = invoke
        self._batch_size = min(batch_size, LARGEST_BATCH)
        self._reports_item_failures = reports_item_failures
        answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        self._queue_arn = answer["Attributes"]["QueueArn"]

    def poll(self) -> None:
        """Wait for one batch, and process it."""
        received = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=self._batch_size,
            WaitTimeSeconds=WAIT_SECONDS,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = received.get("Messages", [])
        if not messages:
            return
        event = sqs_event(messages, self._queue_arn, self._sqs.meta.region_name)
        try:
            result = self._invoke(event)
        except Exception:
            logger.exception("the batch failed")
            return
        for record in done_records(event["Records"], result if self._reports_item_failures else None):
            self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=record["receiptHandle"])


def done_records(records: Sequence[Mapping[str, Any]], result: Any) -> list[Mapping[str, Any]]:
    """Return the records that the function doesn't report as failed; none, if it reports an unknown one.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    if not result or not result.get("batchItemFailures"):
        return list(records)
    failed = [failure.get("itemIdentifier") for failure in result["batchItemFailures"]]
    if not {record["messageId"] for record in records}.issuperset(failed):
        return []
    return [record for record in records if record["messageId"] not in failed]


def sqs_event(messages: Iterable["MessageTypeDef"], queue_arn: str, region: str) -> dict[str, Any]:
    """Return the event for a batch of messages: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": dict(message.get("Attributes", {})),
                "messageAttributes": {
                    name: _message_attribute(value) for name, value in message.get("MessageAttributes", {}).items()
                },
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": queue_arn,
                "awsRegion": region,
            }
            for message in messages
        ]
    }


def _message_attribute(value: "MessageAttributeValueOutputTypeDef") -> dict[str, Any]:
    attribute: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        attribute["stringValue"] = value["StringValue"]
    return attribute


# ------------------------------------------------------------------ schedules


def run_once(invoke: Invoke, event: Mapping[str, Any]) -> None:
    """Run the function; a run that fails leaves its work to the next one."""
    try:
        invoke(event)
    except Exception:
        logger.exception("the run failed")


def seconds_until_next(started_at: float, now: float, interval_seconds: float) -> float:
    """Return the seconds until a whole number of intervals has passed: runs don't overlap, a long one skips turns."""
    return interval_seconds - (now - started_at) % interval_seconds


def schedule_input(properties: Mapping[str, Any], schedule: str, region: str) -> dict[str, Any]:
    """Return the event of a schedule: its own Input alone, if the template gives it one.

    https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html

    Args:
        properties: Properties of a ScheduleV2 event.
        schedule: Name of the schedule.
        region: Region of the schedule.
    """
    if "Input" not in properties:
        return schedule_event(schedule, region)
    chosen: dict[str, Any] = json.loads(properties["Input"])
    return chosen


def schedule_event(schedule: str, region: str) -> dict[str, Any]:
    """Return the event that EventBridge Scheduler sends to a target without an Input of its own."""
    account = "0" * 12
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": account,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [f"arn:aws:scheduler:{region}:{account}:schedule/default/{schedule}"],
        "detail": "{}",
    }


# ------------------------------------------------------------------ custom resources


def create_custom_resource(invoke: Invoke, resource: str, resource_type: str, function: str) -> int:
    """Have a function create a custom resource, as CloudFormation does; print why if it can't.

    Returns:
        The exit code: 0 when the function reported success, else 1.
    """
    url = ResponseUrl()
    with url.served() as address:
        invoke(create_event(resource, resource_type, function, address))
        try:
            response = url.answers.get(timeout=RESPONSE_SECONDS)
        except Empty:
            response = {"Status": "FAILED", "Reason": f"{function} sent no response"}
    if response["Status"] == "SUCCESS":
        return 0
    print(response["Reason"], file=sys.stderr)
    return 1


@dataclass
class ResponseUrl:
    """Collects the responses of a custom resource's function, which it sends as if to a presigned URL of S3's."""

    answers: "SimpleQueue[dict[str, Any]]" = field(default_factory=SimpleQueue)

    @contextmanager
    def served(self) -> Iterator[str]:
        """Yield the URL, as long as it is served."""
        answers = self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Log nothing."""

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/"
            server.shutdown()


def create_event(resource: str, resource_type: str, function_arn: str, response_url: str) -> dict[str, Any]:
    """Return the event for the creation of a custom resource.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requesttypes-create.html
    """
    return {
        "RequestType": "Create",
        "ServiceToken": function_arn,
        "ResponseURL": response_url,
        "StackId": "arn:aws:cloudformation:us-east-1:000000000000:stack/local/local",
        "RequestId": str(uuid4()),
        "LogicalResourceId": resource,
        "ResourceType": resource_type,
        "ResourceProperties": {"ServiceToken": function_arn},
    }


if __name__ == "__main__":
    sys.exit(main())

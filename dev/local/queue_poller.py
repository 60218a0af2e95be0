"""Lambda's event source for SQS: hands batches of a queue to a function, and deletes what it has done.

What failed comes back when its visibility timeout ends, and goes to the dead-letter queue by the queue's own rule.
`python -m dev.local.queue_poller` is one worker.
"""

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from dev.local.events import sqs_event
from dev.local.execution import Execution, Stop
from dev.local.template import Template

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1
"""A message ends the wait at once. Longer: fewer empty polls; shorter: the worker stops sooner."""

PAUSE_SECONDS = 1
"""After a poll that failed."""

LARGEST_BATCH = 10
"""What SQS gives at once."""


class QueuePoller:
    """Args: invoke: calls the function with an event; reports_item_failures: whether its answer names them."""

    def __init__(
        self,
        sqs: "SQSClient",
        queue_url: str,
        invoke: Callable[[Mapping[str, Any]], Any],
        *,
        batch_size: int,
        reports_item_failures: bool,
    ) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._invoke = invoke
        self._batch_size = min(batch_size, LARGEST_BATCH)
        self._reports_item_failures = reports_item_failures
        answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        self._queue_arn = answer["Attributes"]["QueueArn"]

    def poll(self) -> None:
        """Waits for one batch, and sees it through."""
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
            answer = self._invoke(event)
        except Exception:
            logger.exception("the batch failed")
            return
        for record in done_records(event["Records"], answer if self._reports_item_failures else None):
            self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=record["receiptHandle"])


def done_records(records: Sequence[Mapping[str, Any]], answer: Any) -> list[Mapping[str, Any]]:
    """Those that the function doesn't report as failed; none, if it reports one that it can't mean.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    if not answer or not answer.get("batchItemFailures"):
        return list(records)
    failed = [failure.get("itemIdentifier") for failure in answer["batchItemFailures"]]
    if not {record["messageId"] for record in records}.issuperset(failed):
        return []
    return [record for record in records if record["messageId"] not in failed]


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.local.queue_poller")
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--function", required=True, help="logical id")
    parser.add_argument("--event", required=True, help="name of its event in the template")
    parser.add_argument("--queue-url", required=True)
    options = parser.parse_args()

    stop = Stop(options.lifeline)
    template = Template.load()
    source = template.functions[options.function]["Events"][options.event]["Properties"]
    session = boto3.Session()
    poller = QueuePoller(
        session.client("sqs"),
        options.queue_url,
        Execution(template, options.function, session.region_name, stop),
        batch_size=template.number(source.get("BatchSize", LARGEST_BATCH)),
        reports_item_failures="ReportBatchItemFailures" in source.get("FunctionResponseTypes", ()),
    )
    while not stop.requested:
        try:
            poller.poll()
        except (ClientError, BotoCoreError):
            logger.exception("the queue doesn't answer")
            stop.wait(PAUSE_SECONDS)


if __name__ == "__main__":
    main()

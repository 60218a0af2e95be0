"""Handle SQS's event: merge once for each message, and return the messages that failed."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from actions_cache.aws.clients import LONG_CALLS
from actions_cache.aws.sqs import decode_message
from actions_cache.logs import handled, logger, refusal
from actions_cache.merge import DeliveredMessage
from actions_cache.ports import MergeMessage
from actions_cache.settings import Settings
from functions.merge.services import MergeServices

_COUNT = re.compile("[0-9]{1,9}")


@cache
def services() -> MergeServices:
    return MergeServices(Settings(), calls=LONG_CALLS)


@handled
def lambda_handler(event: Any, context: LambdaContext) -> Any:
    records = event.get("Records") if isinstance(event, dict) else None
    sent = records if isinstance(records, list) else [records]
    messages = [record for record in sent if _is_message(record)]
    answer = {} if messages == sent else refusal(event, "messages of the merge queue, as in events/sqs-merge.json")
    if not messages:
        # BatchProcessor treats an empty batch as an error.
        return {"batchItemFailures": [], **answer}
    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    return {**process_partial_response({"Records": messages}, _handle, processor, context), **answer}


def _handle(record: SQSRecord, lambda_context: LambdaContext) -> None:
    body = record.body
    delivered = DeliveredMessage(body, _decoded(body), record.receipt_handle, deliveries_of(record.raw_event))
    services().handle_merge_message(delivered, lambda_context.get_remaining_time_in_millis)


def _decoded(body: str) -> MergeMessage | None:
    try:
        return decode_message(body)
    except ValueError:
        logger.exception("not a merge message")
        return None


def _is_message(record: object) -> bool:
    """Return whether a record has the fields that a merge needs; without its id, its failure couldn't be reported."""
    if not isinstance(record, dict):
        return False
    return all(isinstance(record.get(name), str) for name in ("messageId", "receiptHandle", "body"))


def deliveries_of(record: Mapping[str, Any]) -> int:
    """Return how often a message was delivered: once if that can't be read, since no message may be left out."""
    attributes = record.get("attributes")
    count = attributes.get("ApproximateReceiveCount") if isinstance(attributes, dict) else None
    return int(count) if isinstance(count, str) and _COUNT.fullmatch(count) else 1

"""SQS's event in, one merge a message, the failed ones out."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from actions_cache.aws.clients import LONG_CALLS
from actions_cache.aws.sqs import decode_message
from actions_cache.domain.claim import retry_after
from actions_cache.domain.timing import Millis
from actions_cache.logs import handled, logger, refusal
from actions_cache.merge import GivenUp
from actions_cache.settings import Settings
from functions.merge.services import MergeServices

_COUNT = re.compile("[0-9]{1,9}")


@cache
def services() -> MergeServices:
    return MergeServices(Settings(), calls=LONG_CALLS)


@handled
def lambda_handler(event: Any, context: LambdaContext) -> Any:
    def merge(record: SQSRecord, lambda_context: LambdaContext) -> None:
        try:
            _work_off(record.body, lambda_context.get_remaining_time_in_millis)
        except Exception:
            # The message's own visibility timeout is for workers that died.
            services().queue.deliver_again_in(record.receipt_handle, retry_after(deliveries_of(record.raw_event)))
            raise

    records = event.get("Records") if isinstance(event, dict) else None
    sent = records if isinstance(records, list) else [records]
    messages = [it for it in sent if _is_message(it)]
    answer = {} if messages == sent else refusal(event, "messages of the merge queue, as in events/sqs-merge.json")
    if not messages:
        # BatchProcessor treats an empty batch as an error.
        return {"batchItemFailures": [], **answer}
    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    return {**process_partial_response({"Records": messages}, merge, processor, context), **answer}


def _work_off(body: str, remaining: Callable[[], Millis]) -> None:
    """Merge, or send a message that waiting won't mend to the dead-letter queue.

    The queue's own count of deliveries doesn't decide: it includes those that Lambda had no room for. A worker that
    dies after it wrote the letter and before it deleted the message leaves a second letter; once the first is replayed,
    replaying the second does nothing.
    """
    try:
        message = decode_message(body)
    except ValueError:
        logger.exception("not a merge message")
        services().queue.give_up(body)
        return
    try:
        services().merge(message, remaining)
    except GivenUp:
        services().queue.give_up(body)


def _is_message(record: object) -> bool:
    """Return whether a record has the fields that a merge needs; without its id, its failure couldn't be reported."""
    if not isinstance(record, dict):
        return False
    return all(isinstance(record.get(name), str) for name in ("messageId", "receiptHandle", "body"))


def deliveries_of(record: Mapping[str, Any]) -> int:
    """Return how often a message was delivered: once where that can't be read, since no message may be left out."""
    attributes = record.get("attributes")
    count = attributes.get("ApproximateReceiveCount") if isinstance(attributes, dict) else None
    return int(count) if isinstance(count, str) and _COUNT.fullmatch(count) else 1

"""What DynamoDB says, in the ports' words."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from pynamodb.connection import Connection
from pynamodb.exceptions import DoesNotExist, PynamoDBException
from pynamodb.transactions import TransactWrite
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from actions_cache.adapters.aws import error_code, note_refusal
from actions_cache.adapters.dynamodb_items import ModelT
from actions_cache.ports import Unavailable, WriteConflict

ResultT = TypeVar("ResultT")

CONDITION_FAILED = "ConditionalCheckFailed"

PASSING = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"})
"""Reasons for a canceled transaction that don't affect the decision behind it. botocore doesn't try these again:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-conflict-handling."""

ROUNDS = 10
"""Attempts at a write or a batch that conflicts with others: 1.3 s in all on average, 2.6 s at most. More: a client
waits longer for an answer; fewer: more writes to a busy item are refused."""


class Busy(Unavailable):
    """Raised when nothing was written, or only some was read, because of concurrent calls; a retry may succeed."""


again_while_busy = retry(
    retry=retry_if_exception_type(Busy),
    stop=stop_after_attempt(ROUNDS),
    wait=wait_random_exponential(multiplier=0.02, max=0.5),
    reraise=True,
)
"""Retries with jitter: writers that met once would meet again."""


@contextmanager
def in_port_words() -> Iterator[None]:
    """Translate DynamoDB's errors into the port's.

    Raises:
        WriteConflict: a condition doesn't hold.
        Busy: others are at the same items.
        Unavailable: anything else.
    """
    try:
        yield
    except PynamoDBException as error:
        raise _meaning(error, error.cause) from error
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        raise _meaning(error, error) from error


def _meaning(error: Exception, cause: Exception | None) -> Exception:
    if not isinstance(cause, ClientError):
        return Unavailable(str(error))
    note_refusal(cause)
    code = error_code(cause)
    reasons = {reason.code for reason in getattr(cause, "cancellation_reasons", ()) if reason}
    # The decision no longer holds, whatever else went wrong: a retry would fail too.
    if code == f"{CONDITION_FAILED}Exception" or CONDITION_FAILED in reasons:
        return WriteConflict()
    if code == "TransactionConflictException" or (reasons and reasons <= PASSING):
        return Busy(str(error))
    return Unavailable(str(error))


@again_while_busy
def write(item: Callable[[], object]) -> None:
    """Write an item, and again while a transaction holds it.

    Args:
        item: does the write; called again for each attempt.

    Raises:
        WriteConflict: the write's condition doesn't hold.
    """
    with in_port_words():
        item()


@again_while_busy
def transact(connection: Connection, fill: Callable[[TransactWrite], None]) -> None:
    """Write all or nothing, and again while others are at the same items.

    Each attempt has a token of its own, since a canceled one wrote nothing. The token lets botocore's own retry succeed
    when only the answer was lost.

    Args:
        connection: the connection to the table.
        fill: adds the writes; called again for each attempt.

    Raises:
        WriteConflict: a condition doesn't hold.
    """
    with in_port_words(), TransactWrite(connection=connection, client_request_token=uuid.uuid4().hex) as items:
        fill(items)


def get(model: type[ModelT], hash_key: str, range_key: str | None = None) -> ModelT | None:
    with in_port_words():
        try:
            return model.get(hash_key, range_key, consistent_read=True)
        except DoesNotExist:
            return None


def batch_get(
    model: type[ModelT], keys: Sequence[Mapping[str, str]], attributes: Sequence[str] | None = None
) -> list[ModelT]:
    """Return the existing items among at most 100 keys.

    What DynamoDB leaves unprocessed is asked for again after a while; pynamodb would ask at once, and without end.
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
    """
    connection = model._get_connection()  # noqa: SLF001 - the only way to a model's connection
    found: list[ModelT] = []
    left: list[Any] = [{name: {"S": value} for name, value in key.items()} for key in keys]

    @again_while_busy
    def ask() -> None:
        nonlocal left
        with in_port_words():
            answer = connection.batch_get_item(left, consistent_read=True, attributes_to_get=attributes)
        found.extend(map(model.from_raw_data, answer["Responses"].get(connection.table_name, ())))
        left = answer.get("UnprocessedKeys", {}).get(connection.table_name, {}).get("Keys", [])
        if left:
            raise Busy(f"{len(left)} of {len(keys)} items were left unread")

    if left:
        ask()
    return found

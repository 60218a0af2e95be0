"""What DynamoDB says, in the ports' words."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from pynamodb.connection import Connection
from pynamodb.exceptions import DoesNotExist, PynamoDBException, TransactWriteError
from pynamodb.transactions import TransactWrite

from actions_cache.adapters.dynamodb_items import ModelT
from actions_cache.ports import Unavailable, WriteConflict

CONFLICT_CODES = frozenset({"ConditionalCheckFailed", "TransactionConflict"})


@contextmanager
def in_port_words() -> Iterator[None]:
    """Raises: WriteConflict, Unavailable."""
    try:
        yield
    except TransactWriteError as error:
        codes = {reason.code for reason in error.cancellation_reasons if reason}
        if codes & CONFLICT_CODES:
            raise WriteConflict from error
        raise Unavailable(str(error)) from error
    except PynamoDBException as error:
        if error.cause_response_code == "ConditionalCheckFailedException":
            raise WriteConflict from error
        raise Unavailable(str(error)) from error


@contextmanager
def in_transaction(connection: Connection) -> Iterator[TransactWrite]:
    """All or nothing. The request token makes a retry, whose first answer was lost, succeed again."""
    once = uuid.uuid4().hex
    with in_port_words(), TransactWrite(connection=connection, client_request_token=once) as write:
        yield write


def get(model: type[ModelT], hash_key: str, range_key: str | None = None) -> ModelT | None:
    with in_port_words():
        try:
            return model.get(hash_key, range_key, consistent_read=True)
        except DoesNotExist:
            return None

"""The merge queue in SQS. A message is JSON: `{"archive_id": "...", "claim_token": "..."}`."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from actions_cache.aws.clients import translate_errors
from actions_cache.ports import DeadLetter, MergeMessage, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

logger = logging.getLogger(__name__)

HOLD_SECONDS = 900
"""Seconds for which held dead letters are hidden. Longer: more can be processed in one run. Shorter: they are visible
again sooner after a command crashed."""

RECEIVE_BATCH = 10
"""Most messages that SQS returns at once."""


class SqsMergeQueue:
    """See ports.MergeQueue."""

    def __init__(self, client: "SQSClient", url: str, dead_letters_url: str | None = None) -> None:
        self._sqs = client
        self._url = url
        self._dead_letters_url = dead_letters_url

    def send(self, message: MergeMessage) -> None:
        with translate_errors():
            self._sqs.send_message(QueueUrl=self._url, MessageBody=encode_message(message))

    def deliver_again_in(self, receipt_handle: str, seconds: int) -> None:
        with translate_errors():
            self._sqs.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
            )

    def give_up(self, body: str) -> None:
        if self._dead_letters_url is None:
            raise Unavailable("no dead-letter queue is named (MERGE_DEAD_LETTER_QUEUE_URL)")
        with translate_errors():
            self._sqs.send_message(QueueUrl=self._dead_letters_url, MessageBody=body)

    def check(self) -> None:
        with translate_errors():
            self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])


class SqsDeadLetters:
    """See ports.DeadLetters."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._sqs = client
        self._url = url
        self._deleted: set[str] = set()

    @classmethod
    def behind(cls, client: "SQSClient", merge_queue_url: str) -> "SqsDeadLetters":
        """Return the dead letters of a queue, which are in the queue that its redrive policy names.

        Raises:
            Unavailable: SQS doesn't respond, or the queue has no dead-letter queue.
        """
        with translate_errors():
            queue = client.get_queue_attributes(QueueUrl=merge_queue_url, AttributeNames=["RedrivePolicy"])
            policy = queue.get("Attributes", {}).get("RedrivePolicy")
            if policy is None:
                raise Unavailable(f"{merge_queue_url} has no dead-letter queue")
            name = json.loads(policy)["deadLetterTargetArn"].rpartition(":")[2]
            return cls(client, client.get_queue_url(QueueName=name)["QueueUrl"])

    def count(self) -> int:
        with translate_errors():
            queue = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"])
            return int(queue["Attributes"]["ApproximateNumberOfMessages"])

    @contextmanager
    def held(self) -> Iterator[list[DeadLetter]]:
        dead_letters: dict[str, DeadLetter] = {}
        try:
            self._receive_all(dead_letters)
            yield list(dead_letters.values())
        finally:
            for dead_letter in dead_letters.values():
                if dead_letter.id not in self._deleted:
                    self._release(dead_letter)

    def _release(self, dead_letter: DeadLetter) -> None:
        """Make the dead letter visible; on failure, go on with the others, since it becomes visible by itself later."""
        try:
            with translate_errors():
                self._sqs.change_message_visibility(
                    QueueUrl=self._url, ReceiptHandle=dead_letter.receipt_handle, VisibilityTimeout=0
                )
        except Unavailable:
            logger.exception("a dead letter stays hidden for a while", extra={"message_id": dead_letter.id})

    def delete(self, dead_letter: DeadLetter) -> None:
        with translate_errors():
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=dead_letter.receipt_handle)
        self._deleted.add(dead_letter.id)

    def _receive_all(self, dead_letters: dict[str, DeadLetter]) -> None:
        """Add all dead letters by id, until a call that waits, and so asks all of SQS's servers, receives none."""
        while True:
            with translate_errors():
                received = self._sqs.receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=RECEIVE_BATCH,
                    VisibilityTimeout=HOLD_SECONDS,
                    WaitTimeSeconds=1,
                    MessageSystemAttributeNames=["SentTimestamp"],
                ).get("Messages", [])
            if not received:
                return
            dead_letters |= {dead_letter.id: dead_letter for dead_letter in map(_dead_letter, received)}


def _dead_letter(received: "MessageTypeDef") -> DeadLetter:
    body = received["Body"]
    try:
        message = decode_message(body)
    except ValueError:
        message = None
    return DeadLetter(
        received["MessageId"], body, message, int(received["Attributes"]["SentTimestamp"]), received["ReceiptHandle"]
    )


def encode_message(message: MergeMessage) -> str:
    """Return the message's body."""
    return json.dumps({"archive_id": message.archive_id, "claim_token": message.claim_token})


def decode_message(body: str) -> MergeMessage:
    """Return the message with this body.

    Raises:
        ValueError: the body isn't a merge message.
    """
    try:
        fields = json.loads(body)
    except RecursionError:
        fields = None
    if not isinstance(fields, dict) or not all(
        isinstance(fields.get(name), str) for name in ("archive_id", "claim_token")
    ):
        raise ValueError(f"not a merge message: {body[:200]}")
    return MergeMessage(fields["archive_id"], fields["claim_token"])

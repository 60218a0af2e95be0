"""The merge queue on SQS. A message is JSON: `{"archive_id": "...", "claim_token": "..."}`."""

import json
from typing import TYPE_CHECKING

from actions_cache.adapters.aws import answers
from actions_cache.ports import MergeMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class SqsMergeQueue:
    """See ports.MergeQueue."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._sqs = client
        self._url = url

    def send(self, message: MergeMessage) -> None:
        with answers():
            self._sqs.send_message(QueueUrl=self._url, MessageBody=encode_message(message))

    def deliver_again_in(self, receipt_handle: str, seconds: int) -> None:
        with answers():
            self._sqs.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
            )

    def check(self) -> None:
        with answers():
            self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])


class SqsDeadLetters:
    """See ports.DeadLetters."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._sqs = client
        self._url = url

    def count(self) -> int:
        with answers():
            answer = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"])
            return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def encode_message(message: MergeMessage) -> str:
    return json.dumps({"archive_id": message.archive_id, "claim_token": message.claim_token})


def decode_message(body: str) -> MergeMessage:
    """Raises ValueError when the body isn't a merge message."""
    fields = json.loads(body)
    if not isinstance(fields, dict) or not all(
        isinstance(fields.get(name), str) for name in ("archive_id", "claim_token")
    ):
        raise ValueError(f"not a merge message: {body[:200]}")
    return MergeMessage(fields["archive_id"], fields["claim_token"])

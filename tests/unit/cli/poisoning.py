"""Merges that fail for good."""

from dataclasses import replace

import pytest

from actions_cache.aws.sqs import decode_message
from actions_cache.domain.archive import MergeState
from actions_cache.ports import MergeMessage, Unavailable
from tests.support.journey import name, plenty
from tests.unit.cli.conftest import Operated

PARTS = (b"one", b"two")


class NoUploads:
    """A bucket that begins none."""

    def __init__(self, bucket):
        self._bucket = bucket

    def __getattr__(self, method):
        return getattr(self._bucket, method)

    def start_upload(self, key):
        raise Unavailable("503")


def poison(operated: Operated, key: str) -> MergeMessage:
    """Its merge fails until the queue gives its message up, by the queue's own rule. Returns that."""
    journey = operated.journey
    services = journey.services
    journey.save(name(key), *PARTS)
    failing = replace(services.merge, bucket=NoUploads(services.bucket))
    url = services.settings.merge_queue_url
    message = None
    while received := journey.sqs.receive_message(QueueUrl=url, VisibilityTimeout=0).get("Messages"):
        message = decode_message(received[0]["Body"])
        with pytest.raises(Exception, match=r"503|given up"):
            failing(message, plenty)
    assert message is not None
    assert journey.archive(message.archive_id).merge.state is MergeState.FAILED
    return message

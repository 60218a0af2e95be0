"""Small entries are saved and restored through `sam local start-api`.

Larger ones can't be: nothing streams there, and each body has to fit into Lambda's 6 MB.
"""

import json
import os
from collections.abc import Iterator

import pytest

from dev.clients.wire import Job
from dev.local.triggers import sqs_event
from dev.sam_local.serve import SamLocal, serving
from tests.support import lambda_events

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamLocal]:
    with serving(tmp_path_factory.mktemp("sam"), int(os.environ.get("PORT", "3000"))) as sam:
        yield sam


@pytest.fixture
def job(sam: SamLocal) -> Job:
    return Job(sam.url)


def test_entry_of_one_block_is_saved_and_restored(job: Job) -> None:
    body = os.urandom(100_000)
    job.save("one-block", body)
    restored = job.restore("one-block")
    assert (restored.status, restored.body == body) == (200, True)
    assert job.create("one-block").status == 409


def test_entry_of_two_blocks_is_streamed_then_merged(sam: SamLocal, job: Job) -> None:
    blocks = [os.urandom(200_000), os.urandom(1)]
    job.save("two-blocks", *blocks)
    assert job.is_ours(job.download_url("two-blocks"))
    # `sam local` decodes a body only where the client sends Accept.
    assert job.restore("two-blocks", Accept="*/*").body == b"".join(blocks)

    queue = sam.resources.refs["MergeQueue"]
    messages = sam.clients.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    event = sqs_event(messages, sam.resources.refs["MergeQueue.Arn"], "us-east-1")
    assert sam.invoke("MergeFunction", event) == {"batchItemFailures": []}
    assert not job.is_ours(job.download_url("two-blocks"))
    assert job.restore("two-blocks").body == b"".join(blocks)


def test_unknown_path_is_answered_by_the_function(job: Job) -> None:
    answer = job.call("NoSuchMethod", key="a")
    assert (answer.status, answer.json["code"]) == (404, "bad_route")


@pytest.mark.parametrize(
    ("function", "event", "answered"),
    [
        ("ApiFunction", "apigateway-health", '"statusCode": 200'),
        ("DownloadFunction", "apigateway-download", '"statusCode": 4'),
        ("ManageFunction", "apigateway-manage-list", '"statusCode": 401'),
        ("MergeFunction", "sqs-poison", '"batchItemFailures": []'),
        ("CleanupFunction", "scheduler-cleanup", "{"),
    ],
)
def test_each_function_takes_an_event(sam: SamLocal, function: str, event: str, answered: str) -> None:
    """All events go through the built functions in tests/aws/rie; here each costs a container."""
    answer = json.dumps(sam.invoke(function, lambda_events.load(event)))
    assert "errorMessage" not in answer
    assert answered in answer

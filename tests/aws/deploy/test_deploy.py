"""Drives a stack of `sam deploy` through its API, queue and schedule, then updates and deletes it.

Meanwhile a second stack in the same account and region goes on working.

The emulator lacks limits of Lambda and API Gateway, and what a role forbids, so these tests do too.
The tests build on each other, in this order: they are the life of one stack, and of its neighbour.
"""

import json
import os
from pathlib import Path

import pytest

from tests.aws.deploy.stack import Stack, eventually

MIB = 1024 * 1024
COPIED = [os.urandom(5 * MIB), os.urandom(5 * MIB), os.urandom(1000)]
UPLOADED = [os.urandom(MIB) for _ in range(7)]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def merge_mapping(stack: Stack) -> str:
    """Return the id of the event source that feeds the worker."""
    [mapping] = stack.client("lambda").list_event_source_mappings(FunctionName=stack.resource("MergeFunction"))[
        "EventSourceMappings"
    ]
    return str(mapping["UUID"])


def test_it_is_healthy(stack: Stack) -> None:
    answer = stack.request("GET", "/health")
    said = answer.json()
    assert (answer.status, said["ok"], said["faults"]) == (200, True, {})
    assert said["commit"] != "unknown", "the build is stamped"


def test_forged_token_is_refused(stack: Stack) -> None:
    altered = stack.issuer.token()[:-8] + "AAAAAAAA"
    answer = stack.request(
        "POST",
        "/twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry",
        b'{"key":"k","version":"v"}',
        {"Authorization": f"Bearer {altered}", "Content-Type": "application/json"},
    )
    assert answer.status == 401
    assert answer.json()["code"] == "unauthenticated"


def test_single_blob_is_saved_and_restored(stack: Stack) -> None:
    url = stack.call("CreateCacheEntry", key="blob").json()["signed_upload_url"]
    assert stack.request("PUT", url, b"the bytes", {"x-ms-blob-type": "BlockBlob"}).status == 201
    assert stack.call("FinalizeCacheEntryUpload", key="blob", size_bytes="9").json()["ok"] is True
    assert stack.restore("blob") == b"the bytes"
    assert stack.call("CreateCacheEntry", key="blob").status == 409


@pytest.mark.parametrize(("key", "blocks"), [("copied", COPIED), ("uploaded", UPLOADED)])
def test_blocks_are_merged_through_the_queue(stack: Stack, key: str, blocks: list[bytes]) -> None:
    stack.save(key, blocks)
    url = eventually(lambda: stack.merged_url(key), seconds=60)
    assert stack.request("GET", url).body == b"".join(blocks)


def test_unmerged_entry_is_streamed(stack: Stack, merge_mapping: str) -> None:
    functions = stack.client("lambda")
    functions.update_event_source_mapping(UUID=merge_mapping, Enabled=False)
    try:
        blocks = [os.urandom(MIB), os.urandom(MIB)]
        stack.save("unmerged", blocks)
        url = stack.look_up("unmerged")
        assert url is not None
        assert "/blobs/download/" in url
        assert stack.request("GET", url).body == b"".join(blocks)
        assert stack.request("HEAD", url).headers["Content-Length"] == str(2 * MIB)
        ranged = stack.request("GET", url, headers={"x-ms-range": f"bytes={MIB - 1}-{MIB}"})
        assert (ranged.status, ranged.body) == (206, blocks[0][-1:] + blocks[1][:1])
    finally:
        functions.update_event_source_mapping(UUID=merge_mapping, Enabled=True)
    assert eventually(lambda: stack.merged_url("unmerged"), seconds=60)


def test_edge_knows_the_secret_after_the_deploy(stack: Stack) -> None:
    secret = stack.client("secretsmanager").get_secret_value(SecretId=stack.output("UrlSigningSecretArn"))
    stores = stack.client("cloudfront").list_key_value_stores()["KeyValueStoreList"]["Items"]
    [store] = [
        row
        for row in stores
        if row["Name"] == stack.resource("EdgeSecrets") or row["Id"] == stack.resource("EdgeSecrets")
    ]
    assert stack.key_values(store["ARN"]) == {"url-signing-secrets": json.loads(secret["SecretString"])["current"]}


def test_distribution_has_both_functions(stack: Stack) -> None:
    cloudfront = stack.client("cloudfront")
    live = cloudfront.list_functions(Stage="LIVE")["FunctionList"]["Items"]
    assert {row["FunctionConfig"]["Runtime"] for row in live} == {"cloudfront-js-2.0"}
    assert len(live) == 2, "and nobody else's yet"
    assert stack.output("RunnerUrl") == f"https://{stack.output('EdgeDomainName')}/"
    assert stack.distribution()["DomainName"] == stack.output("EdgeDomainName")


def test_second_stack_is_created_beside_it(stack: Stack, neighbour: Stack) -> None:
    key = neighbour.says_edge_key()
    for both, content in ((stack, b"the first one's"), (neighbour, b"the second one's")):
        both.save("in-both", [content])
        assert both.restore("in-both") == content
    theirs = {
        name: neighbour.resource(name) for name in ("Bucket", "ArchivesTable", "MergeQueue", "Edge", "EdgeSecrets")
    }
    assert not [name for name, physical in theirs.items() if physical == stack.resource(name)]
    assert key == json.loads(_secret(neighbour, "EdgeKey"))["key"]


def test_edge_secret_is_generated(neighbour: Stack) -> None:
    """WebAclArn alone is set: nobody comes past the web ACL."""
    key = neighbour.says_edge_key()
    assert len(key) == 64
    assert neighbour.deployed("ApiFunction")["Environment"]["Variables"]["EDGE_KEY"] == key
    assert neighbour.request("GET", "/health").status == 200
    assert neighbour.request("GET", "/health", headers={"x-origin-key": "guessed"}).status == 403


def _secret(stack: Stack, logical_id: str) -> str:
    found = stack.client("secretsmanager").get_secret_value(SecretId=stack.resource(logical_id))
    return str(found["SecretString"])


def _works(stack: Stack, key: str) -> bool:
    """Return whether the stack restores what it had, and saves and merges."""
    stack.save(key, UPLOADED)
    url = eventually(lambda: stack.merged_url(key), seconds=60)
    return stack.request("GET", url).body == b"".join(UPLOADED) and stack.restore("in-both") == b"the second one's"


def test_poison_message_ends_in_the_dead_letter_queue(stack: Stack) -> None:
    queues = stack.client("sqs")
    queue, dead = stack.output("MergeQueueUrl"), stack.output("MergeDeadLetterQueueUrl")
    # Five times the real half hour would be too long to watch.
    queues.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    queues.send_message(QueueUrl=queue, MessageBody="not a merge message")
    stack.save("beside-poison", UPLOADED)
    assert eventually(lambda: stack.merged_url("beside-poison"), seconds=60)
    [message] = eventually(lambda: queues.receive_message(QueueUrl=dead).get("Messages"), seconds=60)
    assert message["Body"] == "not a merge message"
    queues.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1800"})


def test_operator_commands_work_by_the_stacks_name(stack: Stack) -> None:
    verified = stack.operate("verify", "--json")
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["archives"] > 0
    # The test before this one has looked at the letter, which hides it for half a minute.
    [letter] = eventually(lambda: json.loads(stack.operate("dlq", "show", "--json").stdout)["messages"], seconds=90)
    assert letter["replay"] == "leave_unreadable"


def test_update_keeps_saved_entries(stack: Stack, neighbour: Stack) -> None:
    updated = stack.deploy(LogLevel="DEBUG")
    assert stack.status == "UPDATE_COMPLETE", updated.stdout + updated.stderr
    assert stack.log_level("ApiFunction") == "DEBUG"
    assert stack.restore("copied") == b"".join(COPIED)
    assert neighbour.log_level("ApiFunction") == "INFO"
    assert _works(neighbour, "after-an-update")


def test_broken_update_rolls_back(stack: Stack, neighbour: Stack, broken: Path) -> None:
    failed = stack.deploy(broken, LogLevel="ERROR")
    assert stack.status == "UPDATE_ROLLBACK_COMPLETE", failed.stdout + failed.stderr
    assert stack.log_level("ApiFunction") != "ERROR"
    assert stack.restore("copied") == b"".join(COPIED)
    stack.save("after-rollback", UPLOADED)
    assert _works(neighbour, "after-a-rollback")


def test_schedule_removes_parts_after_the_grace(stack: Stack) -> None:
    # Those that merged first: others would have to wait for graces of their own.
    merged = [str(stack.merged_url(key)).partition("/merged/")[0].rpartition("/")[2] for key in ("copied", "uploaded")]
    assert all(stack.keys(f"archives/{archive_id}/merged/") for archive_id in merged)

    def parts() -> list[str]:
        return [key for archive_id in merged for key in stack.keys(f"archives/{archive_id}/parts/")]

    eventually(lambda: not parts(), seconds=400, every=1)
    assert stack.restore("copied") == b"".join(COPIED)
    assert stack.restore("uploaded") == b"".join(UPLOADED)


def test_deletion_keeps_saved_entries(stack: Stack, neighbour: Stack) -> None:
    bucket, tables = stack.output("BucketName"), [stack.output(f"{item}TableName") for item in ("Entries", "Archives")]
    queue = stack.output("MergeQueueUrl")
    deleted = stack.sam("delete", "--stack-name", stack.name, "--no-prompts", "--region", "us-east-1")
    assert deleted.returncode == 0, deleted.stdout + deleted.stderr
    assert stack.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] > 0
    assert all(stack.client("dynamodb").scan(TableName=table)["Count"] > 0 for table in tables)
    assert queue not in stack.client("sqs").list_queues().get("QueueUrls", ())
    assert _works(neighbour, "after-a-delete")

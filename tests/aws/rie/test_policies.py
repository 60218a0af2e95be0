"""Each role allows what its function was seen to do on every way through it, and nothing else."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.aws.rie.permissions import Permission, permissions

from actions_cache.aws.dynamodb import PREFIX_PAGE
from actions_cache.aws.dynamodb_items import entry_attributes
from actions_cache.domain.access import Caller
from actions_cache.domain.budgets import NO_USAGE, Usage
from actions_cache.domain.entry import Entry, EntryName
from actions_cache.domain.merge_plan import MIN_UPLOAD_PART_BYTES
from actions_cache.domain.timing import DAY, SECOND
from actions_cache.system import SystemClock
from dev.clients.driver import block_ids, name
from dev.local.template import Template
from dev.local.triggers import ResponseUrl
from tests.aws.rie.conftest import Stage
from tests.support import lambda_events
from tests.unit.template.declared import statements

HOUR = 3600 * SECOND
REPOSITORY, SCOPE = "123456789", "refs/pull/7/merge"
"""Of the tokens in events/."""
VERSION = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
"""Of the messages in events/."""
REPOSITORY_OF_NAME, SCOPE_OF_JOURNEY = "987654321", "refs/heads/main"
LARGE = os.urandom(MIN_UPLOAD_PART_BYTES)


def put_more_than_a_page(stage: Stage, alike: EntryName) -> None:
    """Of entries whose keys begin so: the newest of them is looked for by the index."""
    with stage.entries.batch_writer() as batch:
        for number in range(PREFIX_PAGE + 1):
            entry = Entry(replace(alike, key=f"{alike.key}{number}"), f"{number:032x}", 1, number)
            batch.put_item(Item=entry_attributes(entry))


def api_journey(stage: Stage) -> None:
    api, driver = stage.api, stage.driver
    assert api.invoke(lambda_events.load("apigateway-health"))["statusCode"] == 200

    url = lambda_events.json_of(api.invoke(lambda_events.call("create-entry", key="policies-a")))["signed_upload_url"]
    listed = b""
    for block_id in ("Zmlyc3Q=", "c2Vjb25k"):
        assert api.invoke(lambda_events.blob("put-block", url, b"block", blockid=block_id))["statusCode"] == 201
        listed += f"<Latest>{block_id}</Latest>".encode()
    put = api.invoke(lambda_events.blob("put-blocklist", url, b"<BlockList>" + listed + b"</BlockList>"))
    assert put["statusCode"] == 201
    assert lambda_events.json_of(api.invoke(lambda_events.call("finalize", key="policies-a", size_bytes=10)))["ok"]

    url = lambda_events.json_of(api.invoke(lambda_events.call("create-entry", key="policies-b")))["signed_upload_url"]
    assert api.invoke(lambda_events.blob("put-blob", url, b"blob"))["statusCode"] == 201
    assert lambda_events.json_of(api.invoke(lambda_events.call("finalize", key="policies-b", size_bytes=4)))["ok"]
    presigned = lambda_events.json_of(api.invoke(lambda_events.call("lookup", key="policies-b")))["signed_download_url"]
    assert stage.read(presigned) == b"blob"
    unmerged = lambda_events.json_of(api.invoke(lambda_events.call("lookup", key="policies-a")))["signed_download_url"]
    described = lambda_events.blob("head-download", unmerged)
    assert api.invoke(described)["statusCode"] == 200

    put_more_than_a_page(stage, name("policies-many-", SCOPE, VERSION, REPOSITORY))
    api.invoke(lambda_events.call("lookup", key="policies-many-"))

    [key] = driver.keys(_archive_of(url))
    stage.clients.s3.delete_object(Bucket=stage.resources.refs["Bucket"], Key=f"archives/{_archive_of(url)}/{key}")
    assert (
        lambda_events.json_of(api.invoke(lambda_events.call("lookup", key="policies-b", restore_keys=[])))["ok"]
        is False
    )

    over_budget = Usage(driver.services.settings.repository_budget_bytes, 0)
    driver.services.repositories.correct_usage(REPOSITORY, over_budget)
    url = lambda_events.json_of(api.invoke(lambda_events.call("create-entry", key="policies-c")))["signed_upload_url"]
    assert api.invoke(lambda_events.blob("put-blob", url, b"blob"))["statusCode"] == 201
    assert lambda_events.json_of(api.invoke(lambda_events.call("finalize", key="policies-c", size_bytes=4)))["ok"]
    assert driver.services.table.entry(name("policies-a", SCOPE, VERSION, REPOSITORY)) is None, "evicted"
    driver.services.repositories.correct_usage(REPOSITORY, NO_USAGE - over_budget)


def download_journey(stage: Stage) -> None:
    download, driver = stage.download, stage.driver
    # This long ago, the claim is stale, and this download retakes it.
    driver.clock.at = SystemClock().now() - driver.services.lifetimes.queue_retention - HOUR
    driver.save(name("policies-unclaimed"), b"a", b"b")
    driver.clock.at = SystemClock().now()
    url = stage.url_of("policies-unclaimed")
    assert lambda_events.body_of(download.invoke(lambda_events.blob("download", url))) == b"ab"
    # Its claim goes on beside the stream, and after it only while the function answers somebody.
    redirected = download.invoke(lambda_events.blob("download", url))
    while redirected["statusCode"] != 302:
        driver.merge_all()
        redirected = download.invoke(lambda_events.blob("download", url))
    assert stage.read(redirected["headers"]["location"]) == b"ab"

    archive_id = driver.save(name("policies-torn"), b"a", b"b").archive_id
    url = stage.url_of("policies-torn")
    stage.lose_a_part(archive_id)
    download.invoke(lambda_events.blob("download", url))
    assert driver.look_up("policies-torn") is None


def merge_journey(stage: Stage) -> None:
    merge, driver = stage.merge, stage.driver
    driver.merge_all()
    driver.clock.at = SystemClock().now()

    driver.save(name("policies-merged"), LARGE, LARGE, b"small", b"smaller")
    assert merge.invoke(stage.merge_event()) == {"batchItemFailures": []}
    assert "X-Amz-Signature" in stage.url_of("policies-merged")

    archive_id = driver.save(name("policies-broken"), LARGE, b"small").archive_id
    stage.lose_a_part(archive_id)
    assert merge.invoke(stage.merge_event()) == {"batchItemFailures": []}
    assert driver.look_up("policies-broken") is None

    stage.clients.sqs.send_message(QueueUrl=stage.resources.refs["MergeQueue"], MessageBody="poison")
    assert merge.invoke(stage.merge_event()) == {"batchItemFailures": []}

    archive_id = driver.save(name("policies-failing"), LARGE, b"small").archive_id
    stage.spoil_manifest(archive_id)
    assert merge.invoke(stage.merge_event())["batchItemFailures"]
    # The message is back in the queue in some seconds.
    stage.clients.sqs.purge_queue(QueueUrl=stage.resources.refs["MergeQueue"])


def cleanup_journey(stage: Stage) -> None:
    driver = stage.driver
    now = SystemClock().now()
    driver.merge_all()
    driver.clock.at = now - 3 * HOUR
    driver.upload(name("policies-abandoned"), b"a", b"b")
    driver.save(name("policies-parts"), b"a", b"b")
    driver.merge_all()
    driver.clock.at = now - driver.services.lifetimes.queue_retention - HOUR
    driver.save(name("policies-stale"), b"a", b"b")
    driver.clock.at = now - 8 * DAY
    driver.save(name("policies-unused"), b"a", b"b")
    # Deleted long ago, so that nothing of it is left to keep.
    forgotten = driver.save(name("policies-forgotten"), b"a", b"b").archive_id
    driver.services.remove_entry(forgotten, lambda _: True)
    done = stage.cleanup.invoke(lambda_events.load("scheduler-cleanup"))
    wanted = {"drop the reservation", "retake the claim", "sweep", "expire the entry", "forget the archive"}
    assert (wanted - done.keys(), done.get("failed", 0)) == (set(), 0)
    # As one that an older release stored.
    outdated = driver.save(name("policies-outdated"), b"a").archive_id
    stage.clients.dynamodb.update_item(
        TableName=stage.resources.refs["ArchivesTable"],
        Key={"archive_id": {"S": outdated}},
        UpdateExpression="REMOVE repository",
    )
    assert stage.cleanup.invoke(lambda_events.load("scheduler-outdated"))["archives migrated"] > 0
    driver.put_block("0" * 32, block_ids(1)[0], b"nobody's")
    assert stage.cleanup.invoke(lambda_events.load("scheduler-orphans"))["orphaned archives deleted"] > 0


def manage_journey(stage: Stage) -> None:
    driver = stage.driver
    driver.clock.at = SystemClock().now()
    driver.services.admit(Caller(REPOSITORY_OF_NAME, (), "example/tools"))
    for key in ("policies-managed", "policies-by-id"):
        driver.save(name(key, repository=REPOSITORY_OF_NAME), b"a", b"b")

    def asked(event: str, path: str, **query: str) -> Any:
        return lambda_events.json_of(stage.manage.invoke(lambda_events.managed(event, path, **query)))

    listed = asked("list", "repos/example/tools/actions/caches")
    assert listed["total_count"] == 2
    assert asked("entries", "repositories/example/tools/entries", search="policies")["total"] == 2
    match = asked("entries", "match", repository="example/tools", key="policies-m", ref=SCOPE_OF_JOURNEY)
    assert match["matches"][0]["found"]["key"] == "policies-managed"
    put_more_than_a_page(stage, name("policies-many-", repository=REPOSITORY_OF_NAME))
    asked("entries", "match", repository="example/tools", key="policies-many-", ref=SCOPE_OF_JOURNEY, version="v1")
    assert asked("entries", "failures")["failed_merges"] == []
    assert asked("entries", "cost")["stored_entries"] >= 2
    assert asked("entries", "repositories")["repositories"]
    deleted = asked("delete", "example/tools/actions/caches", key="policies-managed", ref=SCOPE_OF_JOURNEY)
    assert deleted["total_count"] == 1
    [other] = [it["id"] for it in listed["actions_caches"] if it["key"] == "policies-by-id"]
    gone = stage.manage.invoke(lambda_events.managed("delete", f"example/tools/actions/caches/{other}"))
    assert gone["statusCode"] == 204


def rotate_journey(stage: Stage) -> None:
    response_url = ResponseUrl()
    with response_url.served() as url:
        stage.rotate.invoke(lambda_events.load("cloudformation-create") | {"ResponseURL": url})
    assert response_url.answers.get(timeout=5)["Status"] == "SUCCESS"
    assert stage.rotate.invoke(lambda_events.load("scheduler-rotate")) == {"phase": "settled"}


JOURNEYS: Mapping[str, Callable[[Stage], None]] = {
    "ApiFunction": api_journey,
    "DownloadFunction": download_journey,
    "MergeFunction": merge_journey,
    "CleanupFunction": cleanup_journey,
    "ManageFunction": manage_journey,
    "RotateFunction": rotate_journey,
}

WITHOUT_A_CALL: Mapping[str, frozenset[Permission]] = {
    # Lambda polls with the function's role:
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions
    "MergeFunction": frozenset(
        (f"sqs:{action}", "MergeQueue") for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    )
}
"""What a role must allow beyond what its function itself does; and logs and traces, which Lambda writes."""


def _allowed(template: Template, function: str) -> set[Permission]:
    """Every action on every resource that stands beside it."""
    allowed = set()
    for statement in statements(template, function):
        for action in _listed(statement["Action"]):
            allowed |= {(action, _named(resource)) for resource in _listed(statement["Resource"])}
    return {(action, resource) for action, resource in allowed if not action.startswith(("logs:", "xray:"))}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _named(resource: object) -> str:
    match resource:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), "Arn"]}:
            return name
        case {"Fn::Sub": str(text)}:
            return text.replace("${", "").replace(".Arn}", "")
        case "*":
            return "*"
    raise AssertionError(resource)


def _archive_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


@pytest.mark.parametrize("function", JOURNEYS)
def test_role_allows_exactly_needed_actions(stage: Stage, function: str) -> None:
    JOURNEYS[function](stage)
    names = {reference: logical_id for logical_id, reference in stage.resources.refs.items()}
    did = set().union(*(permissions(call, names) for call in stage.calls[function]))
    needs = did | WITHOUT_A_CALL.get(function, frozenset())
    allowed = _allowed(stage.template, function)
    assert (sorted(needs - allowed), sorted(allowed - needs)) == ([], [])

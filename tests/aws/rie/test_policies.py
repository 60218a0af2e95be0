"""Each role allows the calls that its function makes in a scenario with all its branches, and nothing else."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from actions_cache.aws.dynamodb import PREFIX_PAGE
from actions_cache.aws.dynamodb_items import entry_attributes
from actions_cache.domain.access import Caller
from actions_cache.domain.archive import MergeState
from actions_cache.domain.budgets import NO_USAGE, Usage
from actions_cache.domain.entry import Entry, EntryName
from actions_cache.domain.merge_plan import MIN_UPLOAD_PART_BYTES
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.timing import DAY, SECOND
from actions_cache.http.direct_uploads import MEDIA_TYPE as DIRECT
from actions_cache.http.part_lists import MEDIA_TYPE
from actions_cache.system import SystemClock
from dev.clients.driver import block_ids, counted_ids, name
from dev.local.template import Template
from dev.local.triggers import ResponseUrl
from tests.aws.rie.conftest import BuiltStack
from tests.aws.rie.permissions import Permission, permissions
from tests.support import lambda_events
from tests.unit.template.declared import statements

HOUR = 3600 * SECOND
REPOSITORY, SCOPE = "123456789", "refs/pull/7/merge"
"""Repository and scope of the tokens in events/."""
VERSION = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
"""Version in the messages in events/."""
LOCAL = "http://127.0.0.1"
"""A server from which the store, which is on loopback, can be reached."""
NAMED_REPOSITORY, DRIVER_SCOPE = "987654321", "refs/heads/main"
LARGE = os.urandom(MIN_UPLOAD_PART_BYTES)


def put_more_than_a_page(built: BuiltStack, alike: EntryName) -> None:
    """Put entries whose keys begin alike, more than a page of the index that the lookup of the newest reads."""
    with built.entries.batch_writer() as batch:
        for number in range(PREFIX_PAGE + 1):
            entry = Entry(replace(alike, key=f"{alike.key}{number}"), f"{number:032x}", 1, number)
            batch.put_item(Item=entry_attributes(entry))


def api_scenario(built: BuiltStack) -> None:
    api, driver = built.api, built.driver
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
    assert built.read(presigned) == b"blob"
    unmerged = lambda_events.json_of(api.invoke(lambda_events.call("lookup", key="policies-a")))["signed_download_url"]
    direct = lambda_events.call("create-entry", key="policies-direct")
    lambda_events.with_headers(direct, {"Accept": DIRECT, "Host": "127.0.0.1"})
    created = lambda_events.json_of(api.invoke(direct))
    assert created["direct"]
    driver.put_part(_archive_of(created["signed_upload_url"]), 1, LARGE)
    [block_id] = counted_ids(1)
    block_list = f"<BlockList><Latest>{block_id}</Latest></BlockList>".encode()
    put = api.invoke(lambda_events.blob("put-blocklist", created["signed_upload_url"], block_list))
    assert put["statusCode"] == 201
    finalized = api.invoke(lambda_events.call("finalize", key="policies-direct", size_bytes=len(LARGE)))
    assert lambda_events.json_of(finalized)["ok"]
    # The key is taken, so the upload that was begun for it is aborted.
    assert not lambda_events.json_of(api.invoke(direct)).get("ok")

    described = lambda_events.blob("head-download", unmerged)
    assert api.invoke(described)["statusCode"] == 200

    put_more_than_a_page(built, name("policies-many-", SCOPE, VERSION, REPOSITORY))
    api.invoke(lambda_events.call("lookup", key="policies-many-"))

    [key] = driver.keys(_archive_of(url))
    built.clients.s3.delete_object(Bucket=built.resources.refs["Bucket"], Key=f"archives/{_archive_of(url)}/{key}")
    assert (
        lambda_events.json_of(api.invoke(lambda_events.call("lookup", key="policies-b", restore_keys=[])))["ok"]
        is False
    )

    budget = driver.services.settings.repository_budget_bytes
    over_budget = Usage(budget, 0, transient_bytes=budget)  # the class of the events' scope, a pull request
    driver.services.repositories.correct_usage(REPOSITORY, over_budget)
    url = lambda_events.json_of(api.invoke(lambda_events.call("create-entry", key="policies-c")))["signed_upload_url"]
    assert api.invoke(lambda_events.blob("put-blob", url, b"blob"))["statusCode"] == 201
    assert lambda_events.json_of(api.invoke(lambda_events.call("finalize", key="policies-c", size_bytes=4)))["ok"]
    assert driver.services.table.entry(name("policies-a", SCOPE, VERSION, REPOSITORY)) is None, "evicted"
    driver.services.repositories.correct_usage(REPOSITORY, NO_USAGE - over_budget)


def download_scenario(built: BuiltStack) -> None:
    download, driver = built.download, built.driver
    # This long ago, the claim is stale, and this download retakes it.
    driver.clock.at = SystemClock().now() - driver.services.lifetimes.queue_retention - HOUR
    driver.save(name("policies-unclaimed"), b"a", b"b")
    driver.clock.at = SystemClock().now()
    url = built.url_of("policies-unclaimed")
    assert lambda_events.body_of(download.invoke(lambda_events.blob("download", url))) == b"ab"
    # The store is on loopback, so its URLs are given only to who asks for the server there.
    from_here = {"Accept": MEDIA_TYPE, "Host": "127.0.0.1"}
    listed = lambda_events.json_of(download.invoke(lambda_events.blob("download", url, headers=from_here)))
    signed = f"{listed['query']}&X-Amz-Signature="
    assert b"".join(built.read(f"{listed['base']}{it[0]}?{signed}{it[3]}") for it in listed["parts"]) == b"ab"
    # The claim goes on beside the stream; after it, only while the function has a request.
    redirected = download.invoke(lambda_events.blob("download", url))
    while redirected["statusCode"] != 302:
        driver.merge_all()
        redirected = download.invoke(lambda_events.blob("download", url))
    assert built.read(redirected["headers"]["location"]) == b"ab"

    archive_id = driver.save(name("policies-torn"), b"a", b"b").archive_id
    url = built.url_of("policies-torn")
    built.lose_a_part(archive_id)
    download.invoke(lambda_events.blob("download", url))
    assert driver.look_up("policies-torn") is None


def merge_scenario(built: BuiltStack) -> None:
    merge, driver = built.merge, built.driver
    driver.merge_all()
    driver.clock.at = SystemClock().now()

    driver.save(name("policies-merged"), LARGE, LARGE, b"small", b"smaller")
    assert merge.invoke(built.merge_event()) == {"batchItemFailures": []}
    assert "X-Amz-Signature" in built.url_of("policies-merged")

    archive_id = driver.save(name("policies-broken"), LARGE, b"small").archive_id
    built.lose_a_part(archive_id)
    assert merge.invoke(built.merge_event()) == {"batchItemFailures": []}
    assert driver.look_up("policies-broken") is None

    archive_id = driver.save(name("policies-died"), LARGE, b"small").archive_id
    archive = driver.archive(archive_id)
    left = driver.services.bucket.start_upload(ArchiveKeys(archive_id).merged("dead"))
    died = replace(archive.merge, state=MergeState.RUNNING, run_token="dead", attempts=1)
    driver.services.table.replace_archive(archive, replace(archive, merge=died))
    assert merge.invoke(built.merge_event()) == {"batchItemFailures": []}
    assert left not in [upload for upload, _ in driver.services.bucket.uploads("archives/")]

    built.clients.sqs.send_message(QueueUrl=built.resources.refs["MergeQueue"], MessageBody="poison")
    assert merge.invoke(built.merge_event()) == {"batchItemFailures": []}

    archive_id = driver.save(name("policies-failing"), LARGE, b"small").archive_id
    built.spoil_manifest(archive_id)
    assert merge.invoke(built.merge_event())["batchItemFailures"]
    # The message is back in the queue in some seconds.
    built.clients.sqs.purge_queue(QueueUrl=built.resources.refs["MergeQueue"])


def cleanup_scenario(built: BuiltStack) -> None:
    driver = built.driver
    now = SystemClock().now()
    driver.merge_all()
    driver.clock.at = now - HOUR // 2
    driver.reserve_direct(name("policies-open"), LOCAL)
    driver.clock.at = now - 3 * HOUR
    driver.reserve_direct(name("policies-dead"), LOCAL)
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
    done = built.cleanup.invoke(lambda_events.load("scheduler-cleanup"))
    wanted = {
        "look at the open upload",
        "drop the reservation",
        "retake the claim",
        "sweep",
        "expire the entry",
        "forget the archive",
    }
    assert (wanted - done.keys(), done.get("failed", 0)) == (set(), 0)
    # As an older release stored it.
    outdated = driver.save(name("policies-outdated"), b"a").archive_id
    built.clients.dynamodb.update_item(
        TableName=built.resources.refs["ArchivesTable"],
        Key={"archive_id": {"S": outdated}},
        UpdateExpression="REMOVE repository",
    )
    assert built.cleanup.invoke(lambda_events.load("scheduler-outdated"))["archives migrated"] > 0
    driver.put_block("0" * 32, block_ids(1)[0], b"nobody's")
    assert built.cleanup.invoke(lambda_events.load("scheduler-orphans"))["orphaned archives deleted"] > 0


def manage_scenario(built: BuiltStack) -> None:
    driver = built.driver
    driver.clock.at = SystemClock().now()
    driver.services.note_repository(Caller(NAMED_REPOSITORY, (), "example/tools"))
    for key in ("policies-managed", "policies-by-id"):
        driver.save(name(key, repository=NAMED_REPOSITORY), b"a", b"b")

    def asked(event: str, path: str, **query: str) -> Any:
        return lambda_events.json_of(built.manage.invoke(lambda_events.managed(event, path, **query)))

    listed = asked("list", "repos/example/tools/actions/caches")
    assert listed["total_count"] == 2
    assert asked("entries", "repositories/example/tools/entries", search="policies")["total"] == 2
    match = asked("entries", "match", repository="example/tools", key="policies-m", ref=DRIVER_SCOPE)
    assert match["matches"][0]["found"]["key"] == "policies-managed"
    put_more_than_a_page(built, name("policies-many-", repository=NAMED_REPOSITORY))
    asked("entries", "match", repository="example/tools", key="policies-many-", ref=DRIVER_SCOPE, version="v1")
    assert asked("entries", "failures")["failed_merges"] == []
    assert asked("entries", "cost")["stored_entries"] >= 2
    assert asked("entries", "repositories")["repositories"]
    deleted = asked("delete", "example/tools/actions/caches", key="policies-managed", ref=DRIVER_SCOPE)
    assert deleted["total_count"] == 1
    [other] = [entry["id"] for entry in listed["actions_caches"] if entry["key"] == "policies-by-id"]
    gone = built.manage.invoke(lambda_events.managed("delete", f"example/tools/actions/caches/{other}"))
    assert gone["statusCode"] == 204


def rotate_scenario(built: BuiltStack) -> None:
    response_url = ResponseUrl()
    with response_url.served() as url:
        built.rotate.invoke(lambda_events.load("cloudformation-create") | {"ResponseURL": url})
    answer = response_url.answers.get(timeout=5)
    assert answer["Status"] == "SUCCESS", answer
    assert built.rotate.invoke(lambda_events.load("scheduler-rotate")) == {"phase": "settled"}


SCENARIOS: Mapping[str, Callable[[BuiltStack], None]] = {
    "ApiFunction": api_scenario,
    "DownloadFunction": download_scenario,
    "MergeFunction": merge_scenario,
    "CleanupFunction": cleanup_scenario,
    "ManageFunction": manage_scenario,
    "RotateFunction": rotate_scenario,
}

WITHOUT_A_CALL: Mapping[str, frozenset[Permission]] = {
    # Lambda polls with the function's role:
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions
    "MergeFunction": frozenset(
        (f"sqs:{action}", "MergeQueue") for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    )
}
"""Permissions that a role needs for Lambda's own calls, beside those for logs and traces."""


def _allowed(template: Template, function: str) -> set[Permission]:
    """Return each action on each resource of its statement, without those for logs and traces."""
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


@pytest.mark.parametrize("function", SCENARIOS)
def test_role_allows_what_its_function_does_alone(built: BuiltStack, function: str) -> None:
    SCENARIOS[function](built)
    names = {reference: logical_id for logical_id, reference in built.resources.refs.items()}
    did = set().union(*(permissions(call, names) for call in built.calls[function]))
    needs = did | WITHOUT_A_CALL.get(function, frozenset())
    allowed = _allowed(built.template, function)
    assert (sorted(needs - allowed), sorted(allowed - needs)) == ([], [])

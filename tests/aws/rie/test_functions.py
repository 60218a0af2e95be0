"""Each built function with its events, as Lambda's runtime calls it."""

import os
import re

from actions_cache.system import SystemClock
from dev.clients.driver import name
from functions.manage.page import FOLDER
from tests.aws.rie.conftest import BuiltStack
from tests.support import lambda_events

BLOCKS = [os.urandom(300_000), os.urandom(200_001), os.urandom(1)]
HOUR = 3600 * 1000
BLOCK_IDS = ["Zmlyc3Q=", "c2Vjb25k", "dGhpcmQ="]


def save(built: BuiltStack, key: str, blocks: list[bytes]) -> None:
    """Save an entry through the API, the last block first."""
    ids = BLOCK_IDS[: len(blocks)]
    url = lambda_events.json_of(built.api.invoke(lambda_events.call("create-entry", key=key)))["signed_upload_url"]
    for block_id, block in reversed(list(zip(ids, blocks, strict=True))):
        put = built.api.invoke(lambda_events.blob("put-block", url, block, blockid=block_id))
        assert put["statusCode"] == 201, put
    listed = "".join(f"<Latest>{block_id}</Latest>" for block_id in ids)
    put = built.api.invoke(lambda_events.blob("put-blocklist", url, f"<BlockList>{listed}</BlockList>".encode()))
    assert put["statusCode"] == 201, put
    size = sum(len(block) for block in blocks)
    finalized = lambda_events.json_of(built.api.invoke(lambda_events.call("finalize", key=key, size_bytes=str(size))))
    assert finalized["ok"] is True, finalized


def url_of(built: BuiltStack, key: str) -> str:
    found = lambda_events.json_of(built.api.invoke(lambda_events.call("lookup", key=key, restore_keys=[])))
    assert found["ok"] is True, found
    return str(found["signed_download_url"])


def test_entry_is_saved_streamed_merged_and_restored(built: BuiltStack) -> None:
    built.driver.merge_all()  # so that the next message is this one's
    save(built, "whole-way", BLOCKS)
    url = url_of(built, "whole-way")
    assert "/blobs/download/" in url

    streamed = built.download.invoke(lambda_events.blob("download", url))
    assert (streamed["statusCode"], lambda_events.body_of(streamed)) == (200, b"".join(BLOCKS))
    described = built.api.invoke(lambda_events.blob("head-download", url))
    assert (described["statusCode"], described["headers"]["content-length"]) == (200, "500002")
    ranged = built.download.invoke(
        lambda_events.blob("download-range", url, headers={"x-ms-range": "bytes=299999-300001"})
    )
    assert (ranged["statusCode"], lambda_events.body_of(ranged)) == (206, b"".join(BLOCKS)[299_999:300_002])

    assert built.merge.invoke(built.merge_event()) == {"batchItemFailures": []}
    redirected = built.download.invoke(lambda_events.blob("download", url))
    assert redirected["statusCode"] == 302
    assert "X-Amz-Signature" in redirected["headers"]["location"]
    assert "X-Amz-Signature" in url_of(built, "whole-way")


def test_entry_is_created_by_protobuf(built: BuiltStack) -> None:
    created = built.api.invoke(lambda_events.load("apigateway-create-entry-protobuf"))
    assert (created["statusCode"], created["headers"]["content-type"]) == (200, "application/protobuf")
    url = lambda_events.body_of(created).decode(errors="replace").partition("https://")[2]
    assert "/blobs/upload/" in url


def test_blob_of_one_put_is_saved(built: BuiltStack) -> None:
    url = lambda_events.json_of(built.api.invoke(lambda_events.call("create-entry", key="blob")))["signed_upload_url"]
    body = os.urandom(1000)
    assert built.api.invoke(lambda_events.blob("put-blob", url, body))["statusCode"] == 201
    finalized = built.api.invoke(lambda_events.call("finalize", key="blob", size_bytes="1000"))
    assert lambda_events.json_of(finalized)["ok"] is True
    assert "X-Amz-Signature" in url_of(built, "blob")
    assert built.api.invoke(lambda_events.call("create-entry", key="blob"))["statusCode"] == 409


def test_unknown_route_is_refused_in_twirp(built: BuiltStack) -> None:
    for event in ("unknown-route", "unknown-path"):
        answer = built.api.invoke(lambda_events.load(f"apigateway-{event}"))
        assert (answer["statusCode"], lambda_events.json_of(answer)["code"]) == (404, "bad_route")


def test_health_says_release_and_no_error(built: BuiltStack) -> None:
    answer = built.api.invoke(lambda_events.load("apigateway-health"))
    said = lambda_events.json_of(answer)
    assert (answer["statusCode"], said["ok"], said["faults"]) == (200, True, {})
    assert said["commit"] != "unknown", "the build is stamped"


def test_poison_message_is_acknowledged(built: BuiltStack) -> None:
    assert built.merge.invoke(lambda_events.load("sqs-poison")) == {"batchItemFailures": []}


def test_cleanup_drops_an_abandoned_upload(built: BuiltStack) -> None:
    built.driver.clock.at = SystemClock().now() - 3 * HOUR
    archive_id = built.driver.upload(name("abandoned"), b"a", b"b")
    done = built.cleanup.invoke(lambda_events.load("scheduler-cleanup"))
    assert done["drop the reservation"] >= 1, done
    assert built.driver.keys(archive_id) == []


def test_page_and_its_files_are_in_the_build(built: BuiltStack) -> None:
    page = built.manage.invoke(lambda_events.load("apigateway-manage-page"))
    [path] = re.findall(r'src="/manage/(page/[0-9a-f]+/main\.mjs)"', lambda_events.body_of(page).decode())
    module = built.manage.invoke(lambda_events.managed("entries", path))
    assert (module["statusCode"], lambda_events.body_of(module)) == (200, (FOLDER / "main.mjs").read_bytes())
    assert (
        lambda_events.json_of(built.manage.invoke(lambda_events.load("apigateway-manage-sign-in")))["role"] == "admin"
    )

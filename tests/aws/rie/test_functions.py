"""Each built function with its events, as Lambda's runtime calls it."""

import os
import re

from actions_cache.system import SystemClock
from dev.clients.driver import name
from functions.manage.page import FOLDER
from tests.aws.rie.conftest import Stage
from tests.support import lambda_events

BLOCKS = [os.urandom(300_000), os.urandom(200_001), os.urandom(1)]
HOUR = 3600 * 1000
BLOCK_IDS = ["Zmlyc3Q=", "c2Vjb25k", "dGhpcmQ="]


def save(stage: Stage, key: str, blocks: list[bytes]) -> None:
    """By way of the API, the blocks last first."""
    ids = BLOCK_IDS[: len(blocks)]
    url = lambda_events.json_of(stage.api.invoke(lambda_events.call("create-entry", key=key)))["signed_upload_url"]
    for block_id, block in reversed(list(zip(ids, blocks, strict=True))):
        put = stage.api.invoke(lambda_events.blob("put-block", url, block, blockid=block_id))
        assert put["statusCode"] == 201, put
    listed = "".join(f"<Latest>{block_id}</Latest>" for block_id in ids)
    put = stage.api.invoke(lambda_events.blob("put-blocklist", url, f"<BlockList>{listed}</BlockList>".encode()))
    assert put["statusCode"] == 201, put
    size = sum(len(block) for block in blocks)
    finalized = lambda_events.json_of(stage.api.invoke(lambda_events.call("finalize", key=key, size_bytes=str(size))))
    assert finalized["ok"] is True, finalized


def url_of(stage: Stage, key: str) -> str:
    found = lambda_events.json_of(stage.api.invoke(lambda_events.call("lookup", key=key, restore_keys=[])))
    assert found["ok"] is True, found
    return str(found["signed_download_url"])


def test_entry_is_saved_streamed_merged_and_restored(stage: Stage) -> None:
    stage.driver.merge_all()  # so that the next message is this one's
    save(stage, "whole-way", BLOCKS)
    url = url_of(stage, "whole-way")
    assert "/blobs/download/" in url

    streamed = stage.download.invoke(lambda_events.blob("download", url))
    assert (streamed["statusCode"], lambda_events.body_of(streamed)) == (200, b"".join(BLOCKS))
    described = stage.api.invoke(lambda_events.blob("head-download", url))
    assert (described["statusCode"], described["headers"]["content-length"]) == (200, "500002")
    ranged = stage.download.invoke(
        lambda_events.blob("download-range", url, headers={"x-ms-range": "bytes=299999-300001"})
    )
    assert (ranged["statusCode"], lambda_events.body_of(ranged)) == (206, b"".join(BLOCKS)[299_999:300_002])

    assert stage.merge.invoke(stage.merge_event()) == {"batchItemFailures": []}
    redirected = stage.download.invoke(lambda_events.blob("download", url))
    assert redirected["statusCode"] == 302
    assert "X-Amz-Signature" in redirected["headers"]["location"]
    assert "X-Amz-Signature" in url_of(stage, "whole-way")


def test_protobuf_create_returns_upload_url(stage: Stage) -> None:
    created = stage.api.invoke(lambda_events.load("apigateway-create-entry-protobuf"))
    assert (created["statusCode"], created["headers"]["content-type"]) == (200, "application/protobuf")
    url = lambda_events.body_of(created).decode(errors="replace").partition("https://")[2]
    assert "/blobs/upload/" in url


def test_single_put_blob_is_saved(stage: Stage) -> None:
    url = lambda_events.json_of(stage.api.invoke(lambda_events.call("create-entry", key="blob")))["signed_upload_url"]
    body = os.urandom(1000)
    assert stage.api.invoke(lambda_events.blob("put-blob", url, body))["statusCode"] == 201
    finalized = stage.api.invoke(lambda_events.call("finalize", key="blob", size_bytes="1000"))
    assert lambda_events.json_of(finalized)["ok"] is True
    assert "X-Amz-Signature" in url_of(stage, "blob")
    assert stage.api.invoke(lambda_events.call("create-entry", key="blob"))["statusCode"] == 409


def test_unknown_route_returns_twirp_error(stage: Stage) -> None:
    for event in ("unknown-route", "unknown-path"):
        answer = stage.api.invoke(lambda_events.load(f"apigateway-{event}"))
        assert (answer["statusCode"], lambda_events.json_of(answer)["code"]) == (404, "bad_route")


def test_health_check_passes(stage: Stage) -> None:
    answer = stage.api.invoke(lambda_events.load("apigateway-health"))
    said = lambda_events.json_of(answer)
    assert (answer["statusCode"], said["ok"], said["faults"]) == (200, True, {})
    assert said["commit"] != "unknown", "the build is stamped"


def test_poison_message_is_acknowledged(stage: Stage) -> None:
    assert stage.merge.invoke(lambda_events.load("sqs-poison")) == {"batchItemFailures": []}


def test_scheduled_cleanup_drops_abandoned_upload(stage: Stage) -> None:
    stage.driver.clock.at = SystemClock().now() - 3 * HOUR
    archive_id = stage.driver.upload(name("abandoned"), b"a", b"b")
    done = stage.cleanup.invoke(lambda_events.load("scheduler-cleanup"))
    assert done["drop the reservation"] >= 1, done
    assert stage.driver.keys(archive_id) == []


def test_page_files_are_in_build(stage: Stage) -> None:
    page = stage.manage.invoke(lambda_events.load("apigateway-manage-page"))
    [path] = re.findall(r'src="/manage/(page/[0-9a-f]+/main\.mjs)"', lambda_events.body_of(page).decode())
    module = stage.manage.invoke(lambda_events.managed("entries", path))
    assert (module["statusCode"], lambda_events.body_of(module)) == (200, (FOLDER / "main.mjs").read_bytes())
    assert (
        lambda_events.json_of(stage.manage.invoke(lambda_events.load("apigateway-manage-sign-in")))["role"] == "admin"
    )

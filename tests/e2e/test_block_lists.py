"""Get Block List, by Azure's own SDK and as it goes over the wire; nothing else is read from an upload URL."""

import base64
from typing import Any

from azure.storage.blob import BlobBlock, BlobClient

from dev.clients.wire import Job, put_blob, put_block, put_block_list, send, with_query

SLASH_AND_PLUS = base64.b64encode(b"\xfb\xff\xbe\xff").decode()


def listed(blocks: Any) -> list[tuple[str, int]]:
    return [(block.id, block.size) for block in blocks]


def test_azure_sdk_lists_staged_and_committed_blocks(unmerged_job: Job):
    """It encodes ids itself, once more than they are here."""
    client = BlobClient.from_blob_url(unmerged_job.reserve("key"))
    for block_id, body in (("b", b"old"), ("a", b"four"), ("b", b"newer"), ("c", b"left out")):
        client.stage_block(block_id, body)

    before = client.get_block_list("all")
    client.commit_block_list([BlobBlock("b"), BlobBlock("a")])
    client.stage_block("d", b"late")
    after = client.get_block_list("all")

    assert [listed(it) for it in before] == [[], [("a", 4), ("b", 5), ("c", 8)]]
    assert [listed(it) for it in after] == [[("b", 5), ("a", 4)], []]


def test_block_list_type_selects_blocks(job: Job):
    url = job.reserve("key")
    put_block(url, SLASH_AND_PLUS, b"data")

    bodies = {
        kind: send("GET", with_query(url, first={"comp": "blocklist", **({"blocklisttype": kind} if kind else {})}))
        for kind in ("", "committed", "Uncommitted", "ALL", "none")
    }

    block = f"<Block><Name>{SLASH_AND_PLUS}</Name><Size>4</Size></Block>".encode()
    uncommitted = b"<UncommittedBlocks>" + block + b"</UncommittedBlocks>"
    expected = {
        "": b"<BlockList><CommittedBlocks /></BlockList>",
        "committed": b"<BlockList><CommittedBlocks /></BlockList>",
        "Uncommitted": b"<BlockList>" + uncommitted + b"</BlockList>",
        "ALL": b"<BlockList><CommittedBlocks />" + uncommitted + b"</BlockList>",
    }
    assert {kind: bodies[kind].body.partition(b"?>")[2].strip() for kind in expected} == expected
    assert (bodies["none"].status, b"blocklisttype=none" in bodies["none"].body) == (400, True)
    assert bodies["ALL"].headers["Content-Type"] == "application/xml"
    assert all(name in bodies["ALL"].headers for name in ("x-ms-request-id", "ETag", "Last-Modified"))


def test_block_list_shows_committed_blocks(job: Job):
    one, blob = job.reserve("one"), job.reserve("blob")
    put_block(one, SLASH_AND_PLUS, b"data")
    put_block_list(one, [SLASH_AND_PLUS])
    put_blob(blob, b"data")

    lists = [send("GET", with_query(url, last={"comp": "blocklist"})) for url in (one, blob)]

    assert [reply.body.count(b"<Block>") for reply in lists] == [1, 0]
    assert [reply.headers["x-ms-blob-content-length"] for reply in lists] == ["4", "0"]


def test_upload_url_reads_only_block_lists(job: Job):
    url = job.reserve("key")
    replies = [send(method, url) for method in ("GET", "HEAD", "DELETE", "POST")]
    empty = send("GET", with_query(url, last={"comp": "blocklist"}))
    forged = send("GET", f"{url}x&comp=blocklist")

    assert {reply.status for reply in replies} <= {403, 405}
    for reply in replies:
        assert reply.headers["x-ms-error-code"] in ("UnsupportedHttpVerb", "Forbidden")
        assert reply.headers["x-ms-request-id"]
    assert (empty.status, empty.headers["x-ms-error-code"]) == (404, "BlobNotFound")
    assert (forged.status, forged.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")

"""hestia's saves, reads and collections, in its own order of requests."""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest

from actions_cache.domain.uploads import MAX_PART_BYTES
from actions_cache.settings import Settings
from dev.clients.hestia import REPRODUCED, Collector, Hestia, WriteDenied
from dev.clients.runtime_token import BRANCH, DEFAULT_BRANCH, READ, READ_WRITE, runtime_token

pytestmark = pytest.mark.client("hestia", version=REPRODUCED)

MIB = 1024 * 1024
LARGEST_PACK = 5000 * MIB
LONGER_THAN_OTHERS_PUT = 129 * MIB
"""More than any other client puts at once."""


@pytest.fixture
def environment(server_directory: Path, server: str) -> Mapping[str, str]:
    lines = (server_directory / "data" / "env").read_text().splitlines()
    return dict(shlex.split(line)[1].split("=", 1) for line in lines)


@pytest.fixture
def client(server: str, repository: str) -> Hestia:
    return Hestia(server, runtime_token(repository=repository))


@pytest.mark.slow
@pytest.mark.client(feature="packs of any size, read by `Range` from S3")
@pytest.mark.parametrize("where", ["server", "unmerged_server"], ids=["merging", "never merging"])
@pytest.mark.parametrize("size", [1, 2 * MIB, LONGER_THAN_OTHERS_PUT], ids=["1 B", "2 MiB", "129 MiB"])
def test_pack_is_read_by_range_from_the_store(request: pytest.FixtureRequest, client: Hestia, where: str, size: int):
    client = replace(client, server=request.getfixturevalue(where))
    data = os.urandom(size)

    key = client.save_pack(data)

    pieces = [(0, 1), (size - 1, size), (0, size), (size // 3, size // 3 + 1 + size // 2)]
    assert [client.read(key, *piece) for piece in pieces] == [data[start:end] for start, end in pieces]
    assert not client.urls[key].startswith(f"{client.server}/")
    assert client.lookups == 1


@pytest.mark.client(feature="packs of any size, read by `Range` from S3")
def test_largest_pack_is_within_every_limit():
    """No test here takes the time to send one."""
    largest_entry = Settings.model_construct().largest_entry_bytes
    assert largest_entry is not None
    assert min(MAX_PART_BYTES, largest_entry) >= LARGEST_PACK


@pytest.mark.client(feature="an existing pack isn't sent again")
def test_existing_pack_is_only_touched(client: Hestia):
    key = client.save_pack(b"pack")

    assert client.save_pack(b"pack") == key
    assert client.read(key, 0, 4) == b"pack"


@pytest.mark.client(feature="the newest manifest, past what dead writers hold")
def test_newest_manifest_is_read_past_nine(client: Hestia):
    numbers = [client.save_manifest(f"manifest {number}".encode()) for number in range(1, 11)]

    assert numbers == [*range(1, 11)]
    assert client.load_manifest() == (10, b"manifest 10")


@pytest.mark.client(feature="the newest manifest, past what dead writers hold")
def test_abandoned_manifest_number_is_skipped(client: Hestia):
    client.save_manifest(b"first")
    assert client.reserve("m#2") is not None

    assert client.save_manifest(b"third") == 3
    assert client.load_manifest() == (3, b"third")


@pytest.mark.client(feature="a refused URL is looked up again")
def test_refused_url_is_looked_up_again(client: Hestia):
    key = client.save_pack(b"0123456789")
    assert client.read(key, 0, 1) == b"0"
    client.urls[key] = client.urls[key].replace("X-Amz-Signature=", "X-Amz-Signature=1")

    assert client.read(key, 5, 8) == b"567"
    assert client.lookups == 2


@pytest.mark.client(feature="a lost pack is a miss, and saved again")
def test_lost_pack_is_a_miss_and_can_be_saved_again(client: Hestia, environment: Mapping[str, str]):
    key = client.save_pack(b"pack")
    assert client.read(key, 0, 4) == b"pack"
    store = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        region_name="us-east-1",
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    bucket, _, name = urlsplit(client.urls[key]).path.strip("/").partition("/")
    store.delete_object(Bucket=bucket, Key=name)

    assert client.read(key, 0, 4) is None
    assert client.save_pack(b"pack") == key
    assert client.read(key, 0, 4) == b"pack"


@pytest.mark.client(feature="a read-only token reads, and is told that it can't save")
def test_read_only_token_is_no_existing_key(client: Hestia, repository: str):
    key = client.save_pack(b"pack")
    reading = replace(client, token=runtime_token([(BRANCH, READ), (DEFAULT_BRANCH, READ)], repository), urls={})

    for save in (lambda: reading.save_pack(b"another"), lambda: reading.save_manifest(b"manifest")):
        with pytest.raises(WriteDenied, match="cache write denied:"):
            save()
    assert reading.read(key, 0, 4) == b"pack"


@pytest.mark.client(feature="garbage collection by GitHub's REST API")
def test_collector_lists_and_deletes_packs(server: str, repository: str, environment: Mapping[str, str]):
    name = f"example/nix-{repository}"
    token = runtime_token([(BRANCH, READ_WRITE)], repository, oidc_extra=json.dumps({"repository": name}))
    client = Hestia(server, token)
    keys = [client.save_pack(str(number).encode()) for number in range(3)]
    client.save_manifest(b"manifest")
    collector = Collector(f"{server}/api/v3", name, environment["ADMIN_TOKEN"])

    assert [(cache["key"], cache["size_in_bytes"]) for cache in collector.list("pack-")] == [(key, 1) for key in keys]
    assert [collector.delete(keys[0]), collector.delete(keys[0])] == [1, 0]
    assert [cache["key"] for cache in collector.list("")] == [*keys[1:], "m#1"]

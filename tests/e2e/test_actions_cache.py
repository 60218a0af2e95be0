"""The real @actions/cache: what a workflow's author sees."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.actions_cache import NEWEST, VERSION_4, ActionsCache, Outcome, Package
from tests.clients.runtime_token import BRANCH, DEFAULT_BRANCH, READ, runtime_token
from tests.clients.wire import MERGE_SECONDS

MIB = 1024 * 1024
SEVERAL_BLOCKS = 150_000_000
"""@actions/cache sends up to 128 MiB in one PUT, and blocks of 64 MiB beyond."""

Client = Callable[..., ActionsCache]

both_versions = pytest.mark.parametrize("package", [NEWEST, VERSION_4])


def restored(client: ActionsCache, workspace: Path, key: str, *restore_keys: str) -> tuple[Outcome, bytes]:
    """Restores over nothing, so that no byte can be left from before."""
    (workspace / "data").unlink(missing_ok=True)
    outcome = client.restore(["data"], key, restore_keys)
    return outcome, (workspace / "data").read_bytes()


@both_versions
@pytest.mark.parametrize("size", [0, 1, MIB, 64 * MIB + 1], ids=["empty", "1 B", "1 MiB", "64 MiB + 1"])
def test_what_was_saved_in_one_put_is_restored(
    server: str, actions_cache: Client, tmp_path: Path, package: Package, size: int
):
    client = actions_cache(server, package)
    data = os.urandom(size)
    (tmp_path / "data").write_bytes(data)

    saved = client.save(["data"], "key")
    outcome, got = restored(client, tmp_path, "key")

    assert isinstance(saved.result, int)
    assert saved.result > 0
    assert outcome.result == "key"
    assert got == data


@both_versions
def test_an_entry_of_several_blocks_is_restored_from_its_parts(
    unmerged_server: str, actions_cache: Client, tmp_path: Path, package: Package
):
    client = actions_cache(unmerged_server, package)
    data = os.urandom(SEVERAL_BLOCKS)
    (tmp_path / "data").write_bytes(data)

    saved = client.save(["data"], "key")
    outcome, got = restored(client, tmp_path, "key")

    assert len(saved.parts) == 3
    assert [request.url.startswith(unmerged_server) for request in outcome.downloads] == [True]
    assert got == data


@both_versions
def test_an_entry_is_restored_while_it_is_merged_and_from_the_store_afterwards(
    server: str, actions_cache: Client, tmp_path: Path, package: Package
):
    client = actions_cache(server, package)
    data = os.urandom(SEVERAL_BLOCKS)
    (tmp_path / "data").write_bytes(data)
    client.save(["data"], "key")

    deadline = time.monotonic() + MERGE_SECONDS
    while True:
        outcome, got = restored(client, tmp_path, "key")
        assert got == data
        if not any(request.url.startswith(server) for request in outcome.downloads):
            break
        assert time.monotonic() < deadline, "not merged in time"


def test_a_restore_key_brings_the_newest_entry_that_it_begins(server: str, actions_cache: Client, tmp_path: Path):
    client = actions_cache(server)
    for generation in (b"first", b"second", b"third"):
        (tmp_path / "data").write_bytes(generation)
        client.save(["data"], f"deps-{generation.decode()}")

    outcome, got = restored(client, tmp_path, "deps-of-today", "deps-")

    assert outcome.result == "deps-third"
    assert got == b"third"
    assert "Cache hit for restore-key: deps-third" in outcome.log


@both_versions
def test_a_miss_restores_nothing_and_warns_of_nothing(server: str, actions_cache: Client, package: Package):
    outcome = actions_cache(server, package).restore(["data"], "never saved", ["nor this"])

    assert outcome.result is None
    assert outcome.log == []


@both_versions
def test_saving_a_key_again_is_one_friendly_line_and_a_green_job(
    server: str, actions_cache: Client, tmp_path: Path, package: Package
):
    client = actions_cache(server, package)
    (tmp_path / "data").write_bytes(b"first")
    client.save(["data"], "key")
    (tmp_path / "data").write_bytes(b"second")

    again = client.save(["data"], "key")
    _, got = restored(client, tmp_path, "key")

    assert again.result == -1
    assert "Failed to save: Unable to reserve cache with key key, another job may be creating this cache." in [
        line.partition(" More details")[0] for line in again.log
    ]
    assert not [line for line in again.log if line.startswith(("::warning", "::error"))]
    assert got == b"first"


def test_a_lookup_only_restore_fetches_no_byte(server: str, actions_cache: Client, tmp_path: Path):
    client = actions_cache(server)
    (tmp_path / "data").write_bytes(b"data")
    client.save(["data"], "key")
    (tmp_path / "data").unlink()

    outcome = client.restore(["data"], "key", lookup_only=True)

    assert outcome.result == "key"
    assert [request.method for request in outcome.requests] == ["POST"]
    assert not (tmp_path / "data").exists()


def test_a_job_that_may_only_read_is_told_so_and_stays_green(
    server: str, actions_cache: Client, tmp_path: Path, repository: str
):
    read_only = runtime_token([(BRANCH, READ), (DEFAULT_BRANCH, READ)], repository)
    (tmp_path / "data").write_bytes(b"data")

    outcome = actions_cache(server, token=read_only).save(["data"], "key")

    assert outcome.result == -1
    assert [line for line in outcome.log if line.startswith("::warning") and "cache write denied:" in line]


def test_the_signatures_of_urls_are_masked_in_a_jobs_log(unmerged_server: str, actions_cache: Client, tmp_path: Path):
    """Whoever can read a debug log could otherwise use them while they live."""
    client = actions_cache(unmerged_server)
    (tmp_path / "data").write_bytes(b"data")

    masked = [line for line in client.save(["data"], "key").log if line.startswith("::add-mask::")]

    assert masked

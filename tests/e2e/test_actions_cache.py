"""The real @actions/cache: what a workflow's author sees, by each version and each of the services it may ask."""

import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dev.clients.actions_cache import (
    BLOB_HOST,
    NEWEST,
    VERSION_3,
    VERSION_4,
    VERSION_5,
    ActionsCache,
    Outcome,
    Package,
    version_of,
)
from dev.clients.runtime_token import BRANCH, DEFAULT_BRANCH, READ, Api, runtime_token
from dev.clients.wire import MERGE_SECONDS

pytestmark = pytest.mark.client("@actions/cache")

MIB = 1024 * 1024
SEVERAL_BLOCKS = 130 * MIB
"""Sizes for v2, whose client sends up to 128 MiB in one PUT, and blocks of 64 MiB beyond; neither can be set."""
SEVERAL_PIECES = 6 * MIB
PIECE = 2 * MIB
"""Sizes for v1, where they can be set."""
SEGMENT = 4 * MIB
"""Size of one read from a blob host."""


@dataclass(frozen=True)
class Spoken:
    package: Package
    api: Api

    def __str__(self) -> str:
        return f"{version_of(self.package)} by {self.api}"

    def client(self, server: str, workspace: Path, token: str) -> ActionsCache:
        chunk_bytes = PIECE if self.api == "v1" else None
        return ActionsCache(server, workspace, token, self.package, api=self.api, chunk_bytes=chunk_bytes)

    @property
    def size_of_several_parts(self) -> int:
        return SEVERAL_PIECES if self.api == "v1" else SEVERAL_BLOCKS


def each(*spoken: Spoken) -> list[object]:
    return [pytest.param(it, id=str(it), marks=pytest.mark.client(version=str(it))) for it in spoken]


NEWEST_BY_V2, NEWEST_BY_V1 = Spoken(NEWEST, "v2"), Spoken(NEWEST, "v1")
BY_BLOCKS, BY_CHUNKS = Spoken(VERSION_4, "v2"), Spoken(VERSION_3, "v1")
newest = pytest.mark.client(version=str(NEWEST_BY_V2))


def restored(client: ActionsCache, key: str, *restore_keys: str) -> tuple[Outcome, bytes]:
    """Restores over nothing, so that no byte can be left from before."""
    data = client.workspace / "data"
    data.unlink(missing_ok=True)
    outcome = client.restore(["data"], key, restore_keys)
    return outcome, data.read_bytes()


def marked(outcome: Outcome) -> list[str]:
    """Lines that a job's log shows in yellow or red."""
    return [line for line in outcome.log if line.startswith(("::warning", "::error"))]


# ------------------------------------------------------------------ a few bytes


@dataclass(frozen=True)
class Steps:
    """Results of one job's steps, in order. Each step is a process of its own."""

    first: bytes
    saved: Outcome
    second: bytes
    saved_again: Outcome
    exact: tuple[Outcome, bytes]
    by_restore_key: tuple[Outcome, bytes]
    missed: Outcome
    looked_up: Outcome
    after_lookup: list[str]
    """Return the files in the workspace."""
    denied: Outcome

    @classmethod
    def of(cls, client: ActionsCache, repository: str) -> "Steps":
        def save(data: bytes, key: str, token: str = client.token) -> Outcome:
            (client.workspace / "data").write_bytes(data)
            return replace(client, token=token).save(["data"], key)

        read_only = runtime_token([(BRANCH, READ), (DEFAULT_BRANCH, READ)], repository)
        first, second = os.urandom(MIB), os.urandom(1)
        saved, _ = save(first, "deps-first"), save(second, "deps-second")
        saved_again, denied = save(b"other bytes", "deps-first"), save(b"other bytes", "deps-denied", read_only)
        exact, by_restore_key = (restored(client, key, "other-", "deps-") for key in ("deps-first", "deps-of-today"))
        (client.workspace / "data").unlink()
        missed = client.restore(["data"], "never saved", ["nor this"])
        looked_up = client.restore(["data"], "deps-first", lookup_only=True)
        left = [path.name for path in client.workspace.iterdir() if path != client.temporary]
        return cls(first, saved, second, saved_again, exact, by_restore_key, missed, looked_up, left, denied)


@pytest.fixture(scope="module", params=each(NEWEST_BY_V2, NEWEST_BY_V1))
def steps(request: pytest.FixtureRequest, server: str, tmp_path_factory: pytest.TempPathFactory) -> Steps:
    repository = str(uuid.uuid4().int % 10**12)
    token = runtime_token(repository=repository)
    return Steps.of(request.param.client(server, tmp_path_factory.mktemp("job"), token), repository)


@pytest.mark.client(feature="saves and restores, every byte")
def test_saved_entry_is_restored_by_key(steps: Steps):
    outcome, got = steps.exact

    assert isinstance(steps.saved.result, int)
    assert steps.saved.result > 0
    assert marked(steps.saved) == marked(outcome) == []
    assert outcome.result == "deps-first"
    assert got == steps.first


@pytest.mark.slow
@pytest.mark.client(feature="saves and restores, every byte")
@pytest.mark.parametrize("spoken", each(Spoken(VERSION_5, "v2")))
def test_older_client_saves_and_restores(server: str, tmp_path: Path, repository: str, spoken: Spoken):
    """Others that are older save and restore several blocks."""
    client, data = spoken.client(server, tmp_path, runtime_token(repository=repository)), os.urandom(MIB)
    (tmp_path / "data").write_bytes(data)

    client.save(["data"], "key")

    assert restored(client, "key")[1] == data


@pytest.mark.client(feature="restore keys: the newest entry that begins with one")
def test_restore_key_finds_newest_match(steps: Steps):
    outcome, got = steps.by_restore_key

    assert outcome.result == "deps-second"
    assert got == steps.second


@pytest.mark.client(feature="a miss: nothing restored, no warning")
def test_miss_restores_nothing_without_warning(steps: Steps):
    assert steps.missed.result is None
    assert steps.missed.log == []


@pytest.mark.client(feature="a taken key: one line, a green job, the first save stays")
def test_second_save_logs_one_line_and_passes(steps: Steps):
    again = steps.saved_again

    assert again.result == -1
    assert "Failed to save: Unable to reserve cache with key deps-first, another job may be creating this cache." in [
        line.partition(" More details")[0] for line in again.log
    ]
    assert marked(again) == []
    assert steps.exact[1] == steps.first


@pytest.mark.client(feature="`lookup-only` fetches no byte")
def test_lookup_only_fetches_no_bytes(steps: Steps):
    assert steps.looked_up.result == "deps-first"
    assert len(steps.looked_up.requests) == 1
    assert steps.looked_up.downloads == []
    assert steps.after_lookup == []


@pytest.mark.client(feature="a read-only token: told so, a green job")
def test_read_only_job_is_told_and_passes(steps: Steps):
    assert steps.denied.result == -1
    assert "cache write denied: " in "\n".join(steps.denied.log)


# ------------------------------------------------------------------ several blocks


@dataclass(frozen=True)
class Saved:
    client: ActionsCache
    data: bytes
    saved: Outcome


@pytest.fixture(scope="module", params=each(BY_CHUNKS, BY_BLOCKS, NEWEST_BY_V2))
def in_parts(
    request: pytest.FixtureRequest, unmerged_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Saved]:
    workspace, spoken = tmp_path_factory.mktemp("job"), request.param
    token = runtime_token(repository=str(uuid.uuid4().int % 10**12))
    client, data = spoken.client(unmerged_server, workspace, token), os.urandom(spoken.size_of_several_parts)
    (workspace / "data").write_bytes(data)
    yield Saved(client, data, client.save(["data"], "key"))
    (workspace / "data").unlink(missing_ok=True)


@pytest.mark.client(feature="blocks in parallel, restored from their parts")
def test_entry_of_several_blocks_is_restored(in_parts: Saved):
    outcome, got = restored(in_parts.client, "key")

    assert len(in_parts.saved.parts) >= 3
    assert [request.url.startswith(f"{in_parts.client.server}/") for request in outcome.downloads] == [True]
    assert got == in_parts.data


@pytest.mark.slow
@pytest.mark.client(feature="pieces of 4 MiB, from a host that looks like Azure's")
def test_blob_host_entry_is_restored_in_segments(in_parts: Saved):
    outcome, got = restored(in_parts.client.by_blob_host(), "key")

    head, *pieces = [
        request for request in outcome.requests if f"//{BLOB_HOST}:" in request.url and "/blobs/" in request.url
    ]
    assert head.method == "HEAD"
    assert {(request.method, request.status) for request in pieces} == {("GET", 206)}
    assert max(request.received_bytes for request in pieces) == SEGMENT
    assert sum(request.received_bytes for request in pieces) == head.received_bytes
    assert got == in_parts.data


@pytest.mark.client(feature="restored during and after the merge")
@pytest.mark.parametrize("spoken", each(NEWEST_BY_V2, NEWEST_BY_V1))
def test_entry_is_restored_during_and_after_merge(server: str, tmp_path: Path, repository: str, spoken: Spoken):
    client = spoken.client(server, tmp_path, runtime_token(repository=repository))
    data = os.urandom(spoken.size_of_several_parts)
    (tmp_path / "data").write_bytes(data)
    client.save(["data"], "key")

    deadline = time.monotonic() + MERGE_SECONDS
    while True:
        outcome, got = restored(client, "key")
        assert got == data
        if not any(request.url.startswith(server) for request in outcome.downloads):
            break
        assert time.monotonic() < deadline, "not merged in time"


@pytest.mark.client(feature="a miss's debug log lists entries of other versions")
@pytest.mark.client(version=str(NEWEST_BY_V1))
def test_debug_log_lists_similar_entries(server: str, tmp_path: Path, repository: str):
    """The version is made of the paths, so other paths miss."""
    client = replace(NEWEST_BY_V1.client(server, tmp_path, runtime_token(repository=repository)), debug=True)
    (tmp_path / "data").write_bytes(b"data")
    client.save(["data"], "deps-1")

    missed = client.restore(["other"], "deps-1")

    assert missed.result is None
    [said] = [line for line in missed.log if "Cache Key: " in line]
    assert said.startswith("::debug::Cache Key: deps-1, Cache Version: ")
    assert f"Cache Scope: {BRANCH}, Cache Created: 20" in said


# ------------------------------------------------------------------ by the newest alone


@pytest.fixture(scope="module", params=[0, 64 * MIB + 1], ids=["empty", "64 MiB + 1"])
def in_one_put(request: pytest.FixtureRequest, server: str, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    workspace = tmp_path_factory.mktemp("job")
    client = ActionsCache(server, workspace, runtime_token(repository=str(uuid.uuid4().int % 10**12)))
    data = os.urandom(request.param)
    (workspace / "data").write_bytes(data)
    return Saved(client, data, client.save(["data"], "key"))


@newest
@pytest.mark.client(feature="one PUT of any size")
def test_single_put_entry_is_restored(in_one_put: Saved):
    outcome, got = restored(in_one_put.client, "key")

    assert len(in_one_put.saved.parts) == 1
    assert outcome.result == "key"
    assert got == in_one_put.data


@newest
@pytest.mark.client(feature="URLs' signatures are masked in the log")
def test_url_signatures_are_masked_in_log(in_one_put: Saved):
    """Whoever can read a debug log could otherwise use them while they live."""
    assert [line for line in in_one_put.saved.log if line.startswith("::add-mask::")]

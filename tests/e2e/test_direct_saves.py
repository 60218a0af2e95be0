"""Saves straight into the bucket, by the real @actions/cache with the hook, on a server that merges nothing."""

import os
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dev.clients.actions_cache import NEWEST, VERSION_4, VERSION_5, ActionsCache, Outcome, Package, SentRequest
from dev.clients.runtime_token import runtime_token
from tests.support.hooked_job import HookedJob, install_hook

MIB = 1024 * 1024


@pytest.fixture
def plain(unmerged_server: str, repository: str, tmp_path: Path) -> ActionsCache:
    return ActionsCache(unmerged_server, tmp_path, runtime_token(repository=repository), NEWEST)


@pytest.fixture
def hooked(unmerged_server: str, repository: str, tmp_path: Path) -> HookedJob:
    hook = install_hook(tmp_path / "hook", f"{unmerged_server}/", "fast")
    return HookedJob("http://results.invalid", tmp_path, runtime_token(repository=repository), NEWEST, hook=hook)


def written(path: Path, size: int) -> str:
    content = os.urandom(size)
    path.write_bytes(content)
    return sha256(content).hexdigest()


def elsewhere(server: str, requests: Sequence[SentRequest]) -> list[SentRequest]:
    return [request for request in requests if not request.url.startswith(f"{server}/")]


def check_restores(job: ActionsCache, key: str, digest: str, server: str) -> Outcome:
    (job.workspace / "data").unlink()
    restored = job.restore(["data"], key)
    assert restored.result == key, restored.log
    assert sha256((job.workspace / "data").read_bytes()).hexdigest() == digest
    assert not [request for request in restored.downloads if request.url.startswith(f"{server}/")]
    return restored


def test_blocks_go_straight_into_one_object(
    hooked: HookedJob, plain: ActionsCache, unmerged_server: str, tmp_path: Path
) -> None:
    digest = written(tmp_path / "data", 140 * MIB)
    saved = hooked.save(["data"], "direct")
    assert saved.result not in (None, -1), saved.log
    blocks = [request for request in saved.parts if request.sent_bytes >= 5 * MIB]
    assert len(blocks) == 3
    assert elsewhere(unmerged_server, blocks) == blocks
    asked = [urlsplit(request.url) for request in saved.requests if request.url.startswith(f"{unmerged_server}/")]
    assert [url.path.rpartition("/")[2] for url in asked if url.path.startswith("/twirp/")] == [
        "CreateCacheEntry",
        "FinalizeCacheEntryUpload",
    ]
    assert [url.query.partition("comp=")[2] for url in asked if not url.path.startswith("/twirp/")] == ["blocklist"]
    # No merge runs here, and yet each client reads one object from the store at once.
    for job in (plain, hooked):
        check_restores(job, "direct", digest, unmerged_server)


@pytest.mark.parametrize("package", [NEWEST, VERSION_5, VERSION_4])
def test_small_archive_goes_straight_by_one_put(
    hooked: HookedJob, plain: ActionsCache, unmerged_server: str, tmp_path: Path, package: Package
) -> None:
    digest = written(tmp_path / "data", 3 * MIB)
    saved = replace(hooked, package=package).save(["data"], "small")
    assert saved.result not in (None, -1), saved.log
    [put] = saved.parts
    assert put.method == "PUT"
    assert elsewhere(unmerged_server, [put]) == [put]
    check_restores(replace(plain, package=package), "small", digest, unmerged_server)


@pytest.mark.parametrize("mode", ["protect", "point"])
def test_other_modes_save_by_the_server(hooked: HookedJob, unmerged_server: str, tmp_path: Path, mode: str) -> None:
    install_hook(hooked.hook.parent, f"{unmerged_server}/", mode)
    written(tmp_path / "data", MIB)
    saved = hooked.save(["data"], "key")
    assert saved.result not in (None, -1), saved.log
    assert elsewhere(unmerged_server, saved.requests) == []

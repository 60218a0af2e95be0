"""What a job loses with the hook's own waiting times, and by 200 processes, and by 200 MB."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dev.clients.actions_cache import ActionsCache
from tests.integration.hook.test_look import ASK, LOOK_CALL, WHY, ask, dropping
from tests.support.fake_cache_server import CREATE, LOOK_UP, FakeCacheServer
from tests.support.hooked_job import HookedJob, install_hook

MARGIN_SECONDS = 1.5
"""For the start of node's processes."""

PART = "PUT /blobs"


def lose(job: HookedJob) -> float:
    """Return the seconds that the calls of a restore and a save took; the look comes before them."""
    restored, saved = job.restore(["data"], "key"), job.save(["data"], "key")
    assert restored.result is None
    assert any("::warning::" in line for line in saved.log)
    return restored.seconds + saved.seconds


def test_job_loses_5_seconds_by_dropped_packets(job: HookedJob, variables: dict[str, str]) -> None:
    with dropping() as port:
        install_hook(job.hook.parent, f"http://127.0.0.1:{port}/")
        began = time.monotonic()
        assert WHY in ask(variables)
        assert time.monotonic() - began < 5 + MARGIN_SECONDS
        assert lose(job) < 1


def test_job_loses_5_seconds_by_a_silent_server(
    job: HookedJob, ours: FakeCacheServer, variables: dict[str, str]
) -> None:
    ours.faults["*"] = ours.faults[LOOK_CALL] = "silent"
    began = time.monotonic()
    assert WHY in ask(variables)
    assert time.monotonic() - began < 5 + MARGIN_SECONDS
    assert lose(job) < 1
    assert ours.calls == [LOOK_CALL]


@pytest.mark.parametrize("call", [LOOK_UP, CREATE])
def test_job_loses_15_seconds_by_a_server_that_falls_silent(job: HookedJob, ours: FakeCacheServer, call: str) -> None:
    ours.faults[call] = "silent"
    assert 9 < lose(job) < 15 - MARGIN_SECONDS


def test_job_loses_35_seconds_by_a_silent_upload(job: HookedJob, ours: FakeCacheServer) -> None:
    ours.faults[PART] = "silent"
    assert 29 < lose(job) < 35 - MARGIN_SECONDS


def test_200_processes_look_once(ours: FakeCacheServer, variables: dict[str, str]) -> None:
    ours.faults[LOOK_CALL] = "slow"
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask, [variables] * 200))
    assert len(set(answers)) == 1
    assert ours.calls.count(LOOK_CALL) == 1


def test_200_processes_one_after_the_other_look_once(ours: FakeCacheServer, variables: dict[str, str]) -> None:
    ours.faults[LOOK_CALL] = "reset"
    loop = f"i=0; while [ $i -lt 200 ]; do node {ASK} || exit; i=$((i+1)); done"
    ran = subprocess.run(["sh", "-c", loop], env=variables, capture_output=True, text=True, check=True)
    assert ran.stdout.count(WHY) == 400, "in a line of its own, and in the answer"
    assert ours.calls == [LOOK_CALL]


def test_save_of_200_mb_takes_as_many_connections_as_without_hook(
    job: HookedJob, ours: FakeCacheServer, tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(os.urandom(200_000_000))

    def connections(client: ActionsCache) -> int:
        ours.asked.clear()
        saved = client.save(["data"], "key")
        assert len(saved.parts) == 3, saved.log
        return len({asked.connection for asked in ours.asked if asked.call != LOOK_CALL})

    with_hook = connections(job)
    assert with_hook == connections(replace(job, server=ours.url, variables={"NODE_OPTIONS": ""}))

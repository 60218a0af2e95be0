"""Tests that after a crash nothing keeps running, the emulators have saved their state, and a restart finds it."""

import os
import signal
from collections.abc import Callable

import pytest

from dev.local import emulators
from tests.integration.local_run.conftest import StartRun
from tests.integration.local_run.local_run import MAKE, LocalRun

GONE_SECONDS = 15

FEWER_PROCESSES = {"LOCAL_MERGE_WORKERS": "0"}
"""Settings for tests of emulators alone: a run starts sooner with these."""


def kill_make(run: LocalRun) -> None:
    run.process.kill()


def kill_process_group(run: LocalRun) -> None:
    os.killpg(run.process.pid, signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_make, kill_process_group])
def test_restart_after_a_sigkill_finds_everything(start_run: StartRun, kill: Callable[[LocalRun], None]):
    run = start_run(command=MAKE).wait_until_ready()
    run.keep("before")
    before = run.kept()
    kill(run)
    run.wait_until_gone(GONE_SECONDS)
    assert start_run().wait_until_ready().kept() == before


def test_restart_at_once_waits_for_the_killed_run(start_run: StartRun):
    run = start_run().wait_until_ready()
    run.keep("before")
    before = run.kept()
    run.process.kill()
    again = start_run(PORT=str(run.port)).wait_until_ready()
    assert again.says("waiting until the last run has saved its state")
    assert again.kept() == before


def test_killed_guard_stops_the_run_in_order(start_run: StartRun):
    run = start_run(**FEWER_PROCESSES).wait_until_ready()
    for guard in run.running("dev.local.guard"):
        guard.kill()
    assert run.process.wait(30) == 1
    assert run.says("the guard of the child processes ended")
    run.wait_until_gone(GONE_SECONDS)
    assert emulators.has_saved_tables(run.data / "ministack")


@pytest.mark.parametrize("emulator", ["ministack", "weed"])
def test_killed_emulator_ends_the_run(start_run: StartRun, emulator: str):
    """Objects without tables are deleted; the store has kept its objects."""
    run = start_run(**FEWER_PROCESSES).wait_until_ready()
    run.keep("before")
    before = run.kept()
    next(process for process in run.processes() if process.name() == emulator).kill()
    assert run.process.wait(30) == 1
    assert run.says(f"{'MiniStack' if emulator == 'ministack' else 'SeaweedFS'} ended")

    again = start_run(**FEWER_PROCESSES).wait_until_ready()
    kept = again.kept()
    if emulator == "weed":
        assert kept == before
        return
    assert again.says("the bucket is emptied too")
    assert (kept.table, kept.bucket, kept.queue) == (set(), set(), set())
    assert kept.secret != before.secret

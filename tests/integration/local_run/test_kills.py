"""However the run is killed, its engines save their state and end; and what can't be saved leaves no contradiction."""

import os
import signal
from collections.abc import Callable

import pytest

from dev.local import ministack
from tests.integration.local_run.conftest import StartRun
from tests.integration.local_run.local_run import MAKE, LocalRun

GONE_SECONDS = 15

FEWER_PROCESSES = {"LOCAL_MERGE_WORKERS": "0"}
"""Where only the engines matter, and a run starts sooner without."""


def kill_make(run: LocalRun) -> None:
    run.process.kill()


def kill_process_group(run: LocalRun) -> None:
    os.killpg(run.process.pid, signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_make, kill_process_group])
def test_after_a_sigkill_all_processes_end_and_a_restart_finds_everything(
    start_run: StartRun, kill: Callable[[LocalRun], None]
):
    run = start_run(command=MAKE).wait_until_ready()
    run.keep("before")
    before = run.kept()
    kill(run)
    run.wait_until_gone(GONE_SECONDS)
    assert start_run().wait_until_ready().kept() == before


def test_a_restart_at_once_waits_until_the_engines_of_the_killed_run_are_gone(start_run: StartRun):
    run = start_run().wait_until_ready()
    run.keep("before")
    before = run.kept()
    run.process.kill()
    again = start_run(PORT=str(run.port)).wait_until_ready()
    assert again.says("waiting until the last run has saved its state")
    assert again.kept() == before


def test_an_engine_saves_its_state_though_its_leash_is_killed(start_run: StartRun):
    run = start_run(**FEWER_PROCESSES).wait_until_ready()
    for leash in run.running("dev.local.leash"):
        leash.kill()
    assert run.process.wait(30) == 1
    run.wait_until_gone(GONE_SECONDS)
    assert ministack.has_saved_tables(run.data / "ministack")


def test_objects_go_when_the_tables_that_pointed_to_them_were_lost(start_run: StartRun):
    run = start_run(**FEWER_PROCESSES).wait_until_ready()
    run.keep("before")
    secret = run.kept().secret
    next(it for it in run.processes() if it.name() == "ministack").kill()
    assert run.process.wait(30) == 1
    assert run.says("MiniStack ended")

    again = start_run(**FEWER_PROCESSES).wait_until_ready()
    assert again.says("the bucket is emptied too")
    kept = again.kept()
    assert (kept.table, kept.bucket, kept.queue) == (set(), set(), set())
    assert kept.secret != secret


def test_a_killed_store_keeps_its_objects(start_run: StartRun):
    run = start_run(**FEWER_PROCESSES).wait_until_ready()
    run.keep("before")
    before = run.kept()
    next(it for it in run.processes() if it.name() == "weed").kill()
    assert run.process.wait(30) == 1
    assert run.says("SeaweedFS ended")
    assert start_run(**FEWER_PROCESSES).wait_until_ready().kept() == before

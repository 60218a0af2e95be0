"""However the run is killed, its engines save their state and end. Each way of it: tests/proofs/local."""

from local import ministack
from tests.local_run.conftest import StartRun
from tests.local_run.local_run import MAKE

GONE_SECONDS = 15


def test_an_engine_saves_its_state_though_its_leash_is_killed(start_run: StartRun):
    run = start_run(LOCAL_MERGE_WORKERS="0").wait_until_ready()
    for leash in run.running("local.leash"):
        leash.kill()
    assert run.process.wait(30) == 1
    run.wait_until_gone(GONE_SECONDS)
    assert ministack.has_saved_tables(run.data / "ministack")


def test_after_a_sigkill_all_processes_end_and_a_restart_finds_everything(start_run: StartRun):
    run = start_run(command=MAKE, LOCAL_MERGE_WORKERS="0").wait_until_ready()
    run.keep("before")
    before = run.kept()
    run.process.kill()
    run.wait_until_gone(GONE_SECONDS)
    assert start_run(LOCAL_MERGE_WORKERS="0").wait_until_ready().kept() == before

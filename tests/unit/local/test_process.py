"""Tests that child processes end with their parent, and which ports are chosen for them."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dev.local.console import RunFailed
from dev.local.process import CANDIDATE_PORTS, GRPC_OFFSET, LOOPBACK, Guard, Processes, Program, choose_ports
from dev.local.template import ROOT

PARENT = """
import sys, time
from pathlib import Path
from dev.local.process import Guard, Processes, Program

CHILD = '''
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit("saved"))
print("up", flush=True)
time.sleep(60)
'''
logs, leftover = map(Path, sys.argv[1:])
with Guard.started(stop_seconds=1, leftovers=[leftover]) as guard:
    processes = Processes(logs, guard, stop_seconds=1)
    for name, code in (("child", CHILD), ("deaf", CHILD.replace('lambda *_: sys.exit("saved")', "signal.SIG_IGN"))):
        processes.start(Program(name, [sys.executable, "-c", code], {}))
    while not all((logs / f"{name}.log").read_text() for name in ("child", "deaf")):
        time.sleep(0.01)
    print("started", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Guard.started(stop_seconds=5) as guard:
        yield Processes(tmp_path / "logs", guard, stop_seconds=5)


def python(code: str, name: str = "child") -> Program:
    return Program(name, [sys.executable, "-c", code], {})


def test_children_of_a_killed_parent_end(tmp_path: Path):
    """One saves its state at SIGTERM; the other ignores that, and gets a SIGKILL."""
    (leftover := tmp_path / "leftover").touch()
    command = [sys.executable, "-c", PARENT, str(tmp_path / "logs"), str(leftover)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        children = psutil.Process(parent.pid).children()
        assert len(children) == 3, "two children and their guard"
        parent.kill()
        _, alive = psutil.wait_procs(children, 10)
    assert alive == []
    assert (tmp_path / "logs" / "child.log").read_text() == "up\nsaved\n"
    assert not leftover.exists()


def test_held_descriptor_stays_open_until_the_guard_is_gone():
    reading, writing = os.pipe()
    with Guard.started(hold=[writing]):
        os.close(writing)
        os.set_blocking(reading, False)
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)
    assert os.read(reading, 1) == b""
    os.close(reading)


@pytest.mark.parametrize("restarts", [False, True])
def test_last_line_of_a_process_that_ended_at_once_is_shown(processes: Processes, *, restarts: bool):
    program = python("print('first', flush=True); raise SystemExit('no disk')", "Some server")
    log = processes.start(replace(program, restarts=restarts))
    with pytest.raises(RunFailed, match=f"Some server ended: no disk .see {log}"):
        processes.wait_for("Some server", 10)
    assert log.name == "some-server.log"


def test_last_runs_log_is_kept(processes: Processes):
    processes.start(python("print('first')"))
    processes.wait_for("child", 10)
    log = processes.start(python("print('second')"))
    processes.wait_for("child", 10)
    assert (log.with_suffix(".previous.log").read_text(), log.read_text()) == ("first\n", "second\n")


NAMES = ("one", "two", "three")


def test_ports_are_distinct_and_remembered():
    chosen = choose_ports(NAMES, {})
    assert tuple(chosen) == NAMES
    assert len(set(chosen.values())) == 3
    assert set(chosen.values()) <= set(CANDIDATE_PORTS)
    assert choose_ports(NAMES, chosen) == chosen
    assert set(choose_ports((*NAMES, "four"), chosen)) == {*NAMES, "four"}


def test_taken_ports_are_not_chosen_again():
    first = choose_ports(NAMES, {})
    with socket.socket() as other:
        other.bind((LOOPBACK, first["two"] + GRPC_OFFSET))
        other.listen()
        assert first["two"] not in choose_ports(NAMES, first).values()

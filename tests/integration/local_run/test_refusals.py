"""Tests that a run that can't start says why in one line, and leaves nothing running."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dev.clients.local_server import free_port
from dev.local import emulators
from dev.local.console import RunFailed
from dev.local.template import ROOT
from tests.integration.local_run.conftest import StartRun
from tests.integration.local_run.local_run import LocalRun

THEIRS = {"AWS_ACCESS_KEY_ID": "theirs", "AWS_SECRET_ACCESS_KEY": "theirs"}


def refusal(run: LocalRun) -> str:
    """Return the one error that a run writes before it ends."""
    assert run.process.wait(30) == 1
    assert run.processes() == []
    [line] = [line for line in run.lines if line.startswith("error: ")]
    assert "Traceback" not in run.output.read_text()
    return line


def test_busy_port_is_named(start_run: StartRun):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"port {port} of 127.0.0.1 can't be used" in refusal(start_run(PORT=str(port)))


def test_second_run_on_the_same_data_is_refused(run: LocalRun):
    second = LocalRun.start(run.data)
    assert second.process.wait(10) == 1
    [line] = second.lines[-1:]
    assert line.startswith(f"error: another run uses {run.data}")
    assert run.process.poll() is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"HOST": "0.0.0.0"}, "HOST=0.0.0.0 is refused"),
        ({"HOST": "cache.example"}, "HOST=cache.example is refused"),
        ({"PORT": "70000"}, "PORT: '70000' isn't a whole number from 1 to 65535"),
        ({"LOCAL_MERGE_WORKERS": "-1"}, "LOCAL_MERGE_WORKERS: '-1' isn't a whole number from 0 to 64"),
        ({"MERGE_TRIGGER": "never"}, "MERGE_TRIGGER: 'never' isn't known; it may be finalize or first-download"),
        ({"PARTS_GRACE_SECONDS": "5"}, "PARTS_GRACE_SECONDS is 5, but a reader may need its parts for 2130 s"),
        ({"TOKEN_CLAIMS": "any,repository_id=42"}, "TOKEN_CLAIMS contradicts itself: it lets in anybody of https"),
        ({"STORE_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID"),
        (THEIRS | {"STORE_ENDPOINT_URL": "http://127.0.0.1:1"}, "http://127.0.0.1:1"),
    ],
)
def test_invalid_settings_are_named(start_run: StartRun, settings: dict[str, str], words: str):
    """An address that others reach is invalid without signatures that are verified."""
    assert words in refusal(start_run(**settings))


def test_missing_emulator_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(emulators, "EXECUTABLES", ROOT / "nowhere")
    with pytest.raises(RunFailed, match="nowhere/weed is missing: `make run` installs the emulators first"):
        emulators.executable("weed")


def path_without(tmp_path: Path, program: str, script: str | None = None) -> str:
    """Return a PATH without a program, or with another in its place."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for directory in os.environ["PATH"].split(":"):
        for found in Path(directory).iterdir() if Path(directory).is_dir() else ():
            if found.name != program and not (folder / found.name).exists():
                (folder / found.name).symlink_to(found)
    if script is not None:
        (folder / program).write_text(f"#!/bin/sh\n{script}\n")
        (folder / program).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "node isn't on the PATH: install Node.js"),
        ("echo 'pyenv: node: command not found' >&2; exit 127", "ends with 127 (pyenv: node: command not found)"),
    ],
)
def test_missing_node_is_refused_at_once(start_run: StartRun, tmp_path: Path, script: str | None, words: str):
    began = time.monotonic()
    assert words in refusal(start_run(PATH=path_without(tmp_path, "node", script)))
    assert time.monotonic() - began < 20


def run_on(data: str) -> "subprocess.CompletedProcess[str]":
    """Start a run whose output goes to pipes, on data that it can't use."""
    variables = {**os.environ, "LOCAL_DATA_DIR": data, "PORT": str(free_port())}
    command = [sys.executable, "-m", "dev.local"]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize("directory", ["/proc/x", "/dev/null/x", "/dev/null"])
def test_impossible_data_directory_is_refused(directory: str):
    ran = run_on(directory)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert ran.stderr.startswith(f"error: {directory}")
    assert "LOCAL_DATA_DIR" in ran.stderr


@pytest.mark.parametrize("name", ["logs", "emulators.json", "s3.json"])
def test_file_in_the_place_of_a_directory_is_named(start_run: StartRun, tmp_path: Path, name: str):
    data = tmp_path / "data"
    data.mkdir()
    (data / name).touch() if name == "logs" else (data / name).mkdir()
    line = refusal(start_run())
    assert str(data / name) in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_small_disk_is_refused_before_the_start(tmp_path: Path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(tmp_path)], check=True)
    try:
        ran = run_on(str(tmp_path / "data"))
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
    assert (ran.returncode, "starting the emulators" in ran.stdout) == (1, False)
    assert "60 MiB left, and the store needs 2560 MiB" in ran.stderr

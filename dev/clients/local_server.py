"""The local run as a user starts it: `python -m dev.local`, on a port and with data of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dev.local.process import Guard
from dev.local.template import ROOT

START_SECONDS = 120
"""Timeout of a start: the emulators take some 10 s, and longer on a busy machine."""

STOP_SECONDS = 30


class ServerFailed(Exception):
    """Raised when the local run ended, or wasn't ready in time; the message is its log."""


@contextmanager
def running_server(directory: Path, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the server's URL once it is ready, and stop it as Ctrl-C would, also when this process is killed.

    Args:
        directory: an empty one. When the server stops, its data is removed and its logs stay.
        settings: environment variables, as for `make run`.

    Raises:
        ServerFailed: it ended, or wasn't ready in time.
    """
    directory.mkdir(exist_ok=True)
    port, data, log = free_port(), directory / "data", directory / "run.log"
    variables = {**os.environ, **(settings or {}), "PORT": str(port), "LOCAL_DATA_DIR": str(data)}
    with Guard.started(STOP_SECONDS) as guard:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "dev.local"],
                cwd=ROOT,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=guard.group,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(process, log, f"ready {url}")
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _remove_all_but_logs(data)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _remove_all_but_logs(data: Path) -> None:
    for path in data.iterdir() if data.exists() else ():
        if path.is_dir() and path.name != "logs":
            shutil.rmtree(path)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, ready: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while ready not in log.read_text(errors="replace").splitlines():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ServerFailed(log.read_text(errors="replace"))
        time.sleep(0.1)

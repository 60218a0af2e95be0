"""The injector as a process of its own."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def tunnel(port: int, milliseconds: float) -> Iterator[str]:
    """Yields a URL that leads to the port, each request by so much later."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        command = ["--listener", listener.fileno(), "--upstream", port, "--milliseconds", milliseconds]
        with subprocess.Popen(
            [sys.executable, "-m", "bench.injector", *map(str, command)], pass_fds=[listener.fileno()]
        ) as process:
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                process.kill()

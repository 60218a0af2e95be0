"""A run as a user starts it, seen from outside: its lines, its processes, and its data."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import boto3
import psutil

from actions_cache.aws.dynamodb import SCHEMA_KEY as SCHEMA
from dev.clients.local_server import free_port
from dev.local.resources import Clients
from dev.local.template import ROOT

START_SECONDS = 60
POLL_SECONDS = 0.05

PYTHON = (sys.executable, "-m", "dev.local")
# What it would install is there: the tests run on it.
MAKE_ALONE = ("make", "--silent", "-o", ".venv/.ready", "-o", ".tools/engines/.ready")
MAKE = (*MAKE_ALONE, "run")


@dataclass(frozen=True)
class LocalRun:
    process: "subprocess.Popen[bytes]"
    data: Path
    port: int
    output: Path

    @classmethod
    def start(cls, data: Path, command: Sequence[str] = PYTHON, **settings: str) -> "LocalRun":
        """Start a run in a process group of its own."""
        port = int(settings.get("PORT", 0)) or free_port()
        output = data.parent / f"output-{time.monotonic_ns()}"
        variables = {**os.environ, "PORT": str(port), "LOCAL_DATA_DIR": str(data), **settings}
        if command == PYTHON:
            variables.pop("MAKELEVEL", None)
        with output.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        return cls(process, data, port, output)

    @property
    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> "LocalRun":
        wait_until(lambda: f"ready {self.url}" in self.lines or self.process.poll() is not None, START_SECONDS)
        assert f"ready {self.url}" in self.lines, self.lines
        return self

    def says(self, words: str) -> bool:
        return any(words in line for line in self.lines)

    # ---------------------------------------------------------------- its processes

    def processes(self) -> list[psutil.Process]:
        """Return all processes that belong to the run's data."""
        return [process for process in psutil.process_iter() if _belongs_to(process, self.data)]

    def running(self, argument: str) -> list[psutil.Process]:
        """Return those that have an argument, such as the name of a module, or an option."""
        return [
            process
            for process in self.processes()
            if any(argument == word.partition("=")[0] for word in process.cmdline())
        ]

    def wait_until_gone(self, seconds: float) -> None:
        _, alive = psutil.wait_procs(self.processes(), seconds)
        assert alive == []
        assert self.processes() == []

    def stop(self) -> int:
        """Stop the run as `kill` does, wait, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(START_SECONDS)

    def kill_everything(self) -> None:
        """Kill all processes at once, so that nothing can save its state."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                process.kill()
        self.wait_until_gone(10)
        self.process.kill()
        self.process.wait()

    # ---------------------------------------------------------------- what it keeps

    @cached_property
    def variables(self) -> dict[str, str]:
        """The variables of `.local/env`, as a shell reads them."""
        lines = subprocess.check_output(
            ["bash", "-c", f"env -i bash -c 'source {self.data}/env && env'"], text=True
        ).splitlines()
        return dict(line.split("=", 1) for line in lines)

    @cached_property
    def clients(self) -> Clients:
        known = self.variables
        session = boto3.Session(known["AWS_ACCESS_KEY_ID"], known["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")
        services = ("DYNAMODB", "S3", "SQS", "SECRETS_MANAGER", "CLOUDFRONT")
        endpoint = {name: known[f"AWS_ENDPOINT_URL_{name}"] for name in services}
        return Clients(
            session.client("dynamodb", endpoint_url=endpoint["DYNAMODB"]),
            session.client("s3", endpoint_url=endpoint["S3"]),
            session.client("sqs", endpoint_url=endpoint["SQS"]),
            session.client("secretsmanager", endpoint_url=endpoint["SECRETS_MANAGER"]),
            session.client("cloudfront", endpoint_url=endpoint["CLOUDFRONT"]),
        )

    def keep(self, text: str) -> None:
        """Put a text into a table, the bucket and the dead-letter queue, which nothing polls."""
        item = {"archive_id": {"S": text}}
        self.clients.dynamodb.put_item(TableName=self.variables["ARCHIVES_TABLE"], Item=item)
        self.clients.s3.put_object(Bucket=self.variables["BUCKET"], Key=text, Body=text.encode())
        self.clients.sqs.send_message(QueueUrl=self.variables["MERGE_DEAD_LETTER_QUEUE_URL"], MessageBody=text)

    def kept(self) -> "Kept":
        clients, known = self.clients, self.variables
        items = clients.dynamodb.scan(TableName=known["ARCHIVES_TABLE"])["Items"]
        objects = clients.s3.list_objects_v2(Bucket=known["BUCKET"]).get("Contents", [])
        queue = known["MERGE_DEAD_LETTER_QUEUE_URL"]
        messages = clients.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0)
        secret = clients.secretsmanager.get_secret_value(SecretId=known["URL_SIGNING_SECRET_ARN"])
        return Kept(
            table={item["archive_id"]["S"] for item in items} - {SCHEMA},
            bucket={item["Key"] for item in objects},
            queue={message["Body"] for message in messages.get("Messages", [])},
            secret=secret["SecretString"],
        )


def wait_until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class Kept:
    table: set[str]
    bucket: set[str]
    queue: set[str]
    secret: str


def _belongs_to(process: psutil.Process, data: Path) -> bool:
    try:
        return (
            str(data) in " ".join(process.cmdline())
            or Path(process.cwd()).is_relative_to(data)
            or process.environ().get("LOCAL_DATA_DIR") == str(data)
        )
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        return False

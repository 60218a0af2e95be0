"""Fixtures: a server on real emulators, as `--local` finds one, and the commands as their user types them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from actions_cache.aws.sqs import decode_message
from actions_cache.domain.archive import MergeState
from actions_cache.domain.refused_job import KEPT, Refusals, RefusedJob
from actions_cache.domain.timing import SECOND
from actions_cache.ports import MergeMessage, Unavailable
from actions_cache_cli.__main__ import main
from dev.clients.driver import CacheDriver, SetClock, name, plenty, settings_for
from dev.local.emulators import Endpoints
from dev.local.options import env_file
from dev.local.resources import Clients, create
from dev.local.template import ROOT, Template
from dev.services import AllServices


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Return the JSON document that standard output consists of."""
        return json.loads(self.out)

    @property
    def last_line(self) -> str:
        return self.out.splitlines()[-1]


@dataclass(frozen=True)
class Run:
    """Runs commands in this process, since a process of their own takes a second or two to start."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Answer:
        self.capsys.readouterr()
        code = main([*arguments, "--local"])
        out, err = self.capsys.readouterr()
        return Answer(code, out, err)

    def json(self, *arguments: str, code: int = 0) -> Any:
        answer = self(*arguments, "--json")
        assert answer.code == code, answer
        return answer.document


def process(*arguments: str, **variables: str) -> Answer:
    """Run a command as a process of its own, with the variables that the test has set."""
    done = subprocess.run(
        [sys.executable, "-m", "actions_cache_cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def _is_schema(item: Mapping[str, Any]) -> bool:
    """Return whether the item is the tables' version, which the first user writes."""
    return item.get("archive_id") == {"S": "schema"}


@dataclass
class Operated:
    """A server, a driver for it, and the commands that operate it."""

    driver: CacheDriver
    run: Run
    dead_letter_queue_url: str
    data: Path
    """Directory of the run's two files."""

    def refuse(self, claims: str, *jobs: RefusedJob) -> None:
        """Refuse jobs, one a second.

        Args:
            claims: The server's TOKEN_CLAIMS.
            jobs: The jobs.
        """
        now = self.driver.clock.now()
        for number, job in enumerate(jobs):
            self.driver.services.repositories.add_refusals(Refusals(job, 3, now - number * SECOND), now + KEPT)
        settings = self.data / "settings"
        settings.write_text(settings.read_text().replace("TOKEN_CLAIMS=any", f"TOKEN_CLAIMS={claims}"))

    def everything(self) -> tuple[Any, ...]:
        """Return all that a command could change."""
        services = self.driver.services
        settings = services.settings
        dynamodb = services.session.client("dynamodb")
        tables = (
            settings.entries_table,
            settings.reservations_table,
            settings.archives_table,
            settings.repositories_table,
        )
        items = [
            sorted(repr(item) for item in dynamodb.scan(TableName=table)["Items"] if not _is_schema(item))
            for table in tables
        ]
        return items, sorted(part.key for part in services.bucket.list("")), self.waiting(), self.dead()

    def waiting(self) -> int:
        return self._messages(self.driver.services.settings.merge_queue_url)

    def dead(self) -> int:
        return self._messages(self.dead_letter_queue_url)

    def _messages(self, url: str) -> int:
        """Return the number of messages, hidden ones included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(
            int(count)
            for count in self.driver.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()
        )


@pytest.fixture
def operated(
    endpoints: Endpoints,
    emulator_session: boto3.Session,
    template: Template,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Operated]:
    prefix = f"operate-{time.monotonic_ns()}"
    for variable, value in {**endpoints.environment(), "LOCAL_DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("ACTIONS_CACHE_STACK", raising=False)
    clients = Clients.of(emulator_session)
    resources = create(template, clients, prefix=prefix)
    variables = resources.environment("CleanupFunction")
    with ExitStack() as files:
        files.enter_context(env_file(tmp_path / "env", endpoints.environment()))
        files.enter_context(env_file(tmp_path / "settings", variables))
        # The commands' clock is the machine's.
        clock = SetClock(int(time.time() * 1000))
        services = AllServices(settings_for(variables), clock)
        services.session = emulator_session
        yield Operated(
            CacheDriver(services, clock, clients.s3, clients.sqs),
            Run(capsys),
            resources.refs["MergeDeadLetterQueue"],
            tmp_path,
        )
    # SeaweedFS gives each bucket volumes of its own, until the disk has no room for more.
    clients.s3.delete_bucket(Bucket=services.settings.bucket)


PARTS = (b"one", b"two")


class NoUploads:
    """A bucket that starts no multipart upload."""

    def __init__(self, bucket):
        self._bucket = bucket

    def __getattr__(self, method):
        return getattr(self._bucket, method)

    def start_upload(self, key):
        raise Unavailable("503")


def fail_merge(operated: Operated, key: str) -> MergeMessage:
    """Save an entry whose merge fails until the queue gives its message up, and return the message."""
    driver = operated.driver
    services = driver.services
    driver.save(name(key), *PARTS)
    failing = replace(services.merge, bucket=NoUploads(services.bucket))
    url = services.settings.merge_queue_url
    message = None
    while received := driver.sqs.receive_message(QueueUrl=url, VisibilityTimeout=0).get("Messages"):
        message = decode_message(received[0]["Body"])
        with pytest.raises(Exception, match=r"503|given up"):
            failing(message, plenty)
    assert message is not None
    assert driver.archive(message.archive_id).merge.state is MergeState.FAILED
    return message

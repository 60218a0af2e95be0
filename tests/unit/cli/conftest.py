"""A server on real engines, as `--local` finds one: resources of its own, and the two files of a run."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from actions_cache.domain.refused_job import KEPT, Refusals, RefusedJob
from actions_cache.domain.timing import SECOND
from dev.local.emulators import Endpoints
from dev.local.options import env_file
from dev.local.resources import Clients, create
from dev.local.template import Template
from dev.services import AllServices
from tests.conftest import settings_for
from tests.support.journey import Journey, SetClock
from tests.unit.cli.command import Run


def _is_schema(item: Mapping[str, Any]) -> bool:
    """The tables' version, which whoever comes first notes."""
    return item.get("archive_id") == {"S": "schema"}


@dataclass
class Operated:
    """A server, its journeys, and the commands on it."""

    journey: Journey
    run: Run
    dead_letter_queue_url: str
    data: Path
    """Directory of the run's two files."""

    def refuse(self, claims: str, *jobs: RefusedJob) -> None:
        """Refuse jobs, one a second.

        Args:
            claims: the server's TOKEN_CLAIMS.
            jobs: the jobs.
        """
        now = self.journey.clock.now()
        for number, job in enumerate(jobs):
            self.journey.services.repositories.add_refusals(Refusals(job, 3, now - number * SECOND), now + KEPT)
        settings = self.data / "settings"
        settings.write_text(settings.read_text().replace("TOKEN_CLAIMS=any", f"TOKEN_CLAIMS={claims}"))

    def everything(self) -> tuple[Any, ...]:
        """All that a command could change, but for what time changes."""
        services = self.journey.services
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
        return self._messages(self.journey.services.settings.merge_queue_url)

    def dead(self) -> int:
        return self._messages(self.dead_letter_queue_url)

    def _messages(self, url: str) -> int:
        """Hidden ones too."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(
            int(count)
            for count in self.journey.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)[
                "Attributes"
            ].values()
        )


@pytest.fixture
def operated(
    endpoints: Endpoints,
    engine_session: boto3.Session,
    template: Template,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Operated]:
    prefix = f"operate-{time.monotonic_ns()}"
    for variable, value in {**endpoints.environment(), "LOCAL_DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("ACTIONS_CACHE_STACK", raising=False)
    clients = Clients.of(engine_session)
    resources = create(template, clients, prefix=prefix)
    variables = resources.environment("CleanupFunction")
    with ExitStack() as files:
        files.enter_context(env_file(tmp_path / "env", endpoints.environment()))
        files.enter_context(env_file(tmp_path / "settings", variables))
        # The commands' clock is the machine's.
        clock = SetClock(int(time.time() * 1000))
        services = AllServices(settings_for(variables), clock)
        services.session = engine_session
        yield Operated(
            Journey(services, clock, clients.s3, clients.sqs),
            Run(capsys),
            resources.refs["MergeDeadLetterQueue"],
            tmp_path,
        )
    # SeaweedFS gives each bucket volumes of its own, until the disk has no room for more.
    clients.s3.delete_bucket(Bucket=services.settings.bucket)

"""Provides a scenario with resources on real emulators, a server that never crashes, and checks of the outcome."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import boto3
import pytest

from actions_cache.domain.archive import Archive, ArchiveState, MergeState
from actions_cache.domain.cleanup_schedule import parts_removable_at
from actions_cache.domain.entry import EntryName
from actions_cache.domain.timing import SECOND, SEND_TIMEOUT
from actions_cache.ports import MultipartUpload
from actions_cache.settings import Settings
from dev.clients.driver import CacheDriver, name
from dev.clients.runtime_token import BRANCH, REPOSITORY
from dev.clients.wire import VERSION, Job, send
from dev.local.emulators import Endpoints
from dev.local.localhost import resolve_names_under_localhost
from dev.local.resources import Clients, Resources, create
from dev.local.template import Template
from dev.services import AllServices
from functions.rotate.services import RotateServices
from tests.guarantees.crashes.function import MovedClock
from tests.guarantees.crashes.processes import SERIAL, FunctionRunner

VISIBILITY_SECONDS = 2
"""Seconds after which the queue delivers a dead worker's message again; on AWS six times the worker's timeout."""

POLL_SECONDS = 0.05
WAIT_SECONDS = 30


def wait_until(condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s"
        time.sleep(0.02)


def entry_name(key: str) -> EntryName:
    """Return the name that a job of the default token gives to its entry."""
    return name(key, BRANCH, VERSION, REPOSITORY)


@dataclass
class CrashEnvironment:
    runner: FunctionRunner
    resources: Resources
    clients: Clients
    clock: MovedClock
    driver: CacheDriver
    """Takes over from dead processes, as the same use cases in this one."""
    secrets: RotateServices
    survivor: str
    """URL of a server that never crashes."""
    moving: threading.Lock = field(default_factory=threading.Lock)
    """Held while time must not move, as between a lookup and its download, whose URL would expire."""

    @property
    def services(self) -> AllServices:
        return self.driver.services

    @property
    def job(self) -> Job:
        return Job(self.survivor)

    def advance(self, seconds: float) -> None:
        with self.moving:
            self.clock.advance(seconds)

    # ---------------------------------------------------------------- state

    def archives(self) -> list[Archive]:
        return [self.driver.archive(archive_id) for archive_id, _ in self.services.table.all_archives("")]

    def the_archive(self) -> Archive:
        [archive] = self.archives()
        return archive

    def waiting(self, queue: str) -> int:
        """Return the number of messages in a queue, in flight or not."""
        known = self.clients.sqs.get_queue_attributes(QueueUrl=self.resources.refs[queue], AttributeNames=["All"])
        attributes = known["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])

    def objects(self) -> list[str]:
        return [part.key for part in self.services.bucket.list("archives/")]

    def unfinished_uploads(self) -> list[MultipartUpload]:
        return [upload for upload, _ in self.services.bucket.uploads("archives/")]

    def restore(self, key: str) -> bytes | None:
        """Restore from the server that never crashes, and return None for a miss."""
        hit = self.job.look_up(key)
        if not hit["ok"]:
            return None
        reply = send("GET", hit["signed_download_url"])
        if reply.status == 302:
            reply = send("GET", reply.headers["Location"])
        assert reply.status == 200, reply.body
        return reply.body

    def empty(self) -> None:
        """Empty tables, queues and bucket for the next scenario."""
        for logical_id in self.resources.template.of_type("AWS::DynamoDB::Table"):
            table, keys = self.resources.refs[logical_id], self.resources.template.properties(logical_id)["KeySchema"]
            for item in self.clients.dynamodb.scan(TableName=table)["Items"]:
                key = {part["AttributeName"]: item[part["AttributeName"]] for part in keys}
                self.clients.dynamodb.delete_item(TableName=table, Key=key)
        for queue in self.resources.template.of_type("AWS::SQS::Queue"):
            self.clients.sqs.purge_queue(QueueUrl=self.resources.refs[queue])
        self.services.bucket.delete(self.objects())
        for upload in self.unfinished_uploads():
            self.services.bucket.abort_upload(upload)

    # ---------------------------------------------------------------- checks

    @contextmanager
    def watched(self, key: str, content: bytes) -> Iterator["Watch"]:
        """Provide a watch, and check that once it saw the entry each restore brought it, byte for byte."""
        watch = Watch(self, key, content)
        try:
            yield watch
        finally:
            watch.stop()
        assert watch.errors == [], watch.errors

    def check_all_or_nothing(self, key: str, size: int) -> bool:
        """Return whether the entry is visible, on which its items in the three tables must agree."""
        table, entry = self.services.table, entry_name(key)
        found, reservation, archive = table.entry(entry), table.reservation(entry), self.the_archive()
        if found is None:
            assert (archive.state, reservation) == (ArchiveState.RESERVED, archive.reservation)
            return False
        assert (archive.state, reservation) == (ArchiveState.STORED, None)
        assert (found.archive_id, found.size, archive.size) == (archive.id, size, size)
        return True

    def merge_in_the_end(self, *, by_schedule: bool) -> None:
        """Let time pass until others have merged what the dead left, by the schedule or by the queue alone.

        Nobody reads meanwhile: a reader would retake the claim itself.
        """
        lifetimes = self.services.lifetimes
        with self.moving:
            if not by_schedule:
                self.clock.advance(lifetimes.merge_lease / SECOND + 1)
                wait_until(self._merged_by_the_queue, 3 * VISIBILITY_SECONDS)
                return
            for waits in (0, lifetimes.merge_lease, SEND_TIMEOUT, lifetimes.queue_retention):
                self.clock.advance(waits / SECOND + 1)
                assert "failed" not in self.driver.clean_up()
                if self._merged_by_the_queue():
                    return
            raise AssertionError(f"stuck: {self.the_archive()}")

    def _merged_by_the_queue(self) -> bool:
        self.driver.merge_all()
        return self.the_archive().merge.state is MergeState.MERGED

    def check_no_orphan_is_left(self, key: str, content: bytes) -> None:
        """Check that once every grace is over the merged object alone is left, and has the content."""
        archive = self.the_archive()
        lifetimes = self.services.lifetimes
        last_arrival = archive.upload_closes_at + lifetimes.late_arrival
        # A sweep that died waits for a while, and others come first.
        due_at = max(parts_removable_at(archive, lifetimes), last_arrival, archive.postponed_until)
        self.advance(max(0, due_at - self.clock.now()) / SECOND + 1)
        assert "failed" not in self.driver.clean_up()
        assert self.driver.clean_up() == {}
        assert archive.object is not None
        assert (self.objects(), self.unfinished_uploads()) == ([archive.object.key], [])
        assert self.restore(key) == content
        self.check_late_messages_do_nothing()

    def check_nothing_is_left(self) -> None:
        """Check that once every grace is over no archive, no object and no reservation is left."""
        lifetimes = self.services.lifetimes
        self.advance((lifetimes.upload_url + lifetimes.late_arrival + lifetimes.grace) / SECOND + 1)
        assert "failed" not in self.driver.clean_up()
        assert (self.archives(), self.objects(), self._reservations()) == ([], [], 0)

    def _reservations(self) -> int:
        return self.clients.dynamodb.scan(TableName=self.resources.refs["ReservationsTable"])["Count"]

    def check_late_messages_do_nothing(self) -> None:
        """Check that messages that the dead had received find the merge done."""
        before = self.archives()

        def all_are_taken() -> bool:
            self.driver.merge_all()
            return self.waiting("MergeQueue") == 0

        wait_until(all_are_taken, 3 * VISIBILITY_SECONDS)
        assert self.archives() == before


@dataclass
class Watch:
    """Restores the entry all the time, once started."""

    environment: CrashEnvironment
    key: str
    content: bytes
    must_be_there: bool = False
    errors: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self._look()

    def _look(self) -> None:
        must_be_there = self.must_be_there
        try:
            with self.environment.moving:
                restored = self.environment.restore(self.key)
        except (AssertionError, OSError, HTTPException) as error:
            self.errors.append(repr(error))
            return
        if restored is None:
            if must_be_there:
                self.errors.append("a miss, though it was there before")
            return
        self.must_be_there = True
        if restored != self.content:
            self.errors.append(f"other bytes: {len(restored)} of {len(self.content)}")


def lead_to_emulators(endpoints: Endpoints, patch: pytest.MonkeyPatch) -> None:
    for variable, value in endpoints.environment().items():
        patch.setenv(variable, value)
    patch.setattr(socket, "getaddrinfo", socket.getaddrinfo)  # as it was, afterwards
    resolve_names_under_localhost()


@contextmanager
def crash_environment(
    endpoints: Endpoints, session: boto3.Session, template: Template, directory: Path
) -> Iterator[CrashEnvironment]:
    """Make resources and start a server, which outlive the variables that lead to the emulators."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            lead_to_emulators(endpoints, patch)
            clients = Clients.of(session)
            resources = create(template, clients, prefix=f"crashes-{os.urandom(4).hex()}")
            clients.sqs.set_queue_attributes(
                QueueUrl=resources.refs["MergeQueue"], Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)}
            )
            moved = directory / "moved"
            moved.write_text("0")
            clock = MovedClock(moved)
            settings = _settings(resources)
            services = AllServices(settings, clock)
            services.session = session
            secrets = RotateServices(settings, clock)
            secrets.session = session
            secrets.rotate_secret.tell_edge()
            runner = FunctionRunner(resources, endpoints.environment(), moved, directory)
            driver = CacheDriver(services, clock, clients.s3, clients.sqs)  # type: ignore[arg-type]
            survivor = stack.enter_context(runner.server())
        yield CrashEnvironment(runner, resources, clients, clock, driver, secrets, survivor)


def _settings(resources: Resources) -> Settings:
    """Return the settings that the functions' processes have, the rotation's included."""
    variables: dict[str, Any] = {**resources.environment("ApiFunction"), **resources.environment("RotateFunction")}
    known = {name.lower(): value for name, value in (variables | SERIAL).items()}
    limits = ("stream_max_bytes", "stream_burst_bytes", "stream_bytes_per_second")
    return Settings.model_validate({name: value for name, value in known.items() if name not in limits})

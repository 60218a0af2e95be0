"""Runs the functions' own handlers in process, on moto with injected faults, and checks the outcome."""

import asyncio
import base64
import functools
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.s3 import models as moto_s3
from moto.sqs.models import sqs_backends

from actions_cache.activity import note_unnamed
from actions_cache.aws import secrets
from actions_cache.aws.dynamodb import SCHEMA_KEY as SCHEMA
from actions_cache.aws.sqs import decode_message
from actions_cache.domain import direct_upload, merge_plan
from actions_cache.domain.archive import Archive, ArchiveState, MergeState
from actions_cache.domain.claim import needs_merge
from actions_cache.domain.entry import EntryName
from actions_cache.domain.errors import TryAgain
from actions_cache.download_services import DownloadServices
from actions_cache.merge import GivenUp
from actions_cache.ports import MergeMessage, Unavailable
from actions_cache.system import SystemClock
from dev.clients.driver import CREDENTIALS, CacheDriver, SetClock, name, plenty, settings_for
from dev.clients.runtime_token import READ_WRITE, runtime_token
from dev.clients.wire import SERVICE, VERSION
from dev.local.lambda_runtime import LambdaContext
from dev.local.resources import Clients, Resources, create
from dev.local.template import Template
from dev.services import AllServices
from functions.api import handler as api
from functions.api import health
from functions.api.services import ApiServices
from functions.cleanup import handler as cleanup
from functions.download import handler as download
from functions.manage import handler as manage
from functions.merge import handler as merge
from functions.rotate import handler as rotate
from tests.guarantees.aws_calls.faulty_aws import FaultyAws, faulty_aws
from tests.guarantees.aws_calls.raw_store import RawStore, raw_store
from tests.guarantees.soak.audit import audit
from tests.support import lambda_events
from tests.unit.template.test_events import ADMIN_TOKEN

FUNCTIONS: Mapping[str, Any] = {
    "api": api,
    "download": download,
    "merge": merge,
    "cleanup": cleanup,
    "manage": manage,
    "rotate": rotate,
}
"""Handlers in the order in which an entry meets them."""

REPOSITORY, SCOPE = "123456789", "refs/heads/main"
LEAST_COPIED_BYTES = 64
"""Replaces S3's 5 MiB."""

LONG = b"a part that S3 copies".ljust(LEAST_COPIED_BYTES, b".")
SHORT = b"a part that is read and uploaded"
CHANGES = {"VERIFY_TOKENS": "0", "CREATES_PER_MINUTE": "1000000", "STORE_BUDGET_BYTES": str(10**12), "EDGE_KEY": ""}
HOUR = 3600
DAY = 24 * HOUR
REGION = "us-east-1"


@dataclass(frozen=True)
class Outcome:
    """Holds the outcome of one invocation."""

    answer: Any = None
    error: BaseException | None = None

    @property
    def status(self) -> int:
        return 0 if self.answer is None else int(self.answer["statusCode"])

    @property
    def body(self) -> bytes:
        return lambda_events.body_of(self.answer)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _UnexpectedErrors(logging.Handler):
    """Collects unexpected errors: each was answered with 500, and logged with a stack trace."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "unexpected error":
            self.messages.append(str(record.exc_info and record.exc_info[1]))


@dataclass
class Environment:
    aws: FaultyAws
    store: RawStore
    clients: Clients
    resources: Resources
    driver: CacheDriver
    unexpected: list[str]
    processes: "_Processes"
    saved: dict[EntryName, bytes] = field(default_factory=dict)
    """Acknowledged entries, which must be there in the end."""
    taken: list[MergeMessage] = field(default_factory=list)
    """Messages of the merge queue, which delivers again what was not processed."""

    @property
    def clock(self) -> SetClock:
        return self.driver.clock

    @property
    def services(self) -> AllServices:
        return self.driver.services

    @property
    def requests(self) -> ApiServices:
        """Return the use cases of the API's handler."""
        return self.processes.requests[-1]

    def restart(self, function: str) -> None:
        """Start a function again, as in a new execution environment."""
        self.processes.start(function)

    def invoke(self, function: str, event: Mapping[str, Any], seconds: float = 600) -> Outcome:
        context = LambdaContext(function, 512, seconds, REGION)
        try:
            return Outcome(FUNCTIONS[function].lambda_handler(event, context))
        except Exception as error:  # noqa: BLE001 - to be judged
            return Outcome(error=error)
        finally:
            self.processes.finish()

    def name(self, key: str, repository: str = REPOSITORY) -> EntryName:
        return name(key, SCOPE, VERSION, repository)

    def save(self, key: str, *parts: bytes) -> str:
        """Save an entry without the functions and without a fault, and return the archive's id."""
        self.saved[self.name(key)] = b"".join(parts)
        return self.driver.save(self.name(key), *parts).archive_id

    def save_merged(self, key: str) -> str:
        archive_id = self.save(key, LONG, SHORT)
        self.driver.merge_all()
        assert self.driver.archive(archive_id).object is not None
        return archive_id

    def take_message(self, archive_id: str) -> dict[str, Any]:
        """Take the message of the archive's merge, as Lambda's event."""
        queue = self.resources.refs["MergeQueue"]
        while True:
            [message] = self.clients.sqs.receive_message(QueueUrl=queue)["Messages"]
            taken = decode_message(message["Body"])
            self.taken.append(taken)
            if taken.archive_id == archive_id:
                break
            self.clients.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        event = lambda_events.load("sqs-merge")
        event["Records"][0] |= {"body": message["Body"], "receiptHandle": message["ReceiptHandle"]}
        return event

    def take_dead_letters(self) -> set[str]:
        """Take all dead letters, and return their bodies."""
        queue = self.resources.refs["MergeDeadLetterQueue"]
        bodies = set()
        while dead_letters := self.clients.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            bodies |= {dead_letter["Body"] for dead_letter in dead_letters}
            for dead_letter in dead_letters:
                self.clients.sqs.delete_message(QueueUrl=queue, ReceiptHandle=dead_letter["ReceiptHandle"])
        return bodies

    def archives(self) -> list[Archive]:
        table = self.services.table
        return [self.driver.archive(archive_id) for archive_id, _ in table.all_archives("")]

    def empty(self) -> None:
        """Empty tables, bucket and queues past their APIs: item by item it would take longer than a step."""
        for table in dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables.values():
            for key in [key for key in table.items if key.value != SCHEMA]:
                del table.items[key]
        for bucket in moto_s3.s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets.values():
            bucket.keys.clear()
            bucket.multiparts.clear()
        for queue in sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues.values():
            queue._messages.clear()
        self.saved.clear()
        self.taken.clear()
        self.requests.note_repository._names.clear()
        self.driver.services.note_repository._names.clear()
        # As the API does before it reserves a key; otherwise the store's usage would be corrected to zero.
        note_unnamed(self.services.repositories, REPOSITORY, self.clock.now())

    # ---------------------------------------------------------------- checks

    def settle(self) -> None:
        """Let hours pass, with the work of the queue and the schedule."""
        for hours, event in ((2, {}), (4, {}), (6, {}), (0, {"find": "orphans"})):
            self.clock.advance(hours * HOUR)
            cleaned = self.invoke("cleanup", event)
            assert cleaned.error is None, repr(cleaned.error)
            assert not cleaned.answer.get("failed"), cleaned.answer
            self.redeliver()
            self.driver.merge_all()

    def redeliver(self) -> None:
        while self.taken:
            with suppress(GivenUp):
                self.services.merge(self.taken.pop(), plenty)

    def check_saved(self) -> None:
        for entry_name, content in self.saved.items():
            entry = self.services.table.entry(entry_name)
            assert entry is not None, f"{entry_name.key} is lost"
            assert self.driver.content(entry.archive_id) == content, entry_name.key

    def check(self) -> None:
        """Check that nothing is lost, stuck, or left behind."""
        self.settle()
        found = audit(self.services, self.clock.now(), HOUR)
        assert found.violations == {}, found.violations
        archives = self.archives()
        open_ones = [archive.name.key for archive in archives if archive.state is ArchiveState.RESERVED]
        assert open_ones == [], f"still reserved: {open_ones}"
        self.check_saved()
        for archive in archives:
            assert archive.merge.state is MergeState.MERGED or not needs_merge(archive), f"{archive.name.key} is stuck"


def is_an_outage(error: BaseException | None) -> bool:
    """Return whether a function without a client may end with this: its next run takes up what was left."""
    return isinstance(error, Unavailable | TryAgain)


# ---------------------------------------------------------------- events


def http(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, **query: str
) -> dict[str, Any]:
    event = lambda_events.load("apigateway-health")
    parts = urlsplit(url)
    params = {key: values[-1] for key, values in parse_qs(parts.query).items()} | query
    sent = event["headers"] | {"Content-Length": str(len(body or b""))} | dict(headers or {})
    return event | {
        "httpMethod": method,
        "path": parts.path,
        "pathParameters": None,
        "queryStringParameters": params or None,
        "multiValueQueryStringParameters": {key: [value] for key, value in params.items()} or None,
        "headers": sent,
        "multiValueHeaders": {key: [value] for key, value in sent.items()},
        "body": None if body is None else base64.b64encode(body).decode(),
        "isBase64Encoded": body is not None,
    }


def job_headers(repository: str = REPOSITORY) -> dict[str, str]:
    token = runtime_token(
        [(SCOPE, READ_WRITE)], repository, oidc_extra=json.dumps({"repository": f"octo/{repository}"})
    )
    return {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "User-Agent": "@actions/cache-6.3.0",
    }


def twirp(method: str, *, repository: str = REPOSITORY, accept: str = "*/*", **message: Any) -> dict[str, Any]:
    body = json.dumps({"version": VERSION, **message}).encode()
    return http("POST", f"/twirp/{SERVICE}/{method}", body, {**job_headers(repository), "Accept": accept})


def manage_request(method: str, path: str, **query: str) -> dict[str, Any]:
    return http(method, path, None, {"Authorization": f"token {ADMIN_TOKEN}"}, **query)


# ---------------------------------------------------------------- construction


@contextmanager
def moto_environment(template: Template, session: boto3.Session) -> Iterator[Environment]:
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        stack.enter_context(mock_aws())
        aws = stack.enter_context(faulty_aws())
        for variable, value in CREDENTIALS.items():
            patch.setenv(variable, value)
        patch.setattr(time, "sleep", lambda _: None)
        patch.setattr(asyncio, "sleep", functools.partial(_at_once, asyncio.sleep))
        # Otherwise the first answer would be kept for minutes, and the first error for seconds.
        patch.setattr(health, "WELL_SECONDS", 0)
        patch.setattr(health, "FAULT_SECONDS", 0)
        patch.setattr(secrets, "RETRY_SECONDS", 0)
        patch.setattr(secrets, "SIGNING_CACHED_SECONDS", 0)
        patch.setattr(secrets, "MANAGEMENT_CACHED_SECONDS", 0)
        for module in (merge_plan, direct_upload):
            patch.setattr(module, "MIN_UPLOAD_PART_BYTES", LEAST_COPIED_BYTES)
        patch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", 1)
        clients = Clients.of(session)
        resources = create(template, clients)
        clients.secretsmanager.put_secret_value(
            SecretId=resources.refs["AdminSecret"], SecretString=json.dumps({"admin": ADMIN_TOKEN})
        )
        clock = SetClock()
        patch.setattr(SystemClock, "now", lambda _: clock.now())
        variables = resources.environment("ApiFunction") | resources.environment("ManageFunction") | CHANGES
        services = AllServices(settings_for(variables), clock)
        services.session = session
        driver = CacheDriver(services, clock, clients.s3, clients.sqs)
        store = stack.enter_context(raw_store(clients.s3, resources.refs["Bucket"]))
        processes = stack.enter_context(_Processes.of(resources))
        for function in FUNCTIONS:
            processes.start(function)
        unexpected = _UnexpectedErrors()
        logger = logging.getLogger("actions_cache.aws.telemetry")
        logger.addHandler(unexpected)
        stack.callback(logger.removeHandler, unexpected)
        environment = Environment(aws, store, clients, resources, driver, unexpected.messages, processes)
        environment.empty()
        yield environment


async def _at_once(sleep: Any, seconds: float, *_: object) -> None:
    await sleep(min(seconds, 0.001))


@dataclass
class _Processes:
    """Starts each function with its own environment, as in a cold start, and ends what it leaves."""

    resources: Resources
    loop: asyncio.AbstractEventLoop
    requests: list[ApiServices] = field(default_factory=list)
    """Use cases of the API's handlers, the present one last."""
    data: list[DownloadServices] = field(default_factory=list)

    @classmethod
    @contextmanager
    def of(cls, resources: Resources) -> Iterator["_Processes"]:
        processes = cls(resources, asyncio.new_event_loop())
        asyncio.set_event_loop(processes.loop)  # Mangum takes this one
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(api, "ApiServices", _recorded(ApiServices, processes.requests))
            patch.setattr(download, "DownloadServices", _recorded(DownloadServices, processes.data))
            try:
                yield processes
            finally:
                processes.end()

    def start(self, function: str) -> None:
        start = _start_of(function)
        start.cache_clear()
        variables = self.resources.environment(f"{function.capitalize()}Function") | CHANGES
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, value)
            start()

    def finish(self) -> None:
        """Finish what a request left running beside its answer, such as a claim, as the next one's thaw would."""
        if beside := asyncio.all_tasks(self.loop):
            self.loop.run_until_complete(asyncio.wait(beside, timeout=10))

    def end(self) -> None:
        for data in [*self.data, *(services.downloads for services in self.requests)]:
            self.loop.run_until_complete(data.stream.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        asyncio.set_event_loop(None)
        self.loop.close()
        for function in FUNCTIONS:
            _start_of(function).cache_clear()


def _start_of(function: str) -> Any:
    name_of = dict.fromkeys(("merge", "cleanup", "rotate"), "services")
    return getattr(FUNCTIONS[function], name_of.get(function, "asgi_app"))


def _recorded(kind: Any, made: list[Any]) -> Callable[..., Any]:
    def make(*arguments: Any) -> Any:
        made.append(kind(*arguments))
        return made[-1]

    return make

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest
import urllib3

from actions_cache.archives import transition
from actions_cache.domain.archive import Archive
from actions_cache.domain.object_keys import ArchiveKeys
from dev.clients.driver import CacheDriver
from dev.local.emulators import Endpoints
from dev.local.resources import Clients, Resources, create
from dev.local.template import Template
from tests.aws.rie.emulator import BuiltFunction
from tests.aws.rie.permissions import Call, recording
from tests.support import lambda_events
from tests.unit.template.test_events import ADMIN_TOKEN, SIGNED_WITH

RECORDED = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE",
)


@dataclass
class BuiltStack:
    """The built functions on resources of their own, and a driver of the same resources with its own clock."""

    template: Template
    resources: Resources
    clients: Clients
    endpoints: dict[str, str]
    driver: CacheDriver
    functions: dict[str, BuiltFunction] = field(default_factory=dict)
    calls: dict[str, list[Call]] = field(default_factory=dict)

    def environment(self, function: str, **changes: str) -> dict[str, str]:
        # The tokens in events/ have no valid signature.
        return self.resources.environment(function) | self.endpoints | {"VERIFY_TOKENS": "0"} | changes

    @property
    def entries(self) -> Any:
        return boto3.resource("dynamodb").Table(self.resources.refs["EntriesTable"])

    def url_of(self, key: str) -> str:
        """Return the download URL of an entry that the driver saved."""
        hit = self.driver.look_up(key)
        assert hit is not None
        return hit.url if hit.url.startswith("http") else f"https://api{hit.url}"

    def read(self, presigned: str) -> bytes:
        answer = urllib3.request("GET", presigned)
        assert answer.status == 200, answer.data
        return answer.data

    def lose_a_part(self, archive_id: str) -> None:
        part = next(key for key in self.driver.keys(archive_id) if key.startswith("parts/"))
        self.clients.s3.delete_object(Bucket=self.resources.refs["Bucket"], Key=f"archives/{archive_id}/{part}")

    def spoil_manifest(self, archive_id: str) -> None:
        """Make the merge fail though the bucket is whole: the manifest says that a part is longer than it is."""
        services, archive = self.driver.services, self.driver.archive(archive_id)
        first, *others = services.manifests.of(archive).parts
        longer = (replace(first, size=first.size + 1), *others)
        spoilt = services.manifests.write(ArchiveKeys(archive_id), longer)

        def point_to_spoilt(archive: Archive) -> Archive | None:
            return replace(archive, commit=replace(archive.commit, manifest=spoilt)) if archive.commit else None

        transition(services.table, archive_id, point_to_spoilt)

    def merge_event(self) -> lambda_events.Event:
        """Receive the queue's message, and return its event; as when Lambda polls, the message stays in the queue."""
        queue = self.resources.refs["MergeQueue"]
        [message] = self.clients.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
        event = lambda_events.load("sqs-merge")
        event["Records"][0] |= {"body": message["Body"], "receiptHandle": message["ReceiptHandle"]}
        return event

    @property
    def api(self) -> BuiltFunction:
        return self.functions["ApiFunction"]

    @property
    def download(self) -> BuiltFunction:
        return self.functions["DownloadFunction"]

    @property
    def merge(self) -> BuiltFunction:
        return self.functions["MergeFunction"]

    @property
    def cleanup(self) -> BuiltFunction:
        return self.functions["CleanupFunction"]

    @property
    def manage(self) -> BuiltFunction:
        return self.functions["ManageFunction"]

    @property
    def rotate(self) -> BuiltFunction:
        return self.functions["RotateFunction"]


@pytest.fixture(scope="session")
def template() -> Template:
    """Load the template without streaming: the emulator has no Lambda Web Adapter."""
    return Template.load().with_parameters(StreamDownloads="false")


@pytest.fixture(scope="session")
def built(
    template: Template,
    endpoints: Endpoints,
    emulator_session: boto3.Session,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[BuiltStack]:
    logs = tmp_path_factory.mktemp("functions")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as running:
        for variable, value in endpoints.environment().items():
            patch.setenv(variable, value)
        clients = Clients.of(emulator_session)
        prefix = f"rie-{uuid.uuid4().hex[:8]}"
        resources = create(template, clients, prefix)
        clients.secretsmanager.put_secret_value(
            SecretId=resources.refs["UrlSigningSecret"], SecretString=json.dumps({"current": SIGNED_WITH})
        )
        clients.secretsmanager.put_secret_value(
            SecretId=resources.refs["AdminSecret"], SecretString=json.dumps({"admin": ADMIN_TOKEN})
        )
        driver = CacheDriver.create(template, emulator_session, prefix)
        built = BuiltStack(template, resources, clients, endpoints.environment(), driver)
        for name in template.functions:
            calls = built.calls[name] = []
            recorded = {
                variable: running.enter_context(recording(built.endpoints[variable], calls)) for variable in RECORDED
            }
            # Its clients ask for a host that begins with the account.
            store = "AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE"
            recorded[store] = recorded[store].replace("127.0.0.1", "localhost")
            function = BuiltFunction(template, name, built.environment(name, **recorded), logs / f"{name}.log")
            running.callback(function.stop)
            built.functions[name] = function
        yield built

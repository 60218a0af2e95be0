"""What the proofs of isolation ask: all of a request's way, on real engines, with tokens whose signatures are checked.

The edge's functions, the API and the download function; nothing between client and engines is left out.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

import boto3
import pytest

from actions_cache.aws.s3_stream import S3Signer
from actions_cache.domain.access import qualified
from actions_cache.domain.entry import EntryFamily, EntryName
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.management_services import ManagementServices
from dev.local.edge.app import BucketOrigin, Distribution, Edge
from dev.local.edge.runtime import EdgeRuntime
from dev.local.emulators import Endpoints
from dev.local.resources import Clients, create
from dev.local.server import Gateway
from dev.local.template import Template
from dev.services import AllServices
from functions.api.handler import create_app as create_api
from functions.download.handler import create_app as create_download
from functions.manage.handler import create_app as create_management
from tests.conftest import settings_for
from tests.support.clients.runtime_token import ac_claim
from tests.support.clients.wire import VERSION, Job
from tests.support.issuer import Issuer, running_issuer
from tests.support.journey import Journey, SetClock
from tests.support.serving import served
from tests.unit.local.test_edge import KnownValues

OURS, THEIRS, ELSEWHERE = "42", "43", "42 of another issuer"
NOT_MEANT = "43"
"""A repository of the other issuer: its tokens are good, but the server isn't for its jobs."""
REPOSITORIES = (OURS, THEIRS, ELSEWHERE)
FEATURE, MAIN, PULL = "refs/heads/feature", "refs/heads/main", "refs/pull/7/merge"
PLAIN = "curl"
"""Of a client that nothing is known of, so that its URLs are ours and name their archive."""


@dataclass
class Stage:
    """Runs a server that trusts the tokens of `issuer` and of `other`, which has repositories with the same ids.

    It admits all jobs of the first, and those of one repository of the second.
    """

    url: str
    services: AllServices
    issuer: Issuer
    other: Issuer
    journey: Journey
    _numbers: Any = field(default_factory=count)

    def job(self, repository: str, *scopes: tuple[str, int], **claims: object) -> Job:
        """A job of a good token, but for what the claims say."""
        issuer, repository_id = self._named(repository)
        named: dict[str, Any] = {"repository_id": repository_id, "ac": ac_claim(scopes), **claims}
        token = issuer.sign(**named)
        return Job(self.url, token.removeprefix("Bearer "), PLAIN)

    def new_key(self) -> str:
        return f"key {next(self._numbers):05d}."

    def everything(self) -> tuple[Any, ...]:
        """What stands in tables and bucket."""
        table = self.services.table
        items = [model.scan() for model in (table._archives, table._entries, table._reservations)]
        rows = [sorted(repr(sorted(item.attribute_values.items())) for item in all_of) for all_of in items]
        return (*rows, sorted((part.key, part.etag) for part in self.services.bucket.list("")))

    def archive_of(self, repository: str, scope: str, key: str) -> str | None:
        entry = self.services.table.entry(self.entry_name(repository, scope, key))
        return entry.archive_id if entry else None

    def entry_name(self, repository: str, scope: str, key: str) -> EntryName:
        issuer, repository_id = self._named(repository)
        return EntryName(EntryFamily(qualified(repository_id, issuer.url), scope, VERSION), key)

    def _named(self, repository: str) -> tuple[Issuer, str]:
        return (self.other, OURS) if repository == ELSEWHERE else (self.issuer, repository)


@contextmanager
def verified_stage(template: Template, endpoints: Endpoints, session: boto3.Session) -> Iterator[Stage]:
    """With resources and issuers of its own."""
    with running_issuer() as issuer, running_issuer("/_services/token") as other, pytest.MonkeyPatch.context() as patch:
        for variable, value in endpoints.environment().items():
            patch.setenv(variable, value)
        clients, clock = Clients.of(session), SetClock(now())
        resources = create(template, clients, prefix=f"test-{uuid.uuid4().hex[:8]}")
        changes = {
            "stream_max_bytes": "",
            "verify_tokens": "1",
            "token_issuers": f"{issuer.url},{other.url}",
            "token_claims": f"any@{issuer.url},repository_id={OURS}@{other.url}",
        }
        services = AllServices(settings_for(resources.environment("ApiFunction"), **changes), clock)
        services.session = session
        s3 = session.client("s3", endpoint_url=endpoints.store)
        signer = S3Signer(s3, services.settings.bucket, cast("Any", session.get_credentials()))
        known = KnownValues({"url-signing-secrets": " ".join(services.urls.secrets.current())})
        apps = {
            "ApiFunction": create_api(services),
            "DownloadFunction": create_download(services.downloads),
            "ManageFunction": create_management(ManagementServices(services)),
        }
        behind = Gateway.of(template, apps)
        edge = Edge(Distribution.of(template), EdgeRuntime(), known, BucketOrigin(signer), behind)
        with served(edge, lifespan="on") as url:
            yield Stage(url, services, issuer, other, Journey(services, clock, clients.s3, clients.sqs))


def now() -> Millis:
    """The edge's own clock is the machine's."""
    return int(time.time()) * SECOND

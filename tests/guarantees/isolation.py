"""Serves the whole way of a request on real emulators, with tokens whose signatures are verified.

That is the edge's functions, the API and the download function: nothing between client and emulators is left out.
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
from dev.clients.driver import CacheDriver, SetClock, settings_for
from dev.clients.runtime_token import ac_claim
from dev.clients.wire import VERSION, Job
from dev.emulation.asgi_server import served
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
from tests.support.token_issuer import TokenIssuer, running_issuer
from tests.unit.local.test_edge import KnownValues

OURS, THEIRS, ELSEWHERE = "42", "43", "42 of another issuer"
NOT_ADMITTED = "43"
"""A repository of the other issuer. Its tokens are good, but the server doesn't admit its jobs."""
REPOSITORIES = (OURS, THEIRS, ELSEWHERE)
FEATURE, MAIN, PULL = "refs/heads/feature", "refs/heads/main", "refs/pull/7/merge"
PLAIN = "curl"
"""User agent of an unknown client, whose URLs lead to the server and name their archive."""


@dataclass
class VerifiedServer:
    """Runs a server that trusts the tokens of `issuer` and of `other`, which has repositories with the same ids.

    It admits all jobs of the first, and those of one repository of the second.
    """

    url: str
    services: AllServices
    issuer: TokenIssuer
    other: TokenIssuer
    driver: CacheDriver
    _numbers: Any = field(default_factory=count)

    def job(self, repository: str, *scopes: tuple[str, int], **claims: object) -> Job:
        """Return a job with a good token, changed by these claims."""
        issuer, repository_id = self._named(repository)
        named: dict[str, Any] = {"repository_id": repository_id, "ac": ac_claim(scopes), **claims}
        token = issuer.sign(**named)
        return Job(self.url, token.removeprefix("Bearer "), PLAIN)

    def new_key(self) -> str:
        return f"key {next(self._numbers):05d}."

    def everything(self) -> tuple[Any, ...]:
        """Return all that tables and bucket hold."""
        table = self.services.table
        items = [model.scan() for model in (table._archives, table._entries, table._reservations)]
        rows = [sorted(repr(sorted(item.attribute_values.items())) for item in table_items) for table_items in items]
        return (*rows, sorted((part.key, part.etag) for part in self.services.bucket.list("")))

    def archive_of(self, repository: str, scope: str, key: str) -> str | None:
        entry = self.services.table.entry(self.entry_name(repository, scope, key))
        return entry.archive_id if entry else None

    def entry_name(self, repository: str, scope: str, key: str) -> EntryName:
        issuer, repository_id = self._named(repository)
        return EntryName(EntryFamily(qualified(repository_id, issuer.url), scope, VERSION), key)

    def _named(self, repository: str) -> tuple[TokenIssuer, str]:
        return (self.other, OURS) if repository == ELSEWHERE else (self.issuer, repository)


@contextmanager
def verified_server(template: Template, endpoints: Endpoints, session: boto3.Session) -> Iterator[VerifiedServer]:
    """Serve with resources and issuers of its own."""
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
            yield VerifiedServer(url, services, issuer, other, CacheDriver(services, clock, clients.s3, clients.sqs))


def now() -> Millis:
    """Return the machine's time, which is the edge's too."""
    return int(time.time()) * SECOND

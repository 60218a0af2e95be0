"""Bad input is refused with a proper error in the client's dialect, and changes nothing.

The whole way from the edge's functions to the tables runs in process. Only what S3 itself refuses is left to
tests/e2e/test_bad_input.py.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
from _pytest.mark import ParameterSet

from actions_cache.domain.entry import EntryName
from actions_cache.domain.signing import Direction
from actions_cache.domain.timing import SECOND
from dev.clients.driver import CacheDriver, name
from dev.clients.runtime_token import BRANCH, REPOSITORY
from dev.clients.wire import VERSION, Job, random_block_id, send
from dev.emulation.asgi_server import served
from dev.local.edge.app import BucketOrigin, Distribution, Edge
from dev.local.edge.runtime import EdgeRuntime
from dev.local.server import Gateway
from dev.local.template import Template
from dev.services import AllServices
from functions.api.handler import create_app as create_api
from functions.download.handler import create_app as create_download
from tests.support.bad_requests import (
    BLOBS,
    CALLS,
    DATA,
    KEY,
    REFUSED_BY_S3,
    SAVED,
    SAVED_KEY,
    Attempt,
    Upload,
    altered,
    azure_refusal,
    twirp_refusal,
)
from tests.unit.local.test_edge import KnownValues


def entry_name(key: str) -> EntryName:
    """Return the name that a job of the default token gives to its entry."""
    return name(key, BRANCH, VERSION, REPOSITORY)


def rows(table: Mapping[str, tuple[Attempt, int, str]]) -> list[ParameterSet]:
    return [pytest.param(*row, id=name) for name, row in table.items() if name not in REFUSED_BY_S3]


@pytest.fixture(scope="module")
def services(module_driver: CacheDriver) -> AllServices:
    """Provide services that read tokens, but don't verify their signatures, as in the local run."""
    driver = module_driver
    driver.clock.at = int(time.time() * 1000)  # the edge's clock is the machine's
    services = AllServices(driver.services.settings.model_copy(update={"verify_tokens": False}), driver.clock)
    services.session = driver.services.session
    return services


@pytest.fixture(scope="module")
def upload(module_driver: CacheDriver, services: AllServices, template: Template) -> Iterator[Upload]:
    driver = module_driver
    known = KnownValues({"url-signing-secrets": " ".join(services.urls.secrets.current())})
    api = Gateway.of(
        template, {"ApiFunction": create_api(services), "DownloadFunction": create_download(services.downloads)}
    )
    # Without a signer, every request fails that the edge would send to the bucket.
    edge = Edge(Distribution.of(template), EdgeRuntime(), known, BucketOrigin(cast("Any", None)), api)
    with served(edge, lifespan="on") as url:
        job = Job(url)
        driver.save(entry_name(SAVED_KEY), SAVED)
        entry_url = Job(url, user_agent="curl").download_url(SAVED_KEY)
        upload = Upload(job, job.reserve(KEY), random_block_id(), entry_url)
        driver.put_block(reserved_archive(driver), upload.block_id, DATA)
        yield upload


@pytest.fixture
def behind_edge(services: AllServices, upload: Upload) -> Iterator[Upload]:
    """Provide the upload at the API itself, which doesn't rely on the edge's checks."""
    with served(create_api(services)) as url:
        yield upload._replace(url=upload.url.replace(upload.job.server, url))


def reserved_archive(driver: CacheDriver) -> str:
    reservation = driver.services.table.reservation(entry_name(KEY))
    assert reservation is not None
    return reservation.archive_id


@pytest.fixture(autouse=True)
def nothing_changes(module_driver: CacheDriver, upload: Upload) -> Iterator[None]:
    """Check that the test leaves the tables' items and the bucket's objects as they were."""
    before = everything(module_driver)
    yield
    assert everything(module_driver) == before


def everything(driver: CacheDriver) -> Any:
    table = driver.services.table
    models = (table._archives, table._entries, table._reservations)
    items = [[repr(item.attribute_values) for item in model.scan()] for model in models]
    return items, list(driver.services.bucket.list(""))


@pytest.mark.parametrize(("attempt", "status", "code"), rows(CALLS))
def test_bad_call_is_refused_in_twirp_dialect(upload: Upload, attempt: Attempt, status: int, code: str):
    assert twirp_refusal(attempt(upload)) == (status, code)


@pytest.mark.parametrize(("attempt", "status", "code"), rows(BLOBS))
def test_bad_blob_request_is_refused_in_azure_dialect(upload: Upload, attempt: Attempt, status: int, code: str):
    assert azure_refusal(attempt(upload)) == (status, code)


def test_api_refuses_a_large_part_by_itself(behind_edge: Upload):
    attempt, status, code = BLOBS["more than one PUT may have"]
    assert azure_refusal(attempt(behind_edge)) == (status, code)


def test_only_a_signed_url_tells_a_size(upload: Upload, module_driver: CacheDriver, services: AllServices):
    entry = module_driver.services.table.entry(entry_name(SAVED_KEY))
    assert entry is not None
    path = services.urls.sign(Direction.DOWNLOAD, entry.archive_id, services.clock.now() + 60 * SECOND)
    signed = send("HEAD", upload.job.server + path)
    assert (signed.status, signed.headers["Content-Length"]) == (200, str(len(SAVED)))
    unsigned = send("HEAD", upload.job.server + altered(path, "sig", "A" * 43))
    assert (unsigned.status, unsigned.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")

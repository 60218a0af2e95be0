"""Clients that seek by `x-ms-range` get the right bytes with SEEK_THROUGH=api, where the CDN edge loses the range."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from actions_cache.domain.access import Anybody
from actions_cache.settings import SeekThrough
from dev.clients.buildkit import BuildKit, layer_key
from dev.clients.driver import CacheDriver
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import ACTIONS_CACHE, Job, send
from dev.emulation.api_gateway import Caps, Gateway, LocalRun
from dev.emulation.asgi_server import served
from dev.services import AllServices
from functions.api.handler import create_app

MIB = 1024 * 1024


class BehindApiGateway:
    """Adds the API's own address to the scope, as Mangum does from API Gateway's event."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.host = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = {"domainName": self.host, "stage": "v1"}
        await self._app({**scope, "aws.event": {"requestContext": context}}, receive, send)


@contextmanager
def behind_an_edge_that_drops_ranges(
    run: LocalRun, stored: CacheDriver, seek_through: SeekThrough
) -> Iterator[Gateway]:
    anybody = {"verify_tokens": False, "token_claims": [Anybody()]}
    settings = stored.services.settings.model_copy(update={"seek_through": seek_through, **anybody})
    services = AllServices(settings)
    api = BehindApiGateway(create_app(services))
    with (
        served(api) as api_url,
        run.behind(Caps(), {"SEEK_THROUGH": seek_through}, api=api_url, edge_drops_ranges=True) as gateway,
    ):
        api.host = gateway.url.removeprefix("http://")
        yield gateway


@pytest.fixture(scope="module")
def layer() -> bytes:
    return os.urandom(3 * MIB + 12_345)


@pytest.mark.parametrize("is_merged", [False, True], ids=["in parts", "merged"])
@pytest.mark.parametrize("through", [SeekThrough.API, SeekThrough.EDGE])
def test_seek_is_right_past_such_an_edge_and_wrong_through_it(
    unmerged: LocalRun, stored: CacheDriver, repository, layer, is_merged: bool, through: SeekThrough
):
    """SEEK_THROUGH exists for such an edge."""
    with (
        behind_an_edge_that_drops_ranges(unmerged, stored, through) as gateway,
        closing(BuildKit(gateway.url, runtime_token(repository=repository))) as client,
    ):
        assert client.export_layer(layer)
        if is_merged:
            stored.merge_all()
        entry = client.load(layer_key(layer))
        assert entry is not None
        if through is SeekThrough.EDGE:
            assert entry.url.startswith(f"{gateway.url}/blobs/")
            reply = send("GET", entry.url, headers={"x-ms-range": "bytes=7-16"})
            assert (reply.status, reply.body) == (200, layer)
            return
        assert entry.url.startswith(f"{gateway.url}/v1/blobs/download/")
        for offset in (1, MIB, 2 * MIB + 7, len(layer) - 1):
            assert entry.read_at(offset, MIB) == layer[offset : offset + MIB]
        assert entry.read() == layer


def test_plain_readers_stay_at_the_edge_and_s3(unmerged: LocalRun, stored: CacheDriver, repository):
    with behind_an_edge_that_drops_ranges(unmerged, stored, SeekThrough.API) as gateway:
        job = Job(gateway.url, runtime_token(repository=repository), ACTIONS_CACHE)
        job.save("key", b"one", b"two")
        assert job.download_url("key").startswith(f"{gateway.url}/blobs/download/")
        stored.merge_all()
        assert "X-Amz-Signature=" in job.download_url("key")

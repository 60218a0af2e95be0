"""Where the edge has a web ACL, the API answers nobody who comes past it; and what is passed on keeps the key back."""

import json
from collections.abc import Iterator

import pytest

from actions_cache.web.app import ORIGIN_KEY, new_app
from functions.api.forwarding import request_headers
from local.template import Template
from tests.clients.wire import send
from tests.serving import served
from tests.told import Told

KEY = "5d5e2c30-1b7e-11f0-8a6d-0e0b1c2d3e4f"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = new_app(Told(), KEY)

    @app.get("/{path:path}")
    async def answer(path: str) -> str:
        return path

    with served(app) as url:
        yield url


def test_a_request_through_the_edge_is_answered(url: str):
    assert send("GET", f"{url}/health", headers={ORIGIN_KEY: KEY}).status == 200


@pytest.mark.parametrize(
    "headers", [{}, {ORIGIN_KEY: ""}, {ORIGIN_KEY: KEY[:-1]}, {ORIGIN_KEY: f"{KEY}, {KEY}"}], ids=str
)
@pytest.mark.parametrize("path", ["/health", "/twirp/any/thing", "/blobs/upload/0", "/no/route"])
def test_a_request_past_the_edge_is_refused_in_its_clients_dialect(url: str, path: str, headers: dict[str, str]):
    refused = send("GET", url + path, headers=headers)
    assert refused.status == 403
    if path.startswith("/blobs/"):
        assert b"<Code>" in refused.body
        assert refused.headers["x-ms-request-id"]
    else:
        assert json.loads(refused.body)["code"] == "permission_denied"
    assert b"RunnerUrl" in refused.body


def test_the_key_goes_to_no_other_service():
    sent = request_headers([(ORIGIN_KEY.encode(), KEY.encode()), (b"accept", b"*/*")])
    assert ORIGIN_KEY.encode() not in {name.lower() for name, _ in sent}


def test_edge_and_functions_have_the_same_key_and_only_with_a_web_acl(template: Template):
    """Not in `resolve`: it knows no Split."""
    told = template.body["Globals"]["Function"]["Environment"]["Variables"]["EDGE_KEY"]["Fn::If"]
    origins = template.properties("Edge")["DistributionConfig"]["Origins"]
    [api] = [it for it in origins if it["Id"] == "api"]
    condition, [header], _ = api["OriginCustomHeaders"]["Fn::If"]
    assert (condition, header["HeaderName"]) == ("HasWebAcl", ORIGIN_KEY)
    assert told[:2] == ["HasWebAcl", header["HeaderValue"]]
    assert template.properties("Edge")["DistributionConfig"]["WebACLId"]["Fn::If"][0] == "HasWebAcl"
    assert not template.condition("HasWebAcl")
    assert all("OriginCustomHeaders" not in origin for origin in origins if origin["Id"] != "api")

"""Tests that requests reach the function that API Gateway would call."""

import pytest

from dev.local.server import Gateway
from dev.local.template import Template


@pytest.fixture(scope="module")
def gateway(template: Template) -> Gateway:
    return Gateway.of(template, {})


@pytest.mark.parametrize(
    ("method", "path", "function"),
    [
        ("POST", "/twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry", "ApiFunction"),
        ("POST", "/twirp/one/two/three", "ApiFunction"),
        ("PUT", "/blobs/upload/0123", "ApiFunction"),
        ("GET", "/blobs/download/0123", "DownloadFunction"),
        ("HEAD", "/blobs/download/0123", "ApiFunction"),
        ("GET", "/blobs/download/0123/more", "ApiFunction"),
        ("GET", "/health", "ApiFunction"),
        ("GET", "/_apis/artifactcache/cache", "ApiFunction"),
        ("PATCH", "/anything/else", "ApiFunction"),
        ("GET", "/", "ManageFunction"),
        ("GET", "/manage/role", "ManageFunction"),
        ("DELETE", "/manage/repositories/42/entries", "ManageFunction"),
        ("GET", "/orgs/example/actions/cache/usage", "ManageFunction"),
        ("DELETE", "/orgs/example/actions/cache/usage", "ApiFunction"),
        ("GET", "/repos/example/tools/actions/caches", "ManageFunction"),
        ("DELETE", "/api/v3/repos/example/tools/actions/caches/7", "ManageFunction"),
        ("GET", "/repositories/7@https://ghes.example/actions/caches", "ManageFunction"),
        ("GET", "/manage", "ApiFunction"),
        ("GET", "/managed/by/others", "ApiFunction"),
        ("POST", "/manage/role", "ApiFunction"),
        ("GET", "/blobs/upload/0123", "ApiFunction"),
    ],
)
def test_most_specific_route_is_taken(gateway: Gateway, method: str, path: str, function: str) -> None:
    assert gateway.function_for(method, path) == function


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("OPTIONS", "/anything"),
        ("GET", "/iam/manage/role"),
        ("DELETE", "/iam/repos/example/tools/actions/caches"),
    ],
)
def test_unknown_and_signed_routes_lead_nowhere(gateway: Gateway, method: str, path: str) -> None:
    assert gateway.function_for(method, path) is None


def test_answer_without_a_route_is_the_templates(template: Template, gateway: Gateway) -> None:
    declared = template.properties("Api")["GatewayResponses"]["MISSING_AUTHENTICATION_TOKEN"]
    assert gateway.unknown.status_code == declared["StatusCode"]
    assert b'"bad_route"' in gateway.unknown.body

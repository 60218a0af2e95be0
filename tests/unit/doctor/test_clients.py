from collections.abc import Mapping

import pytest

from actions_cache_cli.doctor.address import read_address
from actions_cache_cli.doctor.clients import judge_mode, judge_version, judge_way, proxy_for
from actions_cache_cli.doctor.finding import OK, TROUBLE, UNKNOWN

SERVER = read_address("https://cache.example.com/")
GHES = {"GITHUB_SERVER_URL": "https://github.corp.example", "ACTIONS_CACHE_SERVICE_V2": "True"}


@pytest.mark.parametrize(
    ("variables", "state", "said"),
    [
        ({"ACTIONS_CACHE_SERVICE_V2": "True"}, OK, "v2"),
        ({"ACTIONS_CACHE_SERVICE_V2": "True", "GITHUB_SERVER_URL": "https://octo.ghe.com"}, OK, "v2"),
        ({"ACTIONS_CACHE_SERVICE_V2": "false"}, TROUBLE, "buildx takes it for no"),
        ({"ACTIONS_CACHE_SERVICE_V2": "yes"}, TROUBLE, "buildx takes it for no"),
        ({}, TROUBLE, "ACTIONS_CACHE_URL isn't set"),
        ({"ACTIONS_CACHE_URL": "https://cache.example.com/"}, OK, "v1"),
        ({"ACTIONS_CACHE_URL": "https://cache.example.com"}, TROUBLE, "ends without a slash"),
        ({"ACTIONS_CACHE_URL": "cache"}, TROUBLE, "leads nowhere"),
        (GHES, TROUBLE, "GHES"),
        ({**GHES, "ACTIONS_CACHE_URL": "https://github.corp.example/x/"}, TROUBLE, "not https://cache.example.com"),
        ({**GHES, "ACTIONS_CACHE_URL": "https://cache.example.com/"}, OK, "GHES"),
    ],
)
def test_the_api_version_is_what_clients_make_of_the_variables(
    variables: Mapping[str, str], state: str, said: str
) -> None:
    finding = judge_version(variables, SERVER)
    assert (finding.state, said in finding.detail) == (state, True), finding


def test_a_cache_mode_of_none_is_trouble_and_one_that_the_client_does_not_know_is_nothing() -> None:
    assert judge_mode({"ACTIONS_CACHE_MODE": " None "}).state == TROUBLE
    assert "none is saved" in judge_mode({"ACTIONS_CACHE_MODE": "read"}).detail
    assert judge_mode({"ACTIONS_CACHE_MODE": "sometimes"}) is None
    assert judge_mode({}) is None


PROXIES = {"http_proxy": "http://plain:1", "HTTPS_PROXY": "http://user:secret@secure:2"}


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxy"),
    [
        ("https://cache.example.com/", "", "http://user:secret@secure:2"),
        ("http://cache.example.com/", "", "http://plain:1"),
        ("https://cache.example.com/", "example.com", None),
        ("https://cache.example.com/", ".EXAMPLE.com", None),
        ("https://cache.example.com/", "cache.example.com:443", None),
        ("https://cache.example.com/", "cache.example.com:80", "http://user:secret@secure:2"),
        ("https://cache.example.com/", "ample.com", "http://user:secret@secure:2"),
        ("https://cache.example.com/", "other, *", None),
        ("http://127.0.0.1:3000/", "", None),
        ("http://localhost:3000/", "", None),
    ],
)
def test_a_proxy_is_used_where_actions_http_client_uses_it(url: str, no_proxy: str, proxy: str | None) -> None:
    assert proxy_for(read_address(url), {**PROXIES, "NO_PROXY": no_proxy}) == proxy


def test_a_proxy_is_named_without_its_password() -> None:
    finding = judge_way(SERVER, PROXIES)
    assert finding.state == OK
    assert "http://secure:2" in finding.detail
    assert "secret" not in finding.detail


def test_a_no_proxy_that_other_programs_understand_and_node_does_not_is_trouble() -> None:
    finding = judge_way(SERVER, {**PROXIES, "NO_PROXY": "*.example.com"})
    assert finding.state == TROUBLE
    assert "write cache.example.com" in finding.detail


def test_a_proxy_by_tls_cannot_be_tried_and_none_at_all_is_not_worth_a_line() -> None:
    assert judge_way(SERVER, {"https_proxy": "https://secure:2"}).state == UNKNOWN
    assert judge_way(SERVER, {}) is None
    assert "not for cache.example.com" in judge_way(SERVER, {**PROXIES, "NO_PROXY": "*"}).detail

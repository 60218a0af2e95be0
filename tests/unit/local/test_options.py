"""Tests the functions' variables, and the next steps that the run shows."""

from pathlib import Path

import pytest

from dev.local.options import Options, function_environment, next_steps
from dev.local.resources import Resources
from dev.local.template import Template

ENDPOINTS = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}


def environment(template: Template, function: str = "DownloadFunction", **chosen: str) -> dict[str, str]:
    resources = Resources(template, {"Bucket": "the-bucket"}, tables_are_new=False)
    return function_environment(resources, [function], chosen, ENDPOINTS)


@pytest.mark.parametrize(
    ("variable", "default", "chosen"),
    [
        ("DOWNLOAD_URL_SECONDS", "600", "5"),
        ("READ_AHEAD_BYTES", None, "1048576"),
        ("STREAM_MAX_BYTES", None, "1000"),
        ("CHECK_STREAMED_PARTS", None, "1"),
        ("CREATES_PER_MINUTE", None, "5"),
        ("RESULTS_SERVICE_URL", None, "http://127.0.0.1:1"),
        ("VERIFY_TOKENS", "0", "1"),
        ("TOKEN_CLAIMS", "any", "repository_id=42"),
    ],
)
def test_variable_is_the_users_or_the_local_runs(template: Template, variable: str, default: str, chosen: str):
    """Limits of Lambda's don't apply here, signatures aren't verified, and every repository is let in."""
    assert environment(template, "ApiFunction").get(variable) == default
    assert environment(template, "ApiFunction", **{variable: chosen})[variable] == chosen


def test_empty_claims_let_every_repository_in(template: Template):
    assert environment(template, "ApiFunction", TOKEN_CLAIMS="")["TOKEN_CLAIMS"] == "any"


def test_variables_of_an_earlier_run_change_nothing(template: Template):
    known = environment(template, BUCKET="another", AWS_ENDPOINT_URL_S3="http://127.0.0.1:2")
    assert (known["BUCKET"], known["AWS_ENDPOINT_URL_S3"]) == ("the-bucket", "http://127.0.0.1:1")


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"])
def test_users_own_account_is_left_out(template: Template, variable: str):
    assert variable not in environment(template, **{variable: "mine"})


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)],
)
def test_loopback_addresses_are_recognized(host: str, is_loopback: bool):
    assert Options(host=host).is_loopback is is_loopback


def shown(public_url: str | None = None, **options: object) -> str:
    return "\n".join(next_steps(Options.model_validate(options), public_url))


@pytest.mark.parametrize(
    ("public_url", "url"),
    [(None, "http://127.0.0.1:3001/"), ("https://cache.example.com", "https://cache.example.com/")],
)
def test_page_and_runner_get_the_runs_or_the_proxys_url(public_url: str | None, url: str):
    text = shown(public_url, port=3001)
    assert f"{url}, and its token by: make token\n" in text
    assert f'{{"url": "{url}"}}' in text
    assert ("127.0.0.1" in text) is (public_url is None)


@pytest.mark.parametrize(("host", "public_url"), [("0.0.0.0", None), ("127.0.0.1", "http://cache.example.com")])
def test_runner_gets_no_url_that_its_hook_refuses(host: str, public_url: str | None):
    text = shown(public_url, host=host)
    assert "isn't https" in text
    assert "PUBLIC_URL" in text
    assert "hook.json" not in text


def test_next_steps_name_the_data_directory_and_fit():
    assert "make token LOCAL_DATA_DIR='/tmp/a b'\n" in shown(local_data_dir=Path("/tmp/a b"))
    assert max(map(len, shown(local_data_dir=Path("/data")).splitlines())) <= 100

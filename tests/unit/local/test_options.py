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


def test_defaults_are_the_templates(template: Template):
    assert environment(template)["DOWNLOAD_URL_SECONDS"] == "600"


def test_users_value_overrides_the_templates(template: Template):
    assert environment(template, DOWNLOAD_URL_SECONDS="5")["DOWNLOAD_URL_SECONDS"] == "5"


def test_users_variables_are_passed_on(template: Template):
    assert environment(template, READ_AHEAD_BYTES="1048576")["READ_AHEAD_BYTES"] == "1048576"


def test_variables_of_an_earlier_run_change_nothing(template: Template):
    known = environment(template, BUCKET="another", AWS_ENDPOINT_URL_S3="http://127.0.0.1:2")
    assert (known["BUCKET"], known["AWS_ENDPOINT_URL_S3"]) == ("the-bucket", "http://127.0.0.1:1")


def test_lambdas_limits_do_not_apply(template: Template):
    for variable in ("STREAM_MAX_BYTES", "CHECK_STREAMED_PARTS"):
        assert variable in template.environment("DownloadFunction")
        assert variable not in environment(template)


def test_creates_are_unlimited_by_default(template: Template):
    assert "CREATES_PER_MINUTE" not in environment(template)
    assert environment(template, CREATES_PER_MINUTE="5")["CREATES_PER_MINUTE"] == "5"


def test_results_service_is_unset_by_default(template: Template):
    assert "RESULTS_SERVICE_URL" in template.environment("ApiFunction")
    assert "RESULTS_SERVICE_URL" not in environment(template, "ApiFunction")
    chosen = environment(template, "ApiFunction", RESULTS_SERVICE_URL="http://127.0.0.1:1")
    assert chosen["RESULTS_SERVICE_URL"] == "http://127.0.0.1:1"


def test_users_limit_applies(template: Template):
    assert environment(template, STREAM_MAX_BYTES="1000")["STREAM_MAX_BYTES"] == "1000"


def test_signatures_are_verified_on_request(template: Template):
    assert environment(template)["VERIFY_TOKENS"] == "0"
    assert environment(template, VERIFY_TOKENS="1")["VERIFY_TOKENS"] == "1"


def test_every_repository_is_let_in_by_default(template: Template):
    assert environment(template, "ApiFunction")["TOKEN_CLAIMS"] == "any"
    assert environment(template, "ApiFunction", TOKEN_CLAIMS="")["TOKEN_CLAIMS"] == "any"
    assert environment(template, "ApiFunction", TOKEN_CLAIMS="repository_id=42")["TOKEN_CLAIMS"] == "repository_id=42"


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"])
def test_users_own_account_is_left_out(template: Template, variable: str):
    assert variable not in environment(template, **{variable: "mine"})


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)],
)
def test_loopback_addresses_are_recognized(host: str, is_loopback: bool):
    assert Options(host=host).is_loopback is is_loopback


# ------------------------------------------------------------------ next steps


def shown(public_url: str | None = None, **options: object) -> str:
    return "\n".join(next_steps(Options.model_validate(options), public_url))


def test_page_and_runner_get_the_runs_url():
    text = shown(port=3001)
    assert "http://127.0.0.1:3001/, and its token by: make token\n" in text
    assert '{"url": "http://127.0.0.1:3001/"}' in text


def test_page_and_runner_get_the_proxys_url():
    text = shown("https://cache.example.com")
    assert "https://cache.example.com/, and" in text
    assert '{"url": "https://cache.example.com/"}' in text
    assert "127.0.0.1" not in text


@pytest.mark.parametrize(("host", "public_url"), [("0.0.0.0", None), ("127.0.0.1", "http://cache.example.com")])
def test_runner_gets_no_url_that_its_hook_refuses(host: str, public_url: str | None):
    text = shown(public_url, host=host)
    assert "isn't https" in text
    assert "PUBLIC_URL" in text
    assert "hook.json" not in text


def test_data_directory_is_part_of_the_command():
    assert "make token LOCAL_DATA_DIR='/tmp/a b'\n" in shown(local_data_dir=Path("/tmp/a b"))


def test_next_steps_fit_a_terminal():
    assert max(map(len, shown(local_data_dir=Path("/data")).splitlines())) <= 100

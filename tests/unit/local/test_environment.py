"""The functions' variables: the template's, the user's over them, and nothing that leads away from the engines."""

import pytest

from dev.local.environment import function_environment
from dev.local.options import Options
from dev.local.resources import Resources
from dev.local.template import Template

ENDPOINTS = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}


def environment(template: Template, function: str = "DownloadFunction", **chosen: str) -> dict[str, str]:
    resources = Resources(template, {"Bucket": "the-bucket"}, tables_are_new=False)
    return function_environment(resources, [function], chosen, ENDPOINTS)


def test_the_template_gives_the_defaults(template: Template):
    assert environment(template)["DOWNLOAD_URL_SECONDS"] == "600"


def test_the_user_goes_before_the_template(template: Template):
    assert environment(template, DOWNLOAD_URL_SECONDS="5")["DOWNLOAD_URL_SECONDS"] == "5"


def test_settings_the_template_does_not_name_are_the_users(template: Template):
    assert environment(template, READ_AHEAD_BYTES="1048576")["READ_AHEAD_BYTES"] == "1048576"


def test_a_shell_that_sourced_an_earlier_runs_env_file_changes_nothing(template: Template):
    known = environment(template, BUCKET="another", AWS_ENDPOINT_URL_S3="http://127.0.0.1:2")
    assert (known["BUCKET"], known["AWS_ENDPOINT_URL_S3"]) == ("the-bucket", "http://127.0.0.1:1")


def test_lambdas_limits_do_not_hold_here(template: Template):
    for variable in ("STREAM_MAX_BYTES", "CHECK_STREAMED_PARTS"):
        assert variable in template.environment("DownloadFunction")
        assert variable not in environment(template)


def test_a_load_test_is_not_told_to_come_again(template: Template):
    assert "CREATES_PER_MINUTE" not in environment(template)
    assert environment(template, CREATES_PER_MINUTE="5")["CREATES_PER_MINUTE"] == "5"


def test_nothing_goes_to_github_unless_the_user_says_so(template: Template):
    assert "RESULTS_SERVICE_URL" in template.environment("ApiFunction")
    assert "RESULTS_SERVICE_URL" not in environment(template, "ApiFunction")
    chosen = environment(template, "ApiFunction", RESULTS_SERVICE_URL="http://127.0.0.1:1")
    assert chosen["RESULTS_SERVICE_URL"] == "http://127.0.0.1:1"


def test_a_limit_the_user_sets_holds(template: Template):
    assert environment(template, STREAM_MAX_BYTES="1000")["STREAM_MAX_BYTES"] == "1000"


def test_signatures_are_verified_when_the_user_says_so(template: Template):
    assert environment(template)["VERIFY_TOKENS"] == "0"
    assert environment(template, VERIFY_TOKENS="1")["VERIFY_TOKENS"] == "1"


def test_jobs_of_every_repository_come_in_unless_the_user_says_whose(template: Template):
    assert environment(template, "ApiFunction")["TOKEN_CLAIMS"] == "any"
    assert environment(template, "ApiFunction", TOKEN_CLAIMS="")["TOKEN_CLAIMS"] == "any"
    assert environment(template, "ApiFunction", TOKEN_CLAIMS="repository_id=42")["TOKEN_CLAIMS"] == "repository_id=42"


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"])
def test_the_users_own_account_stays_out(template: Template, variable: str):
    assert variable not in environment(template, **{variable: "mine"})


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)],
)
def test_what_counts_as_this_machine(host: str, is_loopback: bool):
    assert Options(host=host).is_loopback is is_loopback

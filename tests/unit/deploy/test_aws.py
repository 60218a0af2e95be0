"""Tests that AWS's refusals are put into words that say what to do."""

from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from actions_cache_cli.aws import Account, AwsRefused, Denied, covers, explain, home_region, known_regions, refusal


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make this a machine without credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    directory = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(directory / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(directory / "credentials"))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture
def aws(nobody: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with mock_aws():
        yield


@pytest.mark.usefixtures("nobody")
def test_no_credentials_are_told_with_the_ways_to_get_some() -> None:
    with pytest.raises(AwsRefused, match=r"no AWS credentials were found.*aws configure.*AWS_PROFILE"):
        Account("us-east-1").identity()


@pytest.mark.usefixtures("nobody")
def test_a_profile_that_isnt_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "gone")
    assert home_region() == "us-east-1"
    assert "us-east-1" in known_regions()
    with pytest.raises(AwsRefused, match=r"profile \(gone\).*list-profiles"):
        Account("us-east-1").identity()


@pytest.mark.usefixtures("aws")
def test_who_deploys_is_known() -> None:
    assert Account("eu-central-1").identity().account == "123456789012"


@pytest.mark.usefixtures("aws")
def test_a_stack_that_isnt_there_is_none() -> None:
    assert Account("eu-central-1").stack("gone") is None


def error(code: str, message: str = "because") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "UnrecognizedClientException"])
def test_credentials_that_ended_are_told(code: str) -> None:
    assert "aws sso login" in str(refusal(error(code)))
    assert "the region isn't turned on" in str(refusal(error(code)))


def test_what_may_not_be_asked_names_the_deployers_policy() -> None:
    refused = refusal(error("AccessDenied", "not authorized"))
    assert isinstance(refused, Denied)
    assert "may not DescribeStacks: not authorized. deploy/deployer-policy.json" in str(refused)


def test_anything_else_is_said_as_aws_says_it() -> None:
    assert str(refusal(error("Throttling", "Rate exceeded"))) == (
        "AWS refuses DescribeStacks: Throttling, Rate exceeded"
    )
    assert str(explain(ValueError("bad endpoint"))) == "AWS can't be asked: bad endpoint"


def test_the_regions_are_those_of_the_part_that_has_cloudfront() -> None:
    regions = known_regions()
    assert {"us-east-1", "eu-central-1", "ap-southeast-2"} <= regions
    assert not {it for it in regions if it.startswith(("cn-", "us-gov-"))}


@pytest.mark.parametrize(
    ("name", "is_covered"),
    [
        ("cache.example.com", True),
        ("*.example.com", True),
        ("example.com", False),
        ("*.com", False),
        ("*.cache.example.com", False),
    ],
)
def test_a_star_stands_for_one_label(name: str, is_covered: bool) -> None:
    assert covers(name, "cache.example.com") is is_covered

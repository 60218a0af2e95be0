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
def test_missing_credentials_are_explained() -> None:
    with pytest.raises(AwsRefused, match=r"no AWS credentials were found.*aws configure.*AWS_PROFILE"):
        Account("us-east-1").identity()


@pytest.mark.usefixtures("nobody")
def test_missing_profile_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "gone")
    assert home_region() == "us-east-1"
    assert "us-east-1" in known_regions()
    with pytest.raises(AwsRefused, match=r"profile \(gone\).*list-profiles"):
        Account("us-east-1").identity()


@pytest.mark.usefixtures("aws")
def test_identity_is_returned() -> None:
    assert Account("eu-central-1").identity().account == "123456789012"


@pytest.mark.usefixtures("aws")
def test_missing_stack_is_none() -> None:
    assert Account("eu-central-1").stack("gone") is None


def error(code: str, message: str = "because") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "UnrecognizedClientException"])
def test_expired_credentials_are_explained(code: str) -> None:
    assert "aws sso login" in str(refusal(error(code)))
    assert "the region isn't enabled" in str(refusal(error(code)))


def test_denied_call_names_the_deployers_policy() -> None:
    refused = refusal(error("AccessDenied", "not authorized"))
    assert isinstance(refused, Denied)
    assert "may not DescribeStacks: not authorized. deploy/deployer-policy.json" in str(refused)


def test_other_errors_are_quoted() -> None:
    assert str(refusal(error("Throttling", "Rate exceeded"))) == (
        "AWS refuses DescribeStacks: Throttling, Rate exceeded"
    )
    assert str(explain(ValueError("bad endpoint"))) == "AWS can't be asked: bad endpoint"


def test_regions_are_those_with_cloudfront() -> None:
    regions = known_regions()
    assert {"us-east-1", "eu-central-1", "ap-southeast-2"} <= regions
    assert not {region for region in regions if region.startswith(("cn-", "us-gov-"))}


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
def test_wildcard_covers_one_label(name: str, is_covered: bool) -> None:
    assert covers(name, "cache.example.com") is is_covered

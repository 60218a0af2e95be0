"""Buckets are addressed by their regional host on AWS, and by path at any other endpoint."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import RefreshableCredentials

from actions_cache.aws.clients import LONG_CALLS, QUICK_CALLS, s3_client
from actions_cache.aws.s3 import S3Bucket
from actions_cache.aws.s3_stream import S3Signer, host_header
from actions_cache.domain.archive import Part
from dev.clients.driver import CacheDriver
from dev.local.template import ROOT

BUCKET = "stack-bucket-1a2b3c"
KEY = "archives/0123/merged/1-a"

# One of S3's global host, an old one, two launched after March 2019, and an opt-in one.
REGIONS = ("us-east-1", "eu-west-1", "eu-south-1", "me-central-1", "af-south-1")
ELSEWHERE = ("http://127.0.0.1:8333", "http://localhost:9000", "http://store:9000", "https://store.example")


@pytest.fixture(autouse=True)
def no_endpoints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


def urls_of(region: str, calls: Config) -> list[str]:
    """Return the URLs of presigning and of the stream's GET and PUT, each checked to be signed for its host."""
    session = boto3.Session("key", "secret", "token", region_name=region)
    client = s3_client(session, calls)
    presigned = S3Bucket(client, BUCKET).presign_download(Part(KEY, 1, '"e"'), 60)
    assert "host" in parse_qs(urlsplit(presigned).query)["X-Amz-SignedHeaders"][0].split(";")
    credentials = session.get_credentials()
    assert credentials is not None
    signer = S3Signer(client, BUCKET, credentials)
    urls = [presigned.partition("?")[0]]
    for method in ("GET", "PUT"):
        url, headers = signer.signed(method, KEY, {})
        assert "SignedHeaders=host;" in headers["Authorization"]
        assert f"/{region}/s3/aws4_request" in headers["Authorization"]
        assert host_header(url) == urlsplit(str(url)).netloc
        urls.append(str(url))
    return urls


@pytest.mark.parametrize("calls", [QUICK_CALLS, LONG_CALLS], ids=["quick", "long"])
@pytest.mark.parametrize("region", REGIONS)
def test_bucket_urls_use_regional_host(region: str, calls: Config):
    """S3's global host answers 307 while a bucket is new, and 400 in new regions; a signature is for one host."""
    assert urls_of(region, calls) == [f"https://{BUCKET}.s3.{region}.amazonaws.com/{KEY}"] * 3


@pytest.mark.parametrize("endpoint", ELSEWHERE)
def test_custom_endpoint_urls_use_path_style(endpoint: str, monkeypatch: pytest.MonkeyPatch):
    """There is no host name for each bucket below `localhost` or a container's name."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    assert urls_of("eu-west-1", QUICK_CALLS) == [f"{endpoint}/{BUCKET}/{KEY}"] * 3


def credentials_until(moment: datetime) -> RefreshableCredentials:
    return RefreshableCredentials("key", "secret", "token", moment, refresh_using=dict, method="test")


@pytest.mark.parametrize(("left", "requested", "expected"), [(5400, 600, 600), (5400, 3600, 3600), (1800, 3600, 1800)])
def test_presigned_url_never_outlives_credentials(left: int, requested: int, expected: int):
    """S3 would answer 400 ExpiredToken, after which BuildKit doesn't look up the entry again."""
    credentials = credentials_until(datetime.now(UTC) + timedelta(seconds=left))
    client = s3_client(boto3.Session("key", "secret", region_name="eu-west-1"), QUICK_CALLS)
    url = S3Bucket(client, BUCKET, credentials).presign_download(Part(KEY, 1, '"e"'), requested)
    [announced] = parse_qs(urlsplit(url).query)["X-Amz-Expires"]
    assert expected - 2 <= int(announced) <= expected


def test_credentials_without_expiry_keep_url_lifetime(on_moto: CacheDriver):
    """Lambda's credentials are environment variables without an expiry."""
    bucket = on_moto.services.bucket
    assert bucket._credentials is not None
    [announced] = parse_qs(urlsplit(bucket.presign_download(Part(KEY, 1, '"e"'), 600)).query)["X-Amz-Expires"]
    assert announced == "600"


@pytest.mark.parametrize(
    ("service", "host"),
    [
        ("sqs", "sqs.eu-south-1.amazonaws.com"),
        ("secretsmanager", "secretsmanager.eu-south-1.amazonaws.com"),
        ("dynamodb", "dynamodb.eu-south-1.amazonaws.com"),
    ],
)
def test_other_services_use_regional_host(service: str, host: str):
    client = boto3.Session("key", "secret", region_name="eu-south-1").client(service, config=QUICK_CALLS)  # type: ignore[call-overload]
    assert urlsplit(client.meta.endpoint_url).netloc == host


def test_s3_clients_are_created_in_one_place():
    """The deployment check and the end of a try are exempt, since they neither presign nor sign by themselves."""
    shipped = [
        path for folder in ("layers", "functions", "actions_cache_cli") for path in (ROOT / folder).rglob("*.py")
    ]
    creating = [
        path.relative_to(ROOT).as_posix() for path in shipped if re.search(r"client\(\s*[\"']s3[\"']", path.read_text())
    ]
    exempt = {"actions_cache_cli/try_on_aws/throwaway.py", "actions_cache_cli/deployment_check/stack.py"}
    assert set(creating) == {"layers/core/actions_cache/aws/clients.py", *exempt}

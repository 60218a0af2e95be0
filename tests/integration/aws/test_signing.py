"""Our signatures are the same as botocore's."""

from datetime import datetime
from unittest.mock import patch

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from yarl import URL

from actions_cache.aws.s3_stream import S3Signer, host_header

KEY = "archives/0123/parts/blocks/-_azAZ09/0000000000001-a1"


def client_at(endpoint: str | None):
    return boto3.session.Session("key", "secret", region_name="eu-west-1").client(
        "s3", endpoint_url=endpoint, config=Config(signature_version="s3v4")
    )


def signed_by_botocore(method: str, url: str, headers: dict[str, str], credentials: ReadOnlyCredentials, time: str):
    request = AWSRequest(method=method, url=url, headers=headers)
    request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
    with patch("botocore.auth.get_current_datetime", lambda: datetime.fromisoformat(time)):
        S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:3000", "https://store.example"])
@pytest.mark.parametrize("token", [None, "session/token+="])
@pytest.mark.parametrize(
    ("method", "headers"),
    [("GET", {"If-Match": '"abc"', "Range": "bytes=0-9"}), ("PUT", {"Content-Length": "5"}), ("GET", {})],
)
def test_signature_matches_botocore(endpoint, token, method, headers):
    credentials = Credentials("key", "secret", token)
    signer = S3Signer(client_at(endpoint), "bucket", credentials)
    for _ in range(2):
        url, sent = signer.signed(method, KEY, headers)
        lowered = {name.lower(): value for name, value in sent.items()}
        frozen = credentials.get_frozen_credentials()
        assert lowered == signed_by_botocore(method, str(url), dict(headers), frozen, lowered["x-amz-date"])


@pytest.mark.parametrize(
    ("url", "host"),
    [("https://b.s3.amazonaws.com/k", "b.s3.amazonaws.com"), ("http://127.0.0.1:3000/b/k", "127.0.0.1:3000")],
)
def test_host_header_omits_default_port(url, host):
    """The header would differ from the signed one if it had `:443`."""
    assert host_header(URL(url)) == host


def test_signing_key_depends_on_day_and_credentials():
    client, credentials = client_at(None), Credentials("key", "secret")
    signer = S3Signer(client, "bucket", credentials)
    # Day and secret change one at a time.
    first, second, third, fourth = (("secret", "1"), ("other", "1"), ("other", "2"), ("secret", "2"))
    keys = set()
    for turn in (first, second, third, fourth, first):
        keys.add(key := signer._signing_key(*turn))
        assert key == S3Signer(client, "bucket", credentials)._signing_key(*turn)
    assert len(keys) == 4

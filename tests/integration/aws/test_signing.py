"""Our signatures are the same as botocore's."""

from datetime import UTC, datetime, timedelta
from time import process_time
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from yarl import URL

from actions_cache.aws.clients import QUICK_CALLS, s3_client
from actions_cache.aws.s3 import S3Bucket, SigningKeys
from actions_cache.aws.s3_stream import S3Signer, host_header
from actions_cache.domain.archive import OCTET_STREAM, Part
from actions_cache.domain.direct_upload import MAX_DIRECT_PARTS
from actions_cache.domain.merge_plan import MIB
from actions_cache.ports import MultipartUpload, Unavailable

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


def test_signing_key_depends_on_day_and_secret():
    keys = SigningKeys("eu-west-1")
    # Day and secret change one at a time.
    first, second, third, fourth = (("secret", "1"), ("other", "1"), ("other", "2"), ("secret", "2"))
    derived = set()
    for turn in (first, second, third, fourth, first):
        derived.add(key := keys._key(*turn))
        assert key == SigningKeys("eu-west-1")._key(*turn)
    assert len(derived) == 4


# ------------------------------------------------------------------ presigned parts

ODD_KEYS = [
    KEY,
    "a",
    "with space/plus+and%25",
    "tilde~dot.dash-under_",
    "query?and#fragment&=",
    "two//slashes/./and/../dots",
    "ends/with/",
    "öäü/\N{SNOWMAN}/\N{PILE OF POO}",
    "quote'\"()*!@$,;:[]{}|^`<>\\",
]


def unordered(url: str) -> tuple[str, list[str]]:
    """Return the URL without the order of its query, which isn't signed."""
    address, _, query = url.partition("?")
    return address, sorted(query.split("&"))


def presigned_by_botocore(client: Any, method: str, seconds: int, time: str, **params: Any) -> tuple[str, list[str]]:
    """Return what `unordered` makes of boto3's URL. Where awscrt is installed, botocore signs by it."""
    with patch("botocore.crt.auth.get_current_datetime", lambda *_, **__: datetime.fromisoformat(time)):
        return unordered(client.generate_presigned_url(method, {"Bucket": "bucket", **params}, ExpiresIn=seconds))


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "ap-southeast-4"])
@pytest.mark.parametrize("token", [None, "session/token+=="])
@pytest.mark.parametrize(
    "endpoint", [None, "http://127.0.0.1:8333", "http://store", "https://store.example:443", "https://store:9000/path"]
)
def test_presigned_parts_match_botocore(endpoint: str | None, token: str | None, region: str, monkeypatch):
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    session = boto3.Session("a key/id+", "secret", token, region_name=region)
    client = s3_client(session, QUICK_CALLS)
    parts = [Part(key, number + 1, f'"{number}"') for number, key in enumerate(ODD_KEYS)]
    given = S3Bucket(client, "bucket", session.get_credentials()).presign_parts(parts, 600)
    [time] = parse_qs(given.query)["X-Amz-Date"]
    urls = [given.url(part) for part in given.parts]
    assert list(map(unordered, urls)) == [
        presigned_by_botocore(client, "get_object", 600, time, Key=part.key) for part in parts
    ]
    assert [(part.size, part.etag) for part in given.parts] == [(part.size, part.etag) for part in parts]
    assert given.size == sum(part.size for part in parts)


@pytest.mark.parametrize("token", [None, "session/token+=="])
@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:8333", "https://store.example:443"])
def test_presigned_uploads_match_botocore(endpoint: str | None, token: str | None, monkeypatch):
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    session = boto3.Session("a key/id+", "secret", token, region_name="eu-central-1")
    client = s3_client(session, QUICK_CALLS)
    upload = MultipartUpload("archives/a/parts/direct/öäü ~", "an id/with+odd=characters.~_-")
    given = S3Bucket(client, "bucket", session.get_credentials()).presign_uploads(upload, KEY, 3600)
    [time] = parse_qs(given.part)["X-Amz-Date"]

    def expected(method: str, **params: Any) -> tuple[str, list[str]]:
        return presigned_by_botocore(client, method, 3600, time, **params)

    named = {"Key": upload.key, "UploadId": upload.upload_id}
    assert unordered(given.look) == expected("list_parts", **named)
    assert unordered(given.blob) == expected("put_object", Key=KEY, ContentType=OCTET_STREAM, IfNoneMatch="*")
    for number in (1, 9, 10, MAX_DIRECT_PARTS):
        url = f"{given.part}&partNumber={number}&X-Amz-Signature={given.signatures[number - 1]}"
        assert unordered(url) == expected("upload_part", **named, PartNumber=number)
    assert len(set(given.signatures)) == MAX_DIRECT_PARTS
    for hidden in (given.look, given.blob, given.part, given.signatures[0]):
        assert hidden not in repr(given)


def test_presigned_parts_never_outlive_credentials():
    until = datetime.now(UTC) + timedelta(seconds=1800)
    credentials = RefreshableCredentials("key", "secret", "token", until, refresh_using=dict, method="test")
    client = s3_client(boto3.Session("key", "secret", region_name="eu-west-1"), QUICK_CALLS)
    given = S3Bucket(client, "bucket", credentials).presign_parts([Part(KEY, 1, '"e"')], 3600)
    [announced] = parse_qs(given.query)["X-Amz-Expires"]
    assert 1798 <= int(announced) <= 1800


def test_parts_are_not_presigned_without_credentials():
    client = s3_client(boto3.Session("key", "secret", region_name="eu-west-1"), QUICK_CALLS)
    with pytest.raises(Unavailable):
        S3Bucket(client, "bucket").presign_parts([Part(KEY, 1, '"e"')], 600)


def test_thousand_parts_are_presigned_in_100_ms():
    """Of processor time; boto3 takes forty times as long as ours."""
    session = boto3.Session("key", "secret", "token" * 200, region_name="eu-west-1")
    bucket = S3Bucket(s3_client(session, QUICK_CALLS), "bucket", session.get_credentials())
    parts = [Part(f"{KEY}{number:04d}", 64 * MIB, f'"{number:032x}"') for number in range(1000)]
    bucket.presign_parts(parts[:1], 600)
    began = process_time()
    given = bucket.presign_parts(parts, 600)
    assert process_time() - began < 0.1
    assert len({part.signature for part in given.parts}) == 1000


def test_repr_of_part_list_opens_nothing():
    """A traceback's or a log's."""
    session = boto3.Session("key", "secret", "token", region_name="eu-west-1")
    given = S3Bucket(s3_client(session, QUICK_CALLS), "bucket", session.get_credentials()).presign_parts(
        [Part(KEY, 1, '"e"')], 600
    )
    assert given.parts[0].signature not in repr(given)
    assert "X-Amz" not in repr(given)

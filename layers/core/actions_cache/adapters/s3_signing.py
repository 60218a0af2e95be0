"""Signed requests to a bucket, for those who send them past boto3.

By hand, since botocore takes several times as long, and a stream of many parts has one for each
(docs/performance.md). A test holds each signature against botocore's own.
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from yarl import URL

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_s3 import S3Client

ALGORITHM = "AWS4-HMAC-SHA256"


class S3Signer:
    def __init__(self, client: "S3Client", bucket: str, credentials: "Credentials") -> None:
        # What boto3 makes of bucket, region and endpoint, whichever way they are addressed.
        presigned = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "-"})
        self._base = URL(presigned.partition("?")[0].removesuffix("-"), encoded=True)
        self._region = client.meta.region_name
        self._credentials = credentials
        self._known_key: tuple[str, str, bytes] = ("", "", b"")

    def signed(self, method: str, key: str, headers: Mapping[str, str]) -> tuple[URL, dict[str, str]]:
        """The URL, and all headers that go with it but Host.

        Keys are made of unreserved characters (domain/layout.py), so the URL needs no quoting. The payload isn't
        signed.
        """
        credentials = self._credentials.get_frozen_credentials()
        time = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        path = self._base.raw_path + key
        sent = {**headers, "X-Amz-Date": time, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
        if credentials.token:
            sent["X-Amz-Security-Token"] = credentials.token
        signing = sorted({"host": host_header(self._base), **{name.lower(): sent[name] for name in sent}}.items())
        names = ";".join(name for name, _ in signing)
        lines = "".join(f"{name}:{value}\n" for name, value in signing)
        request = f"{method}\n{path}\n\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
        scope = f"{time[:8]}/{self._region}/s3/aws4_request"
        to_sign = f"{ALGORITHM}\n{time}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        signature = _hmac(self._signing_key(credentials.secret_key or "", time[:8]), to_sign).hex()
        sent["Authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return self._base.with_path(path, encoded=True), sent

    def _signing_key(self, secret: str, day: str) -> bytes:
        """The same for a day."""
        known_secret, known_day, key = self._known_key
        if (known_secret, known_day) != (secret, day):
            key = f"AWS4{secret}".encode()
            for step in (day, self._region, "s3", "aws4_request"):
                key = _hmac(key, step)
            self._known_key = (secret, day, key)
        return key


def host_header(url: URL) -> str:
    """Without the port that the scheme implies: the store signs the Host header as it comes."""
    return url.host_port_subcomponent or ""


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")

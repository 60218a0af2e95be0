"""Signed requests to a bucket, for those who send them past boto3."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from yarl import URL

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_s3 import S3Client

_UNSIGNED_PAYLOAD = Config(s3={"payload_signing_enabled": False})


class S3Signer:
    def __init__(self, client: "S3Client", bucket: str, credentials: "Credentials") -> None:
        # What boto3 makes of bucket, region and endpoint, whichever way they are addressed.
        presigned = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "-"})
        self._base_url = presigned.partition("?")[0].removesuffix("-")
        self._region = client.meta.region_name
        self._credentials = credentials

    def signed(self, method: str, key: str, headers: Mapping[str, str]) -> tuple[URL, dict[str, str]]:
        """The URL, and all headers that go with it.

        Keys are made of unreserved characters (domain/layout.py), so the URL needs no quoting.
        """
        url = self._base_url + key
        request = AWSRequest(method=method, url=url, headers=dict(headers))
        request.context["client_config"] = _UNSIGNED_PAYLOAD
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        return URL(url, encoded=True), dict(request.headers.items())

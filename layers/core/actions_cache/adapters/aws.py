"""How every boto3 client here is made, and what its errors mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from actions_cache.ports import Unavailable

if TYPE_CHECKING:
    import boto3
    from botocore.credentials import Credentials
    from mypy_boto3_s3 import S3Client


def _config(read_timeout: int, attempts: int) -> Config:
    return Config(
        connect_timeout=3,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=64,
        signature_version="s3v4",
        # boto3 would add a CRC32 to uploaded parts that the multipart upload wasn't created with.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            # Of bodies, TLS and the ETags that come back vouch for them; else the merge's were hashed a third time.
            "payload_signing_enabled": False,
            # The bucket's own host, <bucket>.s3.<region>.amazonaws.com. Left alone, boto3 presigns for S3's global
            # one, which answers 307 while a bucket is new, and 400 for good in regions launched after March 2019:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
            "addressing_style": "virtual",
            "us_east_1_regional_endpoint": "regional",
        },
    )


QUICK_CALLS = _config(read_timeout=5, attempts=2)
"""Where somebody waits: a call that hangs is given up well before API Gateway gives up on us, at 29 s."""

LONG_CALLS = _config(read_timeout=60, attempts=4)
"""The merge's: a copy of 256 MiB, and the Complete of 10,000 parts, take S3 a while."""


def s3_client(session: "boto3.Session", calls: Config, endpoint_url: str | None = None) -> "S3Client":
    """Return a client that asks S3 at a bucket's regional host, and any other endpoint by path.

    Args:
        session: whose credentials, region and endpoint variables count.
        calls: QUICK_CALLS or LONG_CALLS.
        endpoint_url: None for the one that the session's environment names, or else AWS's.
    """
    client = session.client("s3", config=calls, endpoint_url=endpoint_url)
    if ".amazonaws.com" in client.meta.endpoint_url:
        return client
    # Another store's host has no name for each bucket.
    by_path = Config(s3={"payload_signing_enabled": False, "addressing_style": "path"})
    return session.client("s3", config=calls.merge(by_path), endpoint_url=endpoint_url)


def seconds_left(credentials: "Credentials") -> int | None:
    """Return how long the credentials are good, renewed if they are due; None where their end isn't known.

    Lambda's environment variables name no end; credentials of a container, an instance or an assumed role have one.
    """
    credentials.get_frozen_credentials()
    # botocore tells it by no public name.
    ends_at: datetime | None = getattr(credentials, "_expiry_time", None)
    return None if ends_at is None else max(1, int((ends_at - datetime.now(UTC)).total_seconds()))


def error_code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def answers() -> Iterator[None]:
    """Whatever isn't handled more closely inside: the service doesn't answer as it should."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise Unavailable(str(error)) from error

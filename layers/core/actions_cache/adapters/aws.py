"""How every boto3 client here is made, and what its errors mean."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from actions_cache.ports import Unavailable


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
        # Of bodies, TLS and the ETags that come back vouch for them; else the merge's bytes were hashed a third time.
        s3={"payload_signing_enabled": False},
    )


QUICK_CALLS = _config(read_timeout=5, attempts=2)
"""Where somebody waits: a call that hangs is given up well before API Gateway gives up on us, at 29 s."""

LONG_CALLS = _config(read_timeout=60, attempts=4)
"""The merge's: a copy of 256 MiB, and the Complete of 10,000 parts, take S3 a while."""


def error_code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def answers() -> Iterator[None]:
    """Whatever isn't handled more closely inside: the service doesn't answer as it should."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise Unavailable(str(error)) from error

"""How every boto3 client here is made, and what its errors mean."""

import logging
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.hooks import BaseEventHooks
from botocore.model import OperationModel
from botocore.parsers import ResponseParserError

from actions_cache.ports import Unavailable

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_s3 import S3Client

logger = logging.getLogger(__name__)


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
            # TLS and the returned ETags vouch for bodies; signing payloads would hash the merge's a third time.
            "payload_signing_enabled": False,
            # This addresses the bucket's own host, <bucket>.s3.<region>.amazonaws.com. By default, boto3 presigns for
            # S3's global host, which answers 307 while a bucket is new, and always 400 in regions launched after March
            # 2019:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
            "addressing_style": "virtual",
            "us_east_1_regional_endpoint": "regional",
        },
    )


QUICK_CALLS = _config(read_timeout=5, attempts=2)
"""Where somebody waits: a call that hangs is given up well before API Gateway gives up on us, at 29 s."""

LONG_CALLS = _config(read_timeout=60, attempts=4)
"""The merge's: a copy of 256 MiB, and the Complete of 10,000 parts, take S3 a while."""


Session = boto3.Session


def new_session() -> Session:
    session = boto3.Session()
    mistrust_strangers(session.events)
    return session


def s3_client(session: Session, calls: Config) -> "S3Client":
    """Return a client that asks S3 at a bucket's regional host, and any other endpoint by path.

    Args:
        session: source of the credentials, region and endpoint variables.
        calls: QUICK_CALLS or LONG_CALLS.
    """
    client = session.client("s3", config=calls)
    if ".amazonaws.com" in client.meta.endpoint_url:
        return client
    # Another store's host has no name for each bucket.
    by_path = Config(s3={"payload_signing_enabled": False, "addressing_style": "path"})
    return session.client("s3", config=calls.merge(by_path))


def seconds_left(credentials: "Credentials") -> int | None:
    """Return how long the credentials last, renewing them if they are due; None if they have no known end.

    Lambda's environment variables name no end; credentials of a container, an instance or an assumed role have one.
    """
    credentials.get_frozen_credentials()
    # botocore has no public name for it.
    ends_at: datetime | None = getattr(credentials, "_expiry_time", None)
    return None if ends_at is None else max(1, int((ends_at - datetime.now(UTC)).total_seconds()))


def mistrust_strangers(events: BaseEventHooks) -> None:
    """Make botocore treat any answer that isn't a service's own success as a 502, which it tries again.

    Otherwise a proxy's page under status 200 would be read as an empty answer: a missing item, an empty bucket.
    """
    events.register_first("before-parse.*.*", _mistrust, unique_id="mistrust-strangers")
    events.register_first("needs-retry.*.*", _believe_the_mistrust, unique_id="believe-the-mistrust")


def _mistrust(operation_model: OperationModel, response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] < HTTPStatus.MULTIPLE_CHOICES and not _is_plausible(
        operation_model, response_dict["body"]
    ):
        response_dict["status_code"] = HTTPStatus.BAD_GATEWAY


def _believe_the_mistrust(response: tuple[Any, Mapping[str, Any]] | None, **_: object) -> None:
    """Replace the parsed answer, as botocore's own check of S3's does, so that retries and errors follow from it."""
    if response is not None:
        answer, parsed = response
        answer.status_code = parsed["ResponseMetadata"].get("HTTPStatusCode", answer.status_code)


def _is_plausible(operation: OperationModel, body: bytes) -> bool:
    if operation.has_streaming_output or not _has_body(operation):
        return True
    start = body.lstrip()[:15].lower()
    if operation.service_model.protocol.endswith("json"):
        return start.startswith(b"{")
    return start.startswith(b"<") and not start.startswith((b"<html", b"<!doctype html"))


def _has_body(operation: OperationModel) -> bool:
    """Return whether a success has a body."""
    members = operation.output_shape.members.values() if operation.output_shape else ()
    return any("location" not in member.serialization for member in members)


def error_code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def answers() -> Iterator[None]:
    """Whatever isn't handled more closely inside: the service doesn't answer as it should."""
    try:
        yield
    except ClientError as error:
        note_refusal(error)
        raise Unavailable(str(error)) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise Unavailable(str(error)) from error
    except KeyError as error:
        raise Unavailable(f"an answer lacks {error}") from error


# ---------------------------------------------------------------- missing permissions

REFUSED = frozenset({"403", "AccessDenied", "AccessDeniedException"})
"""Codes of a refusal: the answer to a HEAD has no body, so botocore reports its status."""

S3_ACTIONS: Mapping[str, str] = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObjects": "s3:DeleteObject",
    "GetObject": "s3:GetObject, or s3:ListBucket if the object is missing",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject, or s3:ListBucket if the object is missing",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:PutObject or s3:GetObject",
}
"""Permissions where S3's answer doesn't name them:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html."""

_NAMED_ACTION = re.compile(r"not authorized to perform: ([\w-]+:\w+)")

_told: set[str] = set()
"""Missing permissions that this process has logged."""


def note_refusal(error: ClientError) -> None:
    """Log once which permission the role lacks, if any: a fault of the deployment, and no outage."""
    if error_code(error) in REFUSED:
        note_denied(error.operation_name, error.response.get("Error", {}).get("Message", ""))


def note_denied(operation: str, said: str) -> None:
    named = _NAMED_ACTION.search(said)
    permission = named[1] if named else S3_ACTIONS.get(operation, operation)
    if permission not in _told:
        _told.add(permission)
        logger.error(
            "the function's role lacks a permission: %s", permission, extra={"permission": permission, "said": said}
        )


def create_ssl_context(extra_certificates: str | None) -> ssl.SSLContext | None:
    """The public authorities and these; None, the library's own choice, where there are no more.

    Args: extra_certificates: as settings.EXTRA_CA_CERTIFICATES has checked them: PEM.
    """
    if extra_certificates is None:
        return None
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=extra_certificates)
    return context

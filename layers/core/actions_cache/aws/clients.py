"""Sessions and clients of boto3, and the translation of their errors."""

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
        # By default, boto3 adds a CRC32 to uploaded parts, which the multipart upload wasn't created with.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            # TLS and the returned ETags protect bodies; signing them would hash the bytes of a merge a third time.
            "payload_signing_enabled": False,
            # URLs have the bucket's regional host, <bucket>.s3.<region>.amazonaws.com. By default, boto3 presigns for
            # S3's global host, which answers 307 while a bucket is new, and always 400 in regions launched after March
            # 2019: https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
            "addressing_style": "virtual",
            "us_east_1_regional_endpoint": "regional",
        },
    )


QUICK_CALLS = _config(read_timeout=5, attempts=2)
"""Timeouts for calls for which a client waits. Longer: API Gateway, which waits 29 s, may give up first. Shorter: slow
responses are given up."""

LONG_CALLS = _config(read_timeout=60, attempts=4)
"""Timeouts for the calls of a merge: S3 needs a while for a copy of 256 MiB or for completing 10,000 parts. Longer: a
merge notices later that S3 hangs. Shorter: slow copies are given up."""

Session = boto3.Session
"""The type of a session, for functions, which don't import boto3."""


def new_session() -> Session:
    """Return a session whose clients retry implausible responses."""
    session = boto3.Session()
    retry_implausible_responses(session.events)
    return session


def s3_client(session: Session, calls: Config) -> "S3Client":
    """Return a client that uses a bucket's regional host on AWS, and path-style addresses at any other endpoint.

    Args:
        session: The session with credentials, region and endpoint.
        calls: QUICK_CALLS or LONG_CALLS.
    """
    client = session.client("s3", config=calls)
    if ".amazonaws.com" in client.meta.endpoint_url:
        return client
    # Other stores have no host name for each bucket.
    by_path = Config(s3={"payload_signing_enabled": False, "addressing_style": "path"})
    return session.client("s3", config=calls.merge(by_path))


def seconds_left(credentials: "Credentials") -> int | None:
    """Return how long the credentials last, after renewing them if they are due; None if no end is known.

    Lambda's environment variables don't tell the end; credentials of a container, an instance or an assumed role have
    one.
    """
    credentials.get_frozen_credentials()
    # botocore has no public name for the end.
    ends_at: datetime | None = getattr(credentials, "_expiry_time", None)
    return None if ends_at is None else max(1, int((ends_at - datetime.now(UTC)).total_seconds()))


def retry_implausible_responses(events: BaseEventHooks) -> None:
    """Make botocore treat any success that can't come from the service itself as a 502, which it retries.

    Otherwise a proxy's page with status 200 would be read as an empty response: a missing item, an empty bucket.
    """
    events.register_first("before-parse.*.*", _refuse_implausible, unique_id="refuse-implausible")
    events.register_first("needs-retry.*.*", _apply_parsed_status, unique_id="apply-parsed-status")


def _refuse_implausible(operation_model: OperationModel, response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] < HTTPStatus.MULTIPLE_CHOICES and not _is_plausible(
        operation_model, response_dict["body"]
    ):
        response_dict["status_code"] = HTTPStatus.BAD_GATEWAY


def _apply_parsed_status(response: tuple[Any, Mapping[str, Any]] | None, **_: object) -> None:
    """Set the changed status on the response, as botocore's own check of S3 does, so that retries and errors follow."""
    if response is not None:
        http_response, parsed = response
        http_response.status_code = parsed["ResponseMetadata"].get("HTTPStatusCode", http_response.status_code)


def _is_plausible(operation: OperationModel, body: bytes) -> bool:
    if operation.has_streaming_output or not _has_body(operation):
        return True
    start = body.lstrip()[:15].lower()
    if operation.service_model.protocol.endswith("json"):
        return start.startswith(b"{")
    return start.startswith(b"<") and not start.startswith((b"<html", b"<!doctype html"))


def _has_body(operation: OperationModel) -> bool:
    """Return whether a successful response of the operation has a body."""
    members = operation.output_shape.members.values() if operation.output_shape else ()
    return any("location" not in member.serialization for member in members)


def error_code(error: ClientError) -> str:
    """Return AWS's code of the error, or an empty string."""
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate boto3's errors, unless they are handled inside the block.

    Raises:
        Unavailable: the service didn't respond as it should.
    """
    try:
        yield
    except ClientError as error:
        log_denied_permission(error)
        raise Unavailable(str(error)) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise Unavailable(str(error)) from error
    except KeyError as error:
        raise Unavailable(f"an answer lacks {error}") from error


# ---------------------------------------------------------------- missing permissions

REFUSED = frozenset({"403", "AccessDenied", "AccessDeniedException"})
"""Codes of a denied permission: the response to a HEAD has no body, so botocore reports its status."""

S3_ACTIONS: Mapping[str, str] = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObjects": "s3:DeleteObject",
    "GetObject": "s3:GetObject, or s3:ListBucket if the object is missing",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject, or s3:ListBucket if the object is missing",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
    "ListParts": "s3:ListMultipartUploadParts",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:PutObject or s3:GetObject",
}
"""Permissions that S3's operations need, since its responses don't name them:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html."""

_NAMED_ACTION = re.compile(r"not authorized to perform: ([\w-]+:\w+)")

_logged: set[str] = set()
"""Missing permissions that this process has logged."""


def log_denied_permission(error: ClientError) -> None:
    """Log the permission that the role lacks, if that caused the error: the deployment is wrong, and AWS isn't down."""
    if error_code(error) in REFUSED:
        log_denied_operation(error.operation_name, error.response.get("Error", {}).get("Message", ""))


def log_denied_operation(operation: str, message: str) -> None:
    """Log, once for each process, the permission that the role lacks for an operation.

    Args:
        operation: The name of the operation.
        message: AWS's message, which may name the permission.
    """
    named = _NAMED_ACTION.search(message)
    permission = named[1] if named else S3_ACTIONS.get(operation, operation)
    if permission not in _logged:
        _logged.add(permission)
        logger.error(
            "the function's role lacks a permission: %s", permission, extra={"permission": permission, "said": message}
        )


# ---------------------------------------------------------------- TLS


def create_ssl_context(extra_certificates: str | None) -> ssl.SSLContext | None:
    """Return a context that trusts the public authorities and these; None, for the library's default, without these.

    Args:
        extra_certificates: Certificates in PEM, as checked by settings.EXTRA_CA_CERTIFICATES.
    """
    if extra_certificates is None:
        return None
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=extra_certificates)
    return context

"""The bucket in S3, with boto3."""

import hmac
from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from botocore.exceptions import ClientError, NoCredentialsError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_exponential, wait_random

from actions_cache.aws.clients import REFUSED, error_code, log_denied_operation, seconds_left, translate_errors
from actions_cache.domain.archive import OCTET_STREAM, Part
from actions_cache.domain.checksum import etag_of, etags_conflict
from actions_cache.domain.direct_upload import MAX_DIRECT_PARTS, DirectUrls, SentPart
from actions_cache.domain.object_keys import ROOT, archive_of_prefix, archive_prefix_after
from actions_cache.domain.part_list import PartList, SignedPart
from actions_cache.domain.ranges import PartRange
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.ports import MultipartUpload, ObjectGone, Unavailable, UploadedPart, WriteConflict, WrongBytes

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials
    from mypy_boto3_s3 import S3Client

DELETE_BATCH = 1000
"""Most keys that one DeleteObjects takes."""

GONE = frozenset({"404", "NoSuchKey", "412", "PreconditionFailed"})
"""Codes for a pinned object that isn't there, or is another one."""

TAKEN = frozenset({"412", "PreconditionFailed"})
"""Codes for a key that is taken, in a write that mustn't replace an object."""

CONTENDED = frozenset({"409", "ConditionalRequestConflict", "OperationAborted"})
"""Codes for a concurrent write of the key. A retry succeeds, or finds the key taken.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html."""

TEMPORARY = frozenset({"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted"})
"""Codes of temporary errors of single keys in the response to DeleteObjects, which botocore considers a success.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html."""


class Contended(Unavailable):
    """Raised when others write the same keys, or S3 is busy with them; a retry may succeed."""


again_while_contended = retry(
    retry=retry_if_exception_type(Contended),
    stop=stop_after_attempt(5) | stop_after_delay(10),
    wait=wait_exponential(multiplier=0.2, max=3) + wait_random(0, 0.2),
    reraise=True,
)


class S3Bucket:
    """See ports.Bucket. A missing object is a 404 only to a role with ListBucket; without it, a 403."""

    def __init__(self, client: "S3Client", name: str, credentials: "Credentials | None" = None) -> None:
        """Use a bucket.

        Args:
            client: The client for all calls.
            name: The bucket's name.
            credentials: The client's credentials, so that no presigned URL claims to outlive them.
        """
        self._s3 = client
        self._name = name
        self._credentials = credentials

    def list(self, prefix: str, after: str = "") -> Iterator[Part]:
        pages = self._s3.get_paginator("list_objects_v2")
        with translate_errors():
            for page in pages.paginate(Bucket=self._name, Prefix=prefix, StartAfter=after):
                for found in page.get("Contents", ()):
                    yield Part(found["Key"], found["Size"], found["ETag"])

    def archive_ids(self, after: str) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2")
        with translate_errors():
            for page in pages.paginate(
                Bucket=self._name, Prefix=ROOT, Delimiter="/", StartAfter=archive_prefix_after(after)
            ):
                for found in page.get("CommonPrefixes", ()):
                    yield archive_of_prefix(found["Prefix"])

    def stat(self, key: str) -> Part | None:
        with translate_errors():
            try:
                head = self._s3.head_object(Bucket=self._name, Key=key)
            except ClientError as error:
                if error_code(error) in GONE:
                    return None
                raise
            return Part(key, head["ContentLength"], head["ETag"])

    # boto3 retries only until the headers arrive, not when a body breaks off.
    @retry(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_attempt(6) | stop_after_delay(10),
        wait=wait_exponential(multiplier=0.2, max=3) + wait_random(0, 0.2),
        reraise=True,
    )
    def read(self, source: PartRange) -> bytes:
        with translate_errors(), _pinned(source.part):
            if source.is_whole:
                found = self._s3.get_object(Bucket=self._name, Key=source.part.key, IfMatch=source.part.etag)
            else:
                found = self._s3.get_object(
                    Bucket=self._name,
                    Key=source.part.key,
                    IfMatch=source.part.etag,
                    Range=_http_range(source),
                )
            body = found["Body"].read()
        if len(body) != source.size:
            raise Unavailable(f"{source.part.key}: {len(body)} bytes of {source.size}")
        if source.is_whole and etags_conflict(etag_of([body]), source.part.etag):
            raise WrongBytes(source.part, f"bytes came whose ETag is {etag_of([body])}")
        return body

    @again_while_contended
    def write_once(self, key: str, body: bytes) -> Part:
        with translate_errors():
            try:
                written = self._s3.put_object(
                    Bucket=self._name, Key=key, Body=body, IfNoneMatch="*", ContentType=OCTET_STREAM
                )
            except ClientError as error:
                if error_code(error) in CONTENDED:
                    raise Contended(str(error)) from error
                if error_code(error) not in TAKEN:
                    raise
                # A retry finds its own object if the first response was lost.
                existing = self.stat(key)
                if existing != Part(key, len(body), etag_of([body])):
                    raise WriteConflict(key) from error
                return existing
            return Part(key, len(body), written["ETag"])

    def delete(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), DELETE_BATCH):
            self._delete([*keys[start : start + DELETE_BATCH]])

    @again_while_contended
    def _delete(self, left: MutableSequence[str]) -> None:
        """Delete keys.

        Args:
            left: The keys. Those that were deleted are removed from it, so that a retry deletes only the rest.
        """
        with translate_errors():
            response = self._s3.delete_objects(
                Bucket=self._name, Delete={"Objects": [{"Key": key} for key in left], "Quiet": True}
            )
        errors = response.get("Errors", [])
        if not errors:
            return
        left[:] = [error.get("Key", "") for error in errors]
        message = f"{len(errors)} objects not deleted, the first: {errors[0]}"
        lasting = [error for error in errors if error.get("Code") not in TEMPORARY]
        if not lasting:
            raise Contended(message)
        if lasting[0].get("Code") in REFUSED:
            log_denied_operation("DeleteObjects", lasting[0].get("Message", ""))
        raise Unavailable(message)

    def presign_download(self, part: Part, seconds: int) -> str:
        with translate_errors():
            if self._credentials is not None:
                seconds = min(seconds, seconds_left(self._credentials) or seconds)
            return self._s3.generate_presigned_url(
                "get_object", Params={"Bucket": self._name, "Key": part.key}, ExpiresIn=seconds
            )

    def presign_parts(self, parts: Iterable[Part], seconds: int) -> PartList:
        with translate_errors():
            return self._presigner.presigned(parts, seconds)

    def presign_uploads(self, upload: MultipartUpload, blob_key: str, seconds: int) -> DirectUrls:
        with translate_errors():
            return self._presigner.presigned_uploads(upload, blob_key, seconds)

    @cached_property
    def _presigner(self) -> "Presigner":
        if self._credentials is None:
            raise NoCredentialsError
        return Presigner(self._s3, self._name, self._credentials)

    def start_upload(self, key: str) -> MultipartUpload:
        with translate_errors():
            started = self._s3.create_multipart_upload(Bucket=self._name, Key=key, ContentType=OCTET_STREAM)
            return MultipartUpload(key, started["UploadId"])

    def sent_parts(self, upload: MultipartUpload) -> Sequence[SentPart] | None:
        pages = self._s3.get_paginator("list_parts")
        with translate_errors():
            try:
                arrived = [
                    found
                    for page in pages.paginate(Bucket=self._name, Key=upload.key, UploadId=upload.upload_id)
                    for found in page.get("Parts", ())
                ]
            except ClientError as error:
                if error_code(error) != "NoSuchUpload":
                    raise
                return None
            # SeaweedFS also lists parts that were replaced.
            arrived.sort(key=lambda found: found["LastModified"])
            newest = {found["PartNumber"]: found for found in arrived}
            return [SentPart(number, found["Size"], found["ETag"]) for number, found in sorted(newest.items())]

    def copy_part(self, upload: MultipartUpload, number: int, source: PartRange) -> UploadedPart:
        # botocore refuses None for a parameter that isn't wanted.
        byte_range = {} if source.is_whole else {"CopySourceRange": _http_range(source)}
        with translate_errors(), _pinned(source.part):
            copied = self._s3.upload_part_copy(
                Bucket=self._name,
                Key=upload.key,
                UploadId=upload.upload_id,
                PartNumber=number,
                CopySource={"Bucket": self._name, "Key": source.part.key},
                CopySourceIfMatch=source.part.etag,
                **byte_range,  # type: ignore[arg-type]
            )
            return UploadedPart(number, copied["CopyPartResult"]["ETag"])

    def upload_part(self, upload: MultipartUpload, number: int, body: bytes) -> UploadedPart:
        with translate_errors():
            uploaded = self._s3.upload_part(
                Bucket=self._name, Key=upload.key, UploadId=upload.upload_id, PartNumber=number, Body=body
            )
            return UploadedPart(number, uploaded["ETag"])

    def complete_upload(self, upload: MultipartUpload, parts: Sequence[UploadedPart]) -> None:
        with translate_errors():
            try:
                self._s3.complete_multipart_upload(
                    Bucket=self._name,
                    Key=upload.key,
                    UploadId=upload.upload_id,
                    MultipartUpload={"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]},
                )
            except ClientError as error:
                # A retry finds no upload if the first response was lost; the caller looks at the object.
                if error_code(error) != "NoSuchUpload":
                    raise

    def abort_upload(self, upload: MultipartUpload) -> None:
        with translate_errors():
            try:
                self._s3.abort_multipart_upload(Bucket=self._name, Key=upload.key, UploadId=upload.upload_id)
            except ClientError as error:
                if error_code(error) != "NoSuchUpload":
                    raise

    def uploads(self, prefix: str) -> Iterator[tuple[MultipartUpload, Millis]]:
        pages = self._s3.get_paginator("list_multipart_uploads")
        with translate_errors():
            for page in pages.paginate(Bucket=self._name, Prefix=prefix):
                for found in page.get("Uploads", ()):
                    started_at = int(found["Initiated"].timestamp() * SECOND)
                    yield MultipartUpload(found["Key"], found["UploadId"]), started_at

    def check(self) -> None:
        with translate_errors():
            self._s3.head_bucket(Bucket=self._name)


def _http_range(source: PartRange) -> str:
    return f"bytes={source.start}-{source.end - 1}"


@contextmanager
def _pinned(part: Part) -> Iterator[None]:
    """Translate the errors of a request that names the part's ETag.

    Raises:
        ObjectGone: there is no object under the key, or another one.
    """
    try:
        yield
    except ClientError as error:
        if error_code(error) in GONE:
            raise ObjectGone(part) from error
        raise


# ---------------------------------------------------------------- signatures

ALGORITHM = "AWS4-HMAC-SHA256"
"""Name of AWS's Signature Version 4:
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html."""


class SigningKeys:
    """Derives the keys of Signature Version 4 for one region, and keeps the last one, which is good for a day."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._known: tuple[str, str, bytes] = ("", "", b"")

    def scope(self, day: str) -> str:
        return f"{day}/{self._region}/s3/aws4_request"

    def sign(self, secret: str, time: str, request: str) -> str:
        """Return the signature, in hexadecimal digits.

        Args:
            secret: The secret access key.
            time: The time of signing, as in 20261201T131415Z.
            request: The canonical request.
        """
        day = time[:8]
        to_sign = f"{ALGORITHM}\n{time}\n{self.scope(day)}\n{sha256(request.encode()).hexdigest()}"
        return _hmac(self._key(secret, day), to_sign).hex()

    def _key(self, secret: str, day: str) -> bytes:
        known_secret, known_day, key = self._known
        if (known_secret, known_day) != (secret, day):
            key = f"AWS4{secret}".encode()
            for step in self.scope(day).split("/"):
                key = _hmac(key, step)
            self._known = (secret, day, key)
        return key


UPLOAD_HEADERS = {"content-type": OCTET_STREAM, "if-none-match": "*"}
"""Headers of a presigned PutObject. S3 refuses the request without them, as they are signed, and with the second one it
never replaces an object: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html."""


class Presigner:
    """Presigns a thousand URLs in the time in which boto3 presigns some twenty.

    They are the same URLs. The signing key, and all that their queries have in common, are made once.
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html.
    """

    def __init__(self, client: "S3Client", bucket: str, credentials: "Credentials") -> None:
        self._base = bucket_url(client, bucket)
        base = urlsplit(self._base)
        self._path = base.path
        # As clients send it, without the default port.
        self._host = base.netloc.removesuffix({"https": ":443"}.get(base.scheme, ":80"))
        self._keys = SigningKeys(client.meta.region_name)
        self._credentials = credentials

    def presigned(self, parts: Iterable[Part], seconds: int) -> PartList:
        """Return URLs that last so long, or as long as the credentials if that is shorter."""
        signing = self._signing(seconds)
        query = signing.query()
        rest = signing.rest(query)

        def signed(part: Part) -> SignedPart:
            path = quote(part.key, safe="/")
            return SignedPart(path, part.size, part.etag, signing.sign(f"GET\n{self._path}{path}\n{rest}"))

        return PartList(self._base, "&".join(query), tuple(map(signed, parts)))

    def presigned_uploads(self, upload: MultipartUpload, blob_key: str, seconds: int) -> DirectUrls:
        """Return URLs that last so long, or as long as the credentials if that is shorter."""
        signing = self._signing(seconds)
        upload_id = f"uploadId={quote(upload.upload_id, safe='')}"
        query, path = [*signing.query(), upload_id], quote(upload.key, safe="/")
        of_blob, blob_path = signing.query(UPLOAD_HEADERS), quote(blob_key, safe="/")
        signatures = tuple(
            signing.sign(f"PUT\n{self._path}{path}\n{signing.rest([*query, f'partNumber={number}'])}")
            for number in range(1, MAX_DIRECT_PARTS + 1)
        )
        look = signing.sign(f"GET\n{self._path}{path}\n{signing.rest(query)}")
        blob = signing.sign(f"PUT\n{self._path}{blob_path}\n{signing.rest(of_blob, UPLOAD_HEADERS)}")
        part_url = f"{self._base}{path}?{'&'.join(query)}"
        return DirectUrls(
            look=f"{part_url}&X-Amz-Signature={look}",
            blob=f"{self._base}{blob_path}?{'&'.join(of_blob)}&X-Amz-Signature={blob}",
            blob_headers=tuple(UPLOAD_HEADERS.items()),
            part=part_url,
            signatures=signatures,
        )

    def _signing(self, seconds: int) -> "_Signing":
        seconds = min(seconds, seconds_left(self._credentials) or seconds)
        time = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        return _Signing(self._keys, self._credentials.get_frozen_credentials(), self._host, time, seconds)


@dataclass(frozen=True, slots=True)
class _Signing:
    """Signs URLs at one time, with all that they have in common."""

    keys: SigningKeys
    credentials: "ReadOnlyCredentials"
    host: str
    time: str
    seconds: int

    def query(self, headers: Mapping[str, str] | None = None) -> Sequence[str]:
        """Return the parameters, for a request that has these headers beside Host."""
        query = {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.credentials.access_key}/{self.keys.scope(self.time[:8])}",
            "X-Amz-Date": self.time,
            "X-Amz-Expires": str(self.seconds),
            "X-Amz-SignedHeaders": ";".join(sorted({"host", *(headers or {})})),
        }
        if self.credentials.token:
            query["X-Amz-Security-Token"] = self.credentials.token
        return [f"{name}={quote(value, safe='')}" for name, value in query.items()]

    def rest(self, query: Sequence[str], headers: Mapping[str, str] | None = None) -> str:
        """Return what follows the path in the canonical request."""
        lines = sorted({"host": self.host, **(headers or {})}.items())
        names = ";".join(name for name, _ in lines)
        headed = "".join(f"{name}:{value}\n" for name, value in lines)
        return f"{'&'.join(sorted(query))}\n{headed}\n{names}\nUNSIGNED-PAYLOAD"

    def sign(self, request: str) -> str:
        return self.keys.sign(self.credentials.secret_key or "", self.time, request)


def bucket_url(client: "S3Client", bucket: str) -> str:
    """Return the URL with which those of the bucket's objects begin; boto3 knows how to address it at this endpoint."""
    presigned = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "-"})
    return presigned.partition("?")[0].removesuffix("-")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")

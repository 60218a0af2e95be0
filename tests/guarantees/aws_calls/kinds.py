"""Lists answers that AWS gives and local engines don't, each with where it is documented or reported.

botocore's models name few of these: S3's lists no SlowDown and no redirect, DynamoDB's no throttled reason.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from urllib3.exceptions import ProtocolError

Effect = Callable[[], AWSResponse]
"""Lets the engine do what was asked."""

Answer = Callable[[AWSPreparedRequest, str, Effect], AWSResponse]
"""Returns an answer in place of the engine's, from the request, its operation and its effect. Raises what botocore's
HTTP client would."""

OUTAGE = "as for a short outage"
CONFLICT = "tried again at once, with jitter; then as for a short outage"
DEPLOYMENT = "as for a short outage, and the log names the permission that lacks, once"


@dataclass(frozen=True)
class Kind:
    name: str
    service: str
    operations: frozenset[str]
    source: str
    answer: Answer
    outcome: str = OUTAGE
    takes_effect: bool = False
    """True if the call may have taken effect despite the error."""

    def __str__(self) -> str:
        return self.name


# ---------------------------------------------------------------- forms of answers


class _Raw(BytesIO):
    """Provides a body as urllib3 does."""

    def __init__(self, body: bytes, *, breaks: bool = False) -> None:
        super().__init__(body)
        self._breaks = breaks

    def read(self, size: int | None = -1, **_: Any) -> bytes:
        piece = super().read(size)
        if not piece and self._breaks:
            raise ProtocolError("Connection broken: IncompleteRead")
        return piece

    def stream(self, **_: Any) -> Any:
        while piece := self.read():
            yield piece


def body_of(request: AWSPreparedRequest) -> Any:
    assert isinstance(request.body, bytes | str)
    return json.loads(request.body)


def _respond(request: AWSPreparedRequest, status: int, body: bytes, **headers: str) -> AWSResponse:
    return AWSResponse(request.url, status, {**headers, "Content-Length": str(len(body))}, _Raw(body))  # type: ignore[arg-type]


def _json(status: int, code: str, message: str = "made up by a test", **more: Any) -> Answer:
    def answer(request: AWSPreparedRequest, _: str, __: Effect) -> AWSResponse:
        body = json.dumps({"__type": f"com.amazonaws.test#{code}", "message": message, **more}).encode()
        headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-RequestId": "TEST", "x-amzn-errortype": code}
        return _respond(request, status, body, **headers)

    return answer


def xml_error(code: str, message: str = "made up by a test", more: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}'
        "<RequestId>TEST</RequestId></Error>"
    ).encode()


def _xml(status: int, code: str, message: str = "made up by a test", more: str = "", **headers: str) -> Answer:
    """Return an XML error; the answer to a HEAD has no body, so only its status tells."""

    def answer(request: AWSPreparedRequest, _: str, __: Effect) -> AWSResponse:
        body = b"" if request.method == "HEAD" else xml_error(code, message, more)
        return _respond(request, status, body, **{"Content-Type": "application/xml", **headers})

    return answer


def _canceled(*reasons: str) -> Answer:
    """Return a canceled transaction with reasons for the first items; the others have none."""

    def answer(request: AWSPreparedRequest, operation: str, effect: Effect) -> AWSResponse:
        count = len(body_of(request)["TransactItems"])
        codes = [*reasons[:count], *["None"] * (count - len(reasons))]
        message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(codes)}]"
        listed = [{"Code": code} if code == "None" else {"Code": code, "Message": "made up"} for code in codes]
        canceled = _json(400, "TransactionCanceledException", message, CancellationReasons=listed)
        return canceled(request, operation, effect)

    return answer


def _page(status: int, body: bytes) -> Answer:
    return lambda request, _, __: _respond(request, status, body, **{"Content-Type": "text/html"})


def _raises(error: Callable[[str], Exception]) -> Answer:
    def answer(request: AWSPreparedRequest, _: str, __: Effect) -> AWSResponse:
        raise error(request.url or "")

    return answer


def _lost(request: AWSPreparedRequest, _: str, effect: Effect) -> AWSResponse:
    effect()
    raise ConnectionClosedError(endpoint_url=request.url)


def _cut(request: AWSPreparedRequest, _: str, effect: Effect) -> AWSResponse:
    """Return half of the body. For an answer that isn't streamed, botocore's HTTP client reports that it broke."""
    whole = effect()
    body = whole.raw.read()
    if not request.stream_output:
        raise ConnectionClosedError(endpoint_url=request.url)
    return AWSResponse(request.url, whole.status_code, whole.headers, _Raw(body[: len(body) // 2], breaks=True))  # type: ignore[arg-type]


def _early(request: AWSPreparedRequest, _: str, effect: Effect) -> AWSResponse:
    """Return half of the body, and an orderly end."""
    whole = effect()
    body = whole.raw.read()
    if not request.stream_output:
        raise ConnectionClosedError(endpoint_url=request.url)
    headers = {**whole.headers, "Content-Length": str(len(body))}
    return AWSResponse(request.url, whole.status_code, headers, _Raw(body[: len(body) // 2]))  # type: ignore[arg-type]


def _malformed(request: AWSPreparedRequest, _: str, effect: Effect) -> AWSResponse:
    """Return an XML document that breaks off, with the length that it has."""
    body = effect().content
    return _respond(request, 200, body[: len(body) // 2], **{"Content-Type": "application/xml"})


def _unprocessed(request: AWSPreparedRequest, _: str, __: Effect) -> AWSResponse:
    """Return an answer in which no key was looked at."""
    asked = body_of(request)["RequestItems"]
    body = json.dumps({"Responses": {}, "UnprocessedKeys": asked}).encode()
    return _respond(request, 200, body, **{"Content-Type": "application/x-amz-json-1.0"})


def _keys_fail(code: str) -> Answer:
    """Return a DeleteObjects answer in which every key stays, under status 200."""

    def answer(request: AWSPreparedRequest, _: str, __: Effect) -> AWSResponse:
        keys = str(request.body.decode() if isinstance(request.body, bytes) else request.body).split("<Key>")[1:]
        rows = "".join(
            f"<Error><Key>{key.partition('<')[0]}</Key><Code>{code}</Code><Message>made up</Message></Error>"
            for key in keys
        )
        body = f'<?xml version="1.0" encoding="UTF-8"?><DeleteResult>{rows}</DeleteResult>'.encode()
        return _respond(request, 200, body, **{"Content-Type": "application/xml"})

    return answer


# ---------------------------------------------------------------- DynamoDB

DYNAMODB_READS = frozenset({"BatchGetItem", "GetItem", "Query", "Scan"})
DYNAMODB_WRITES = frozenset({"DeleteItem", "PutItem", "UpdateItem"})
TRANSACTIONS = frozenset({"TransactWriteItems"})
DYNAMODB = DYNAMODB_READS | DYNAMODB_WRITES | TRANSACTIONS

ERRORS_OF_DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html"
ERRORS_OF_TRANSACTIONS = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html#API_TransactWriteItems_Errors"
CONFLICTS = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-conflict-handling"
COMMON_ERRORS = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html"
NOT_AUTHORIZED = (
    "User: arn:aws:sts::123456789012:assumed-role/role/function is not authorized to perform: {action} on resource: "
    "arn:aws:test because no identity-based policy allows the {action} action"
)


def _dynamodb(
    name: str, answer: Answer, source: str = ERRORS_OF_DYNAMODB, operations: frozenset[str] = DYNAMODB, **more: Any
) -> Kind:
    return Kind(name, "dynamodb", operations, source, answer, **more)


def _not_authorized(service: str) -> Answer:
    def answer(request: AWSPreparedRequest, operation: str, effect: Effect) -> AWSResponse:
        said = NOT_AUTHORIZED.format(action=f"{service}:{operation}")
        return _json(400, "AccessDeniedException", said)(request, operation, effect)

    return answer


OF_DYNAMODB = (
    _dynamodb(
        "TransactionConflictException",
        _json(400, "TransactionConflictException", "Transaction is ongoing for the item"),
        CONFLICTS,
        DYNAMODB_WRITES,
        outcome=CONFLICT,
    ),
    _dynamodb("ThrottlingException", _json(400, "ThrottlingException", "Rate of requests exceeds the allowed")),
    _dynamodb("ProvisionedThroughputExceeded", _json(400, "ProvisionedThroughputExceededException")),
    _dynamodb("RequestLimitExceeded", _json(400, "RequestLimitExceeded")),
    _dynamodb("InternalServerError", _json(500, "InternalServerError")),
    _dynamodb("503 ServiceUnavailable", _page(503, b"")),
    _dynamodb(
        "table not ready",
        _json(400, "ResourceNotFoundException", "Requested resource not found"),
        "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_GetItem.html#API_GetItem_Errors",
    ),
    _dynamodb(
        "AccessDenied in a role's first seconds",
        _not_authorized("dynamodb"),
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency",
        outcome=DEPLOYMENT,
    ),
    _dynamodb(
        "400 ExpiredTokenException", _json(400, "ExpiredTokenException", "The security token is expired"), COMMON_ERRORS
    ),
    _dynamodb("UnrecognizedClientException", _json(400, "UnrecognizedClientException"), COMMON_ERRORS),
    _dynamodb(
        "UnprocessedKeys",
        _unprocessed,
        "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html",
        frozenset({"BatchGetItem"}),
        outcome="asked for again after a while, with jitter; without an end, as for a short outage",
    ),
    _dynamodb(
        "canceled: TransactionConflict",
        _canceled("TransactionConflict"),
        CONFLICTS,
        TRANSACTIONS,
        outcome=CONFLICT,
    ),
    _dynamodb(
        "canceled: ThrottlingError",
        _canceled("None", "ThrottlingError"),
        ERRORS_OF_TRANSACTIONS,
        TRANSACTIONS,
        outcome=CONFLICT,
    ),
    _dynamodb(
        "canceled: throttled and in conflict",
        _canceled("ProvisionedThroughputExceeded", "TransactionConflict"),
        ERRORS_OF_TRANSACTIONS,
        TRANSACTIONS,
        outcome=CONFLICT,
    ),
    _dynamodb(
        "canceled: ValidationError",
        _canceled("ValidationError"),
        ERRORS_OF_TRANSACTIONS,
        TRANSACTIONS,
    ),
    _dynamodb(
        "canceled: ItemCollectionSizeLimitExceeded",
        _canceled("ItemCollectionSizeLimitExceeded"),
        ERRORS_OF_TRANSACTIONS,
        TRANSACTIONS,
    ),
    _dynamodb(
        "TransactionInProgressException",
        _json(400, "TransactionInProgressException"),
        ERRORS_OF_TRANSACTIONS,
        TRANSACTIONS,
    ),
    _dynamodb(
        "IdempotentParameterMismatch",
        _json(400, "IdempotentParameterMismatchException"),
        ERRORS_OF_TRANSACTIONS,
        TRANSACTIONS,
    ),
)

# ---------------------------------------------------------------- S3

S3_READS = frozenset({"GetObject", "HeadBucket", "HeadObject", "ListObjectsV2"})
S3_COPIES = frozenset({"CompleteMultipartUpload", "UploadPartCopy"})
S3_UPLOADS = frozenset({"AbortMultipartUpload", "CreateMultipartUpload", "UploadPart"}) | S3_COPIES
S3 = S3_READS | S3_UPLOADS | {"DeleteObjects", "PutObject"}

ERRORS_OF_S3 = "https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList"


BUCKET_REGION = {"x-amz-bucket-region": "eu-central-1"}
"""Every redirect has it; otherwise botocore would look for it by a HeadBucket, which is redirected too, without end."""


def _s3(name: str, answer: Answer, source: str = ERRORS_OF_S3, operations: frozenset[str] = S3, **more: Any) -> Kind:
    return Kind(name, "s3", operations, source, answer, **more)


OF_S3 = (
    _s3(
        "503 SlowDown",
        _xml(503, "SlowDown", "Please reduce your request rate."),
        "https://repost.aws/knowledge-center/http-5xx-errors-s3",
    ),
    _s3("500 InternalError", _xml(500, "InternalError"), "https://repost.aws/knowledge-center/http-5xx-errors-s3"),
    _s3(
        "307 TemporaryRedirect",
        _xml(
            307,
            "TemporaryRedirect",
            more="<Endpoint>bucket.s3.eu-central-1.amazonaws.com</Endpoint>",
            Location="https://bucket.s3.eu-central-1.amazonaws.com/key",
            **BUCKET_REGION,
        ),
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html",
    ),
    _s3(
        "301 PermanentRedirect",
        _xml(
            301,
            "PermanentRedirect",
            more="<Endpoint>bucket.s3.eu-central-1.amazonaws.com</Endpoint>",
            **BUCKET_REGION,
        ),
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingRouting.html",
    ),
    _s3(
        "403 AccessDenied",
        _xml(403, "AccessDenied", "Access Denied"),
        "https://repost.aws/knowledge-center/s3-troubleshoot-403",
        outcome=f"{DEPLOYMENT}; an entry whose object may only be missing stays",
    ),
    _s3("400 ExpiredToken", _xml(400, "ExpiredToken", "The provided token has expired.")),
    _s3("403 InvalidAccessKeyId", _xml(403, "InvalidAccessKeyId")),
    _s3("403 SignatureDoesNotMatch", _xml(403, "SignatureDoesNotMatch")),
    _s3("403 RequestTimeTooSkewed", _xml(403, "RequestTimeTooSkewed")),
    _s3("400 RequestTimeout", _xml(400, "RequestTimeout")),
    _s3(
        "404 NoSuchBucket",
        _xml(404, "NoSuchBucket"),
        operations=S3 - {"HeadBucket", "HeadObject"},
    ),
    _s3(
        "409 OperationAborted",
        _xml(409, "OperationAborted", "A conflicting conditional operation is currently in progress"),
        operations=frozenset({"CompleteMultipartUpload", "DeleteObjects", "PutObject"}),
    ),
    _s3(
        "409 ConditionalRequestConflict",
        _xml(409, "ConditionalRequestConflict"),
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html",
        frozenset({"PutObject"}),
        outcome=CONFLICT,
    ),
    _s3(
        "200 with an error inside",
        lambda request, _, __: _respond(
            request, 200, xml_error("InternalError"), **{"Content-Type": "application/xml"}
        ),
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html",
        S3_COPIES,
    ),
    _s3(
        "200 with SlowDown inside",
        lambda request, _, __: _respond(request, 200, xml_error("SlowDown"), **{"Content-Type": "application/xml"}),
        "https://github.com/awslabs/aws-sdk-rust/issues/873",
        frozenset({"DeleteObjects"}),
    ),
    _s3(
        "200 with SlowDown for each key",
        _keys_fail("SlowDown"),
        "https://github.com/boto/boto3/issues/3052",
        frozenset({"DeleteObjects"}),
        outcome="the keys that stayed are asked for again; then as for a short outage",
    ),
    _s3(
        "200 with AccessDenied for each key",
        _keys_fail("AccessDenied"),
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html",
        frozenset({"DeleteObjects"}),
        outcome=DEPLOYMENT,
    ),
    _s3(
        "404 NoSuchUpload",
        _xml(404, "NoSuchUpload"),
        operations=S3_UPLOADS - {"CreateMultipartUpload"},
    ),
    _s3(
        "a page that breaks off",
        _malformed,
        "https://github.com/boto/boto3/issues/887",
        frozenset({"ListObjectsV2"}),
    ),
    _s3("a body that breaks off", _cut, "https://github.com/boto/botocore/issues/2745", frozenset({"GetObject"})),
    _s3("a body that ends early", _early, "https://github.com/boto/botocore/pull/210", frozenset({"GetObject"})),
)

# ---------------------------------------------------------------- other services

SQS = frozenset({"ChangeMessageVisibility", "GetQueueAttributes", "SendMessage"})
ERRORS_OF_SQS = (
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html#API_SendMessage_Errors"
)
HANDLES = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html"


def _sqs(name: str, answer: Answer, source: str = ERRORS_OF_SQS, operations: frozenset[str] = SQS, **more: Any) -> Kind:
    return Kind(name, "sqs", operations, source, answer, **more)


OF_SQS = (
    _sqs("RequestThrottled", _json(400, "RequestThrottled")),
    _sqs("KmsThrottled", _json(400, "KmsThrottled"), operations=frozenset({"SendMessage"})),
    _sqs("KmsAccessDenied", _json(400, "KmsAccessDenied"), operations=frozenset({"SendMessage"})),
    _sqs("OverLimit", _json(403, "OverLimit"), operations=frozenset({"SendMessage", "ChangeMessageVisibility"})),
    _sqs("QueueDoesNotExist, shortly after its creation", _json(400, "QueueDoesNotExist")),
    _sqs(
        "ReceiptHandleIsInvalid",
        _json(404, "ReceiptHandleIsInvalid"),
        HANDLES,
        frozenset({"ChangeMessageVisibility"}),
        outcome="the message comes back after its visibility timeout",
    ),
    _sqs("MessageNotInflight", _json(400, "MessageNotInflight"), HANDLES, frozenset({"ChangeMessageVisibility"})),
    _sqs("AccessDenied", _not_authorized("sqs"), outcome=DEPLOYMENT),
    _sqs("InternalFailure", _json(500, "InternalFailure"), COMMON_ERRORS),
)

SECRETS = frozenset({"GetSecretValue", "PutSecretValue"})
ERRORS_OF_SECRETS = (
    "https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html#API_GetSecretValue_Errors"
)


KEPT = "what was read last stands in for a while; then "


def _secret(name: str, answer: Answer, outcome: str = OUTAGE) -> Kind:
    return Kind(name, "secrets-manager", SECRETS, ERRORS_OF_SECRETS, answer, KEPT + outcome)


OF_SECRETS_MANAGER = (
    _secret("ThrottlingException", _json(400, "ThrottlingException")),
    _secret("DecryptionFailure", _json(400, "DecryptionFailure")),
    _secret("InternalServiceError", _json(500, "InternalServiceError")),
    _secret("ResourceNotFound", _json(400, "ResourceNotFoundException")),
    _secret("AccessDenied", _not_authorized("secretsmanager"), outcome=DEPLOYMENT),
)

EDGE = frozenset({"DescribeKeyValueStore", "GetKey", "PutKey"})
ERRORS_OF_EDGE = "https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_kvs_PutKey.html#API_kvs_PutKey_Errors"


def _edge(name: str, answer: Answer, operations: frozenset[str] = EDGE, **more: Any) -> Kind:
    return Kind(name, "cloudfront-keyvaluestore", operations, ERRORS_OF_EDGE, answer, **more)


OF_THE_EDGE = (
    _edge("not ready", _json(404, "ResourceNotFoundException"), frozenset({"DescribeKeyValueStore", "PutKey"})),
    _edge("ConflictException", _json(409, "ConflictException"), outcome="read, decided and written again"),
    _edge("AccessDenied", _json(403, "AccessDeniedException"), outcome=DEPLOYMENT),
    _edge("InternalServerException", _json(500, "InternalServerException")),
)

SERVICES: Mapping[str, frozenset[str]] = {
    "dynamodb": DYNAMODB,
    "s3": S3,
    "sqs": SQS,
    "secrets-manager": SECRETS,
    "cloudfront-keyvaluestore": EDGE,
}

RETRIES = "https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html"

OF_EACH = tuple(
    kind
    for service, operations in SERVICES.items()
    for kind in (
        Kind(
            "no connection",
            service,
            operations,
            RETRIES,
            _raises(lambda url: EndpointConnectionError(endpoint_url=url)),
        ),
        Kind("reset", service, operations, RETRIES, _raises(lambda url: ConnectionClosedError(endpoint_url=url))),
        Kind("silence", service, operations, RETRIES, _raises(lambda url: ReadTimeoutError(endpoint_url=url))),
        Kind("a lost answer", service, operations, RETRIES, _lost, takes_effect=True),
        Kind(
            "HTML from a proxy",
            service,
            operations,
            "https://github.com/boto/botocore/pull/478",
            _page(200, b"<!DOCTYPE html><html><body>Welcome</body></html>"),
        ),
        Kind("nothing from a proxy", service, operations, "https://github.com/boto/boto3/issues/3508", _page(200, b"")),
        Kind(
            "no credentials",
            service,
            operations,
            "https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html",
            _raises(lambda _: NoCredentialsError()),
        ),
    )
)

KINDS = (*OF_DYNAMODB, *OF_S3, *OF_SQS, *OF_SECRETS_MANAGER, *OF_THE_EDGE, *OF_EACH)


def kinds_of(service: str, operation: str) -> list[Kind]:
    return [kind for kind in KINDS if kind.service == service and operation in kind.operations]

"""Lists answers that AWS gives and local emulators don't, each with where it is documented or reported.

botocore's models name few of these: S3's lists no SlowDown and no redirect, DynamoDB's no throttled reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from tests.guarantees.aws_calls.answers import (
    Answer,
    canceled,
    error_inside,
    half,
    json_error,
    keys_fail,
    lost,
    malformed,
    not_authorized,
    page,
    raises,
    unprocessed,
    xml_error,
)

OUTAGE = "as in an outage"
CONFLICT = f"retried at once, with jitter; then {OUTAGE}"
DEPLOYMENT = f"{OUTAGE}, and the log names the missing permission once"


@dataclass(frozen=True)
class Kind:
    name: str
    service: str
    operations: frozenset[str]
    source: str
    answer: Answer
    outcome: str = OUTAGE

    def __str__(self) -> str:
        return self.name


# ---------------------------------------------------------------- DynamoDB

DYNAMODB_READS = frozenset({"BatchGetItem", "GetItem", "Query", "Scan"})
DYNAMODB_WRITES = frozenset({"DeleteItem", "PutItem", "UpdateItem"})
TRANSACTIONS = frozenset({"TransactWriteItems"})
DYNAMODB = DYNAMODB_READS | DYNAMODB_WRITES | TRANSACTIONS

DOCS_OF_DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest"
ERRORS_OF_DYNAMODB = f"{DOCS_OF_DYNAMODB}/developerguide/Programming.Errors.html"
ERRORS_OF_TRANSACTIONS = f"{DOCS_OF_DYNAMODB}/APIReference/API_TransactWriteItems.html#API_TransactWriteItems_Errors"
CONFLICTS = f"{DOCS_OF_DYNAMODB}/developerguide/transaction-apis.html#transaction-conflict-handling"
COMMON_ERRORS = f"{DOCS_OF_DYNAMODB}/APIReference/CommonErrors.html"
GET_ITEM_ERRORS = f"{DOCS_OF_DYNAMODB}/APIReference/API_GetItem.html#API_GetItem_Errors"
BATCHES = f"{DOCS_OF_DYNAMODB}/APIReference/API_BatchGetItem.html"
NEW_ROLES = (
    "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency"
)

REREAD = f"asked for again after a while, with jitter; then {OUTAGE}"


def _dynamodb(
    name: str, answer: Answer, source: str = ERRORS_OF_DYNAMODB, operations: frozenset[str] = DYNAMODB, **more: Any
) -> Kind:
    return Kind(name, "dynamodb", operations, source, answer, **more)


def _canceled(name: str, *reasons: str, source: str = ERRORS_OF_TRANSACTIONS, outcome: str = OUTAGE) -> Kind:
    return _dynamodb(f"canceled: {name}", canceled(*reasons or (name,)), source, TRANSACTIONS, outcome=outcome)


_IN_CONFLICT = json_error(400, "TransactionConflictException", "Transaction is ongoing for the item")
_NOT_FOUND = json_error(400, "ResourceNotFoundException", "Requested resource not found")
_EXPIRED = json_error(400, "ExpiredTokenException", "The security token is expired")
_IN_PROGRESS = json_error(400, "TransactionInProgressException")
_MISMATCH = json_error(400, "IdempotentParameterMismatchException")

OF_DYNAMODB = (
    _dynamodb("TransactionConflictException", _IN_CONFLICT, CONFLICTS, DYNAMODB_WRITES, outcome=CONFLICT),
    _dynamodb("ThrottlingException", json_error(400, "ThrottlingException", "Rate of requests exceeds the allowed")),
    _dynamodb("ProvisionedThroughputExceeded", json_error(400, "ProvisionedThroughputExceededException")),
    _dynamodb("RequestLimitExceeded", json_error(400, "RequestLimitExceeded")),
    _dynamodb("InternalServerError", json_error(500, "InternalServerError")),
    _dynamodb("503 ServiceUnavailable", page(503, b"")),
    _dynamodb("table not ready", _NOT_FOUND, GET_ITEM_ERRORS),
    _dynamodb("AccessDenied in a role's first seconds", not_authorized("dynamodb"), NEW_ROLES, outcome=DEPLOYMENT),
    _dynamodb("400 ExpiredTokenException", _EXPIRED, COMMON_ERRORS),
    _dynamodb("UnrecognizedClientException", json_error(400, "UnrecognizedClientException"), COMMON_ERRORS),
    _dynamodb("UnprocessedKeys", unprocessed, BATCHES, frozenset({"BatchGetItem"}), outcome=REREAD),
    _canceled("TransactionConflict", source=CONFLICTS, outcome=CONFLICT),
    _canceled("ThrottlingError", "None", "ThrottlingError", outcome=CONFLICT),
    _canceled("throttled and in conflict", "ProvisionedThroughputExceeded", "TransactionConflict", outcome=CONFLICT),
    _canceled("ValidationError"),
    _canceled("ItemCollectionSizeLimitExceeded"),
    _dynamodb("TransactionInProgressException", _IN_PROGRESS, ERRORS_OF_TRANSACTIONS, TRANSACTIONS),
    _dynamodb("IdempotentParameterMismatch", _MISMATCH, ERRORS_OF_TRANSACTIONS, TRANSACTIONS),
)

# ---------------------------------------------------------------- S3

S3_READS = frozenset({"GetObject", "HeadBucket", "HeadObject", "ListMultipartUploads", "ListObjectsV2", "ListParts"})
S3_COPIES = frozenset({"CompleteMultipartUpload", "UploadPartCopy"})
S3_UPLOADS = frozenset({"AbortMultipartUpload", "CreateMultipartUpload", "UploadPart"}) | S3_COPIES
S3 = S3_READS | S3_UPLOADS | {"DeleteObjects", "PutObject"}
DELETES, GETS, LISTS, PUTS = (
    frozenset({operation}) for operation in ("DeleteObjects", "GetObject", "ListObjectsV2", "PutObject")
)

DOCS_OF_S3 = "https://docs.aws.amazon.com/AmazonS3/latest"
ERRORS_OF_S3 = f"{DOCS_OF_S3}/API/ErrorResponses.html#ErrorCodeList"
OUTAGES_OF_S3 = "https://repost.aws/knowledge-center/http-5xx-errors-s3"
REDIRECTS = f"{DOCS_OF_S3}/userguide/Redirects.html"
ROUTING = f"{DOCS_OF_S3}/userguide/UsingRouting.html"
REFUSALS = "https://repost.aws/knowledge-center/s3-troubleshoot-403"
CONDITIONAL_WRITES = f"{DOCS_OF_S3}/userguide/conditional-writes.html"
COMPLETIONS = f"{DOCS_OF_S3}/API/API_CompleteMultipartUpload.html"
DELETIONS = f"{DOCS_OF_S3}/API/API_DeleteObjects.html"
SLOW_DOWN_INSIDE = "https://github.com/awslabs/aws-sdk-rust/issues/873"
KEYS_SLOWED_DOWN = "https://github.com/boto/boto3/issues/3052"
BROKEN_PAGES = "https://github.com/boto/boto3/issues/887"
BROKEN_BODIES = "https://github.com/boto/botocore/issues/2745"
SHORT_BODIES = "https://github.com/boto/botocore/pull/210"

STAYS = "an entry whose object may still exist stays"
REDELETE = f"the keys that stayed are deleted again; then {OUTAGE}"

ELSEWHERE = "<Endpoint>bucket.s3.eu-central-1.amazonaws.com</Endpoint>"
BUCKET_REGION = {"x-amz-bucket-region": "eu-central-1"}
"""Every redirect has it; otherwise botocore would look for it by a HeadBucket, which is redirected too, without end."""


def _s3(name: str, answer: Answer, source: str = ERRORS_OF_S3, operations: frozenset[str] = S3, **more: Any) -> Kind:
    return Kind(name, "s3", operations, source, answer, **more)


def _s3_error(status: int, code: str, *rest: Any, message: str = "made up by a test", **more: Any) -> Kind:
    return _s3(f"{status} {code}", xml_error(status, code, message), *rest, **more)


_TEMPORARY = xml_error(
    307,
    "TemporaryRedirect",
    more=ELSEWHERE,
    Location="https://bucket.s3.eu-central-1.amazonaws.com/key",
    **BUCKET_REGION,
)
_PERMANENT = xml_error(301, "PermanentRedirect", more=ELSEWHERE, **BUCKET_REGION)

OF_S3 = (
    _s3_error(503, "SlowDown", OUTAGES_OF_S3, message="Please reduce your request rate."),
    _s3_error(500, "InternalError", OUTAGES_OF_S3),
    _s3("307 TemporaryRedirect", _TEMPORARY, REDIRECTS),
    _s3("301 PermanentRedirect", _PERMANENT, ROUTING),
    _s3_error(403, "AccessDenied", REFUSALS, message="Access Denied", outcome=f"{DEPLOYMENT}; {STAYS}"),
    _s3_error(400, "ExpiredToken", message="The provided token has expired."),
    _s3_error(403, "InvalidAccessKeyId"),
    _s3_error(403, "SignatureDoesNotMatch"),
    _s3_error(403, "RequestTimeTooSkewed"),
    _s3_error(400, "RequestTimeout"),
    _s3_error(404, "NoSuchBucket", operations=S3 - {"HeadBucket", "HeadObject"}),
    _s3_error(
        409,
        "OperationAborted",
        operations=DELETES | PUTS | {"CompleteMultipartUpload"},
        message="A conflicting conditional operation is currently in progress",
    ),
    _s3_error(409, "ConditionalRequestConflict", CONDITIONAL_WRITES, PUTS, outcome=CONFLICT),
    _s3("200 with an error inside", error_inside("InternalError"), COMPLETIONS, S3_COPIES),
    _s3("200 with SlowDown inside", error_inside("SlowDown"), SLOW_DOWN_INSIDE, DELETES),
    _s3("200 with SlowDown for each key", keys_fail("SlowDown"), KEYS_SLOWED_DOWN, DELETES, outcome=REDELETE),
    _s3("200 with AccessDenied for each key", keys_fail("AccessDenied"), DELETIONS, DELETES, outcome=DEPLOYMENT),
    _s3_error(404, "NoSuchUpload", operations=(S3_UPLOADS | {"ListParts"}) - {"CreateMultipartUpload"}),
    _s3("a page that breaks off", malformed, BROKEN_PAGES, LISTS),
    _s3("a body that breaks off", half(breaks=True), BROKEN_BODIES, GETS),
    _s3("a body that ends early", half(breaks=False), SHORT_BODIES, GETS),
)

# ---------------------------------------------------------------- other services

SQS = frozenset({"ChangeMessageVisibility", "GetQueueAttributes", "SendMessage"})
DOCS_OF_SQS = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference"
ERRORS_OF_SQS = f"{DOCS_OF_SQS}/API_SendMessage.html#API_SendMessage_Errors"
HANDLES = f"{DOCS_OF_SQS}/API_ChangeMessageVisibility.html"


def _sqs(name: str, answer: Answer, source: str = ERRORS_OF_SQS, operations: frozenset[str] = SQS, **more: Any) -> Kind:
    return Kind(name, "sqs", operations, source, answer, **more)


SENDS, VISIBILITIES = frozenset({"SendMessage"}), frozenset({"ChangeMessageVisibility"})
REDELIVERED = "the message comes back after its visibility timeout"
_INVALID_HANDLE = json_error(404, "ReceiptHandleIsInvalid")

OF_SQS = (
    _sqs("RequestThrottled", json_error(400, "RequestThrottled")),
    _sqs("KmsThrottled", json_error(400, "KmsThrottled"), operations=SENDS),
    _sqs("KmsAccessDenied", json_error(400, "KmsAccessDenied"), operations=SENDS),
    _sqs("OverLimit", json_error(403, "OverLimit"), operations=SENDS | VISIBILITIES),
    _sqs("QueueDoesNotExist of a new queue", json_error(400, "QueueDoesNotExist")),
    _sqs("ReceiptHandleIsInvalid", _INVALID_HANDLE, HANDLES, VISIBILITIES, outcome=REDELIVERED),
    _sqs("MessageNotInflight", json_error(400, "MessageNotInflight"), HANDLES, VISIBILITIES),
    _sqs("AccessDenied", not_authorized("sqs"), outcome=DEPLOYMENT),
    _sqs("InternalFailure", json_error(500, "InternalFailure"), COMMON_ERRORS),
)

SECRETS = frozenset({"GetSecretValue", "PutSecretValue"})
ERRORS_OF_SECRETS = (
    "https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html#API_GetSecretValue_Errors"
)


KEPT = "the last value serves for a while; then "


def _secret(name: str, answer: Answer, outcome: str = OUTAGE) -> Kind:
    return Kind(name, "secrets-manager", SECRETS, ERRORS_OF_SECRETS, answer, KEPT + outcome)


OF_SECRETS_MANAGER = (
    _secret("ThrottlingException", json_error(400, "ThrottlingException")),
    _secret("DecryptionFailure", json_error(400, "DecryptionFailure")),
    _secret("InternalServiceError", json_error(500, "InternalServiceError")),
    _secret("ResourceNotFound", json_error(400, "ResourceNotFoundException")),
    _secret("AccessDenied", not_authorized("secretsmanager"), outcome=DEPLOYMENT),
)

EDGE = frozenset({"DescribeKeyValueStore", "GetKey", "PutKey"})
ERRORS_OF_EDGE = "https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_kvs_PutKey.html#API_kvs_PutKey_Errors"


def _edge(name: str, answer: Answer, operations: frozenset[str] = EDGE, **more: Any) -> Kind:
    return Kind(name, "cloudfront-keyvaluestore", operations, ERRORS_OF_EDGE, answer, **more)


OF_THE_EDGE = (
    _edge("not ready", json_error(404, "ResourceNotFoundException"), frozenset({"DescribeKeyValueStore", "PutKey"})),
    _edge("ConflictException", json_error(409, "ConflictException"), outcome="read, decided and written again"),
    _edge("AccessDenied", json_error(403, "AccessDeniedException"), outcome=DEPLOYMENT),
    _edge("InternalServerException", json_error(500, "InternalServerException")),
)

SERVICES: Mapping[str, frozenset[str]] = {
    "dynamodb": DYNAMODB,
    "s3": S3,
    "sqs": SQS,
    "secrets-manager": SECRETS,
    "cloudfront-keyvaluestore": EDGE,
}

RETRIES = "https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html"
PROXIES = "https://github.com/boto/botocore/pull/478"
SILENT_PROXIES = "https://github.com/boto/boto3/issues/3508"
CREDENTIALS = "https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html"


def _unreachable(url: str) -> Exception:
    return EndpointConnectionError(endpoint_url=url)


OF_EACH = tuple(
    kind
    for service, operations in SERVICES.items()
    for kind in (
        Kind("no connection", service, operations, RETRIES, raises(_unreachable)),
        Kind("reset", service, operations, RETRIES, raises(lambda url: ConnectionClosedError(endpoint_url=url))),
        Kind("silence", service, operations, RETRIES, raises(lambda url: ReadTimeoutError(endpoint_url=url))),
        Kind("a lost answer", service, operations, RETRIES, lost),
        Kind("HTML from a proxy", service, operations, PROXIES, page(200, b"<!DOCTYPE html><html></html>")),
        Kind("nothing from a proxy", service, operations, SILENT_PROXIES, page(200, b"")),
        Kind("no credentials", service, operations, CREDENTIALS, raises(lambda _: NoCredentialsError())),
    )
)

KINDS = (*OF_DYNAMODB, *OF_S3, *OF_SQS, *OF_SECRETS_MANAGER, *OF_THE_EDGE, *OF_EACH)


def kinds_of(service: str, operation: str) -> list[Kind]:
    return [kind for kind in KINDS if kind.service == service and operation in kind.operations]

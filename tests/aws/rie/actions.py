"""Which permissions a call needs: https://docs.aws.amazon.com/service-authorization/, its rows for these services.

A permission is an action and a resource, named as the template names it: `("s3:GetObject", "Bucket/archives/*")`.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from tests.aws.rie.permissions import Call

Permission = tuple[str, str]


def permissions(call: Call, resources: Mapping[str, str]) -> set[Permission]:
    """Args: resources: logical ids by what a call names: tables and buckets by name, queues by URL, secrets by ARN."""
    if call.path.startswith("/key-value-stores/"):
        return {_of_key_value_store(call, resources)}
    if call.target is None:
        return set(_of_s3(call, resources))
    if call.headers["x-amz-target"].startswith("DynamoDB"):
        return set(_of_dynamodb(call, resources))
    if call.headers["x-amz-target"].startswith("AmazonSQS"):
        return {(f"sqs:{call.target}", resources[call.request["QueueUrl"]])}
    return {(f"{call.headers['x-amz-target'].partition('.')[0]}:{call.target}", resources[call.request["SecretId"]])}


def _of_dynamodb(call: Call, resources: Mapping[str, str]) -> Iterator[Permission]:
    if call.target == "BatchGetItem":
        for name in call.request["RequestItems"]:
            yield "dynamodb:BatchGetItem", resources[name]
        return
    if call.target != "TransactWriteItems":
        index = call.request.get("IndexName")
        table = resources[call.request["TableName"]]
        yield f"dynamodb:{call.target}", f"{table}/index/{index}" if index else table
        return
    actions = {"Put": "PutItem", "Delete": "DeleteItem", "Update": "UpdateItem", "ConditionCheck": "ConditionCheckItem"}
    for item in call.request["TransactItems"]:
        [(kind, operation)] = item.items()
        yield f"dynamodb:{actions[kind]}", resources[operation["TableName"]]


def _of_key_value_store(call: Call, resources: Mapping[str, str]) -> Permission:
    arn, _, key = unquote(call.path).removeprefix("/key-value-stores/").partition("/keys/")
    action = {"GET": "GetKey" if key else "DescribeKeyValueStore", "PUT": "PutKey"}[call.method]
    return f"cloudfront-keyvaluestore:{action}", resources[arn].removesuffix(".Arn")


S3_ACTIONS: Mapping[tuple[str, str | None], str] = {
    ("GET", None): "s3:GetObject",
    ("HEAD", None): "s3:GetObject",
    ("PUT", None): "s3:PutObject",
    ("POST", "uploads"): "s3:PutObject",
    ("PUT", "uploadId"): "s3:PutObject",
    ("POST", "uploadId"): "s3:PutObject",
    ("DELETE", "uploadId"): "s3:AbortMultipartUpload",
}
"""By method and the parameter that makes the operation another one."""


def _of_s3(call: Call, resources: Mapping[str, str]) -> Iterator[Permission]:
    name, _, key = call.path.removeprefix("/").partition("/")
    bucket = resources[name]
    if not key:
        yield _of_bucket(call, bucket)
        return
    objects = _objects(bucket, key)
    variant = next((it for it in ("uploads", "uploadId") if it in call.query), None)
    yield S3_ACTIONS[call.method, variant], objects
    source: Any = call.headers.get("x-amz-copy-source")
    if source:
        yield "s3:GetObject", _objects(bucket, source.removeprefix("/").partition("/")[2])
    if call.method in ("GET", "HEAD"):
        # To a role without it S3 says 403 where an object is missing.
        yield "s3:ListBucket", bucket


def _of_bucket(call: Call, bucket: str) -> Permission:
    if call.method == "POST" and "delete" in call.query:
        return "s3:DeleteObject", f"{bucket}/archives/*"
    assert call.method == "HEAD" or call.query.get("list-type") == "2", call
    return "s3:ListBucket", bucket


def _objects(bucket: str, key: str) -> str:
    return f"{bucket}/archives/*" if key.startswith("archives/") else f"{bucket}/{key}"

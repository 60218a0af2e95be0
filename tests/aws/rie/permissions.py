"""Records a function's calls to AWS, and derives the permissions that they need.

A permission is an action and a resource, named as in the template: `("s3:GetObject", "Bucket/archives/*")`. They follow
https://docs.aws.amazon.com/service-authorization/.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

HOP_BY_HOP = frozenset({"connection", "expect", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Headers, with their names in lower case."""
    body: bytes
    status: int

    @property
    def target(self) -> str | None:
        """Name of the operation, where the service's protocol is JSON; None for S3."""
        return self.headers.get("x-amz-target", "").rpartition(".")[2] or None

    @property
    def request(self) -> Any:
        return json.loads(self.body)


@contextmanager
def recording(emulator: str, calls: list[Call]) -> Iterator[str]:
    """Serve a proxy that passes requests on unchanged, with their signed Host, and yield its URL.

    Args:
        emulator: its URL.
        calls: gets each call once it was answered.
    """
    address = urlsplit(emulator).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection = HTTPConnection(address, timeout=60)
            try:
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                answered = answer.read()
            finally:
                connection.close()
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            lowered = {name.lower(): value for name, value in headers.items()}
            calls.append(Call(self.command, parts.path, query, lowered, body, answer.status))
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    self.send_header(name, value)
            length = answer.headers["Content-Length"] if self.command == "HEAD" else str(len(answered))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(answered)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


Permission = tuple[str, str]


def permissions(call: Call, resources: Mapping[str, str]) -> set[Permission]:
    """Return the permissions that a call needs.

    Args:
        call: a recorded call.
        resources: logical ids by the names in calls: of tables and buckets, URLs of queues, ARNs of secrets.
    """
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
    ("GET", "uploadId"): "s3:ListMultipartUploadParts",
    ("HEAD", None): "s3:GetObject",
    ("PUT", None): "s3:PutObject",
    ("POST", "uploads"): "s3:PutObject",
    ("PUT", "uploadId"): "s3:PutObject",
    ("POST", "uploadId"): "s3:PutObject",
    ("DELETE", "uploadId"): "s3:AbortMultipartUpload",
}
"""Actions by the method, and by the parameter that makes it another operation."""


def _of_s3(call: Call, resources: Mapping[str, str]) -> Iterator[Permission]:
    name, _, key = call.path.removeprefix("/").partition("/")
    bucket = resources[name]
    if not key:
        yield _of_bucket(call, bucket)
        return
    objects = _objects(bucket, key)
    variant = next((parameter for parameter in ("uploads", "uploadId") if parameter in call.query), None)
    yield S3_ACTIONS[call.method, variant], objects
    source: Any = call.headers.get("x-amz-copy-source")
    if source:
        yield "s3:GetObject", _objects(bucket, source.removeprefix("/").partition("/")[2])
    if call.method in ("GET", "HEAD") and variant is None:
        # To a role without it S3 says 403 where an object is missing.
        yield "s3:ListBucket", bucket


def _of_bucket(call: Call, bucket: str) -> Permission:
    if call.method == "POST" and "delete" in call.query:
        return "s3:DeleteObject", f"{bucket}/archives/*"
    if call.method == "GET" and "uploads" in call.query:
        return "s3:ListBucketMultipartUploads", bucket
    assert call.method == "HEAD" or call.query.get("list-type") == "2", call
    return "s3:ListBucket", bucket


def _objects(bucket: str, key: str) -> str:
    return f"{bucket}/archives/*" if key.startswith("archives/") else f"{bucket}/{key}"

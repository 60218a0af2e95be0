"""The events of events/, others derived from them, and both with a test's own keys, URLs and bodies."""

import base64
import copy
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dev.local.template import ROOT
from functions.api.proto.cache_pb2 import CreateCacheEntryRequest

Event = dict[str, Any]

EVENTS = ROOT / "events"


def load(name: str) -> Event:
    """Return the event of a file in events/, or one that is derived from such a file."""
    return DERIVED[name]() if name in DERIVED else read(name)


def read(name: str) -> Event:
    event: Event = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def names() -> list[str]:
    """Return the names of all events, of events/ and derived."""
    return sorted({*DERIVED, *(file.stem for file in EVENTS.glob("*.json"))})


def call(name: str, **fields: Any) -> Event:
    """Return the event of a twirp call, with some fields of its message replaced."""
    event = load(f"apigateway-{name}")
    message = json.loads(base64.b64decode(event["body"])) | fields
    return with_body(event, json.dumps(message).encode())


def blob(
    name: str, url: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None, **query: str
) -> Event:
    """Return the event of a request to an upload or download URL."""
    event = load(f"apigateway-{name}")
    parts = urlsplit(url)
    event["path"] = parts.path
    event["pathParameters"] = {"archive": parts.path.rpartition("/")[2]}
    values = event["queryStringParameters"] | {key: values[-1] for key, values in parse_qs(parts.query).items()} | query
    set_query(event, values)
    with_headers(event, headers or {})
    return event if body is None else with_body(event, body)


def managed(name: str, path: str, **query: str) -> Event:
    """Return the event of a management request, to another path below the event's, and with this query."""
    event = load(f"apigateway-manage-{name}")
    event["path"] = event["resource"].replace("{path+}", path)
    event["pathParameters"] = {"path": path}
    set_query(event, query)
    return event


def body_of(answer: Any) -> bytes:
    """Return the body that API Gateway would send on; fail with Lambda's error where there is no answer."""
    assert "statusCode" in answer, answer
    body = answer["body"]
    return base64.b64decode(body) if answer["isBase64Encoded"] else body.encode()


def json_of(answer: Any) -> Any:
    return json.loads(body_of(answer))


# ---------------------------------------------------------------- changes to a request


def send_to(
    event: Event, method: str, resource: str, path: str | None = None, query: Mapping[str, str] | None = None
) -> Event:
    """Lead a request to another route, without a body.

    Args:
        event: the request; it is changed.
        method: the HTTP method.
        resource: the template's path, such as /repos/{path+}.
        path: the path that the client asked for; by default the resource.
        query: the query; by default none.
    """
    path = path or resource
    pattern = re.sub(r"\{(\w+)(\+?)\}", lambda name: f"(?P<{name[1]}>{'.+' if name[2] else '[^/]+'})", resource)
    found = re.fullmatch(pattern, path)
    assert found is not None, f"{path} doesn't fit {resource}"
    event |= {"resource": resource, "path": path, "httpMethod": method, "body": None, "isBase64Encoded": False}
    event["pathParameters"] = found.groupdict() or None
    event["requestContext"] |= {"resourcePath": resource, "httpMethod": method, "path": f"/v1{path}"}
    set_query(event, query or {})
    return with_headers(event, {"Content-Length": None, "Content-Type": None})


def set_query(event: Event, query: Mapping[str, str]) -> None:
    event["queryStringParameters"] = dict(query) or None
    event["multiValueQueryStringParameters"] = {key: [value] for key, value in query.items()} or None


def with_headers(event: Event, headers: Mapping[str, str | None]) -> Event:
    """Set headers, and remove those that are None."""
    for name, value in headers.items():
        event["headers"].pop(name, None)
        event["multiValueHeaders"].pop(name, None)
        if value is not None:
            event["headers"][name], event["multiValueHeaders"][name] = value, [value]
    if agent := headers.get("User-Agent"):
        event["requestContext"]["identity"]["userAgent"] = agent
    return event


def with_body(event: Event, body: bytes) -> Event:
    event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    return with_headers(event, {"Content-Length": str(len(body))})


# ---------------------------------------------------------------- events derived from those of events/

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IAM_IDENTITY = {
    "accessKey": "AKIAIOSFODNN7EXAMPLE",
    "accountId": "123456789012",
    "caller": "AIDACKCEVSQ6C2EXAMPLE",
    "user": "AIDACKCEVSQ6C2EXAMPLE",
    "userArn": "arn:aws:iam::123456789012:user/operator",
}
SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20231114/eu-central-1/execute-api/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024"
)


def _create_by_protobuf() -> Event:
    event = read("apigateway-create-entry")
    message = CreateCacheEntryRequest(**json.loads(base64.b64decode(event["body"])))
    kind = "application/protobuf"
    with_headers(event, {"Accept": kind, "Content-Type": kind, "User-Agent": "opendal/0.54.0"})
    return with_body(event, message.SerializeToString())


def _put_blob() -> Event:
    event = read("apigateway-put-block")
    query = event["queryStringParameters"]
    set_query(event, {name: value for name, value in query.items() if name not in ("comp", "blockid")})
    return with_body(with_headers(event, {"x-ms-blob-type": "BlockBlob"}), b"the bytes of one blob")


def _download_range() -> Event:
    agent = "azsdk-go-azblob/v1.5.0 (go1.24.1; linux)"
    headers = {"User-Agent": agent, "x-ms-range": "bytes=4-", "x-ms-version": "2024-11-04"}
    return with_headers(read("apigateway-download"), headers)


def _head_download() -> Event:
    event = read("apigateway-download")
    send_to(event, "HEAD", event["resource"], event["path"], event["queryStringParameters"])
    agent = "azsdk-python-storage-blob/12.31.0 Python/3.12.1 (Linux-6.8.0-x86_64)"
    return with_headers(event, {"User-Agent": agent, "x-ms-version": "2025-11-05"})


def _lookup_at(path: str) -> Event:
    """Return a GET by a path of no route of its own, with a v1 lookup's query."""
    event = read("apigateway-lookup")
    asked = json.loads(base64.b64decode(event["body"]))
    send_to(event, "GET", "/{path+}", path, {"keys": asked["key"], "version": asked["version"]})
    return with_headers(event, {"Accept": None})


def _unknown_method() -> Event:
    event = read("apigateway-lookup")
    content_type = event["headers"]["Content-Type"]
    path = "/twirp/github.actions.results.api.v1.ArtifactService/CreateArtifact"
    send_to(event, "POST", event["resource"], path)
    return with_body(with_headers(event, {"Content-Type": content_type, "Accept": None}), b"{}")


def _managed(method: str, resource: str, path: str, agent: str, query: Mapping[str, str] | None = None) -> Event:
    event = send_to(read("apigateway-manage-list"), method, resource, path, query)
    return with_headers(event, {"User-Agent": agent})


def _managed_by_iam() -> Event:
    event = _managed("GET", "/iam/{path+}", "/iam/manage/role", "python-requests/2.32")
    event["requestContext"]["identity"] |= IAM_IDENTITY
    return with_headers(event, {"Authorization": SIGNATURE})


def _page() -> Event:
    event = _managed("GET", "/", "/", FIREFOX)
    return with_headers(event, {"Accept": "text/html", "Authorization": None, "Sec-Fetch-Site": "none"})


def _sign_in() -> Event:
    event = read("apigateway-manage-list")
    token = event["headers"]["Authorization"].removeprefix("token ")
    send_to(event, "POST", "/manage/session")
    with_headers(
        event,
        {
            "Accept": "application/json",
            "Authorization": None,
            "Content-Type": "application/json",
            "Origin": "https://cache.example.com",
            "Sec-Fetch-Site": "same-origin",
            "User-Agent": FIREFOX,
            "X-Viewer-Host": "cache.example.com",
        },
    )
    return with_body(event, json.dumps({"token": token}).encode())


def _poison() -> Event:
    event = read("sqs-merge")
    [record] = event["Records"]
    record["body"] = "not a merge message"
    record["md5OfBody"] = hashlib.md5(record["body"].encode(), usedforsecurity=False).hexdigest()
    record["attributes"]["ApproximateReceiveCount"] = "5"
    return event


def _stack_event(request_type: str) -> Event:
    event = read("cloudformation-create") | {"RequestType": request_type, "PhysicalResourceId": "EdgeKnowsSecret"}
    if request_type == "Update":
        event["OldResourceProperties"] = copy.deepcopy(event["ResourceProperties"])
        store = "arn:aws:cloudfront::123456789012:key-value-store/1a2b3c4d-5e6f-4708-9123-456789abcdef"
        event["OldResourceProperties"]["EdgeSecrets"] = store
    return event


CACHES = "example/tools/actions/caches"
OCTOKIT = "octokit-rest.js/22.0.1 octokit-core.js/7.0.8 Node.js/20"

DERIVED: Mapping[str, Callable[[], Event]] = {
    "apigateway-create-entry-protobuf": _create_by_protobuf,
    "apigateway-put-blob": _put_blob,
    "apigateway-download-range": _download_range,
    "apigateway-head-download": _head_download,
    "apigateway-hook": lambda: with_headers(
        _lookup_at("/runner/hook.cjs"), {"Authorization": None, "User-Agent": "curl/8.9.1"}
    ),
    "apigateway-unknown-path": lambda: _lookup_at("/nothing/of/ours"),
    "apigateway-unknown-route": _unknown_method,
    "apigateway-manage-delete": lambda: _managed(
        "DELETE", "/repos/{path+}", f"/repos/{CACHES}", OCTOKIT, {"key": "Linux-npm-1", "ref": "refs/heads/main"}
    ),
    "apigateway-manage-entries": lambda: _managed(
        "GET", "/manage/{path+}", "/manage/repositories/example/tools/entries", "curl/8.9.1", {"search": "npm"}
    ),
    "apigateway-manage-by-id": lambda: _managed(
        "GET", "/repositories/{path+}", "/repositories/42@https://ghes.example/actions/cache/usage", "curl/8.9.1"
    ),
    "apigateway-manage-iam": _managed_by_iam,
    "apigateway-manage-page": _page,
    "apigateway-manage-sign-in": _sign_in,
    "sqs-poison": _poison,
    "scheduler-orphans": lambda: {"find": "orphans"},
    "scheduler-outdated": lambda: {"find": "outdated"},
    "cloudformation-update": lambda: _stack_event("Update"),
    "cloudformation-delete": lambda: _stack_event("Delete"),
}
"""Maps the name of each derived event to the function that makes it."""

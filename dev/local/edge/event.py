"""Requests and answers, as CloudFront shows them to a function.

https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/functions-event-structure.html
"""

import base64
import os
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import Scope

Headers = list[tuple[bytes, bytes]]
"""As ASGI has them, their names in lower case."""

HIDDEN = frozenset(
    {"connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "trailer", "upgrade"}
)
"""Headers of the connection, which no function and no origin gets to see."""


def new_request_id() -> str:
    """As long, and of the same characters, as CloudFront's."""
    return base64.urlsafe_b64encode(os.urandom(40)).decode()


def viewer_request(scope: Scope, request_id: str) -> dict[str, Any]:
    client = scope.get("client") or ("127.0.0.1", 0)
    return {
        "version": "1.0",
        "context": {
            "distributionDomainName": "local.cloudfront.net",
            "distributionId": "LOCAL",
            "eventType": "viewer-request",
            "requestId": request_id,
        },
        "viewer": {"ip": client[0]},
        "request": {
            "method": scope["method"],
            "uri": scope["raw_path"].decode("latin-1"),
            "querystring": _query(scope["query_string"].decode("latin-1")),
            "headers": headers_object(scope["headers"]),
            "cookies": {},
        },
    }


def viewer_response(
    event: Mapping[str, Any], request: Mapping[str, Any], status: int, headers: Headers
) -> dict[str, Any]:
    """Of the event whose request became this one, and was answered so."""
    response = {
        "statusCode": status,
        "statusDescription": "",
        "headers": headers_object(headers),
        "cookies": {},
    }
    context = {**event["context"], "eventType": "viewer-response"}
    return {**event, "context": context, "request": dict(request), "response": response}


def headers_object(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    values: dict[str, list[str]] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1").lower()
        if name not in HIDDEN:
            values.setdefault(name, []).append(raw_value.decode("latin-1"))
    return {name: _one_or_many(several) for name, several in values.items()}


def headers_list(headers: Mapping[str, Any]) -> Headers:
    return [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, header in headers.items()
        for value in _values(header)
    ]


def query_string(query: Mapping[str, Any]) -> bytes:
    pairs = (f"{name}={value}" for name, parameter in query.items() for value in _values(parameter))
    return "&".join(pairs).encode("latin-1")


def _query(query: str) -> dict[str, Any]:
    """Names and values as they were sent, not decoded."""
    values: dict[str, list[str]] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        values.setdefault(name, []).append(value)
    return {name: _one_or_many(several) for name, several in values.items()}


def _one_or_many(values: list[str]) -> dict[str, Any]:
    """`value` is the first one, beside all of them where there are several."""
    one: dict[str, Any] = {"value": values[0]}
    return one if len(values) == 1 else one | {"multiValue": [{"value": value} for value in values]}


def _values(parameter: Mapping[str, Any]) -> list[str]:
    several = parameter.get("multiValue")
    return [it["value"] for it in several] if several else [parameter["value"]]

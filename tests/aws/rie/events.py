"""The events of events/, with the keys, URLs and bodies that a test has at hand."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dev.local.template import ROOT

Event = dict[str, Any]


def load(name: str) -> Event:
    event: Event = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return event


def call(name: str, **fields: Any) -> Event:
    """A twirp call, with some of its fields replaced."""
    event = load(f"apigateway-{name}")
    message = json.loads(base64.b64decode(event["body"])) | fields
    return _with_body(event, json.dumps(message).encode())


def blob(
    name: str, url: str, body: bytes | None = None, *, headers: dict[str, str] | None = None, **query: str
) -> Event:
    """A request to a URL that the API gave out."""
    event = load(f"apigateway-{name}")
    parts = urlsplit(url)
    event["path"] = parts.path
    event["pathParameters"] = {"archive": parts.path.rpartition("/")[2]}
    asked = event["queryStringParameters"] | {key: values[-1] for key, values in parse_qs(parts.query).items()} | query
    event["queryStringParameters"] = asked
    event["multiValueQueryStringParameters"] = {key: [value] for key, value in asked.items()}
    for header, value in (headers or {}).items():
        _set_header(event, header, value)
    return event if body is None else _with_body(event, body)


def managed(name: str, path: str, **query: str) -> Event:
    """A request of somebody who manages, to another path below the event's, and with this query."""
    event = load(f"apigateway-manage-{name}")
    event["path"] = event["resource"].replace("{path+}", path)
    event["pathParameters"] = {"path": path}
    event["queryStringParameters"] = query or None
    event["multiValueQueryStringParameters"] = {key: [value] for key, value in query.items()} or None
    return event


def body_of(answer: Any) -> bytes:
    """What API Gateway would send on. Shows Lambda's own error where there is no answer."""
    assert "statusCode" in answer, answer
    body = answer["body"]
    return base64.b64decode(body) if answer["isBase64Encoded"] else body.encode()


def json_of(answer: Any) -> Any:
    return json.loads(body_of(answer))


def _with_body(event: Event, body: bytes) -> Event:
    event["body"] = base64.b64encode(body).decode()
    _set_header(event, "Content-Length", str(len(body)))
    return event


def _set_header(event: Event, name: str, value: str) -> None:
    event["headers"][name] = value
    event["multiValueHeaders"][name] = [value]

"""The events in events/ are what the triggers really send, and fit the template."""

import base64
import hashlib
from fnmatch import fnmatchcase
from typing import Any

import pytest

from actions_cache.aws.sqs import decode_message
from actions_cache.domain.signing import Direction, check_signature
from dev.local.template import Template
from tests.support import lambda_events
from tests.unit.template.declared import api_events

SIGNED_WITH = "known-to-events-and-tests-only"
ADMIN_TOKEN = "known-to-events-and-tests-only-as-the-admins-token"
LONG_BEFORE_THEY_EXPIRE = 1_700_000_000_000


def _load(pattern: str) -> list[Any]:
    """Return the events whose names match, of events/ and derived."""
    return [
        pytest.param(lambda_events.load(name), id=name) for name in lambda_events.names() if fnmatchcase(name, pattern)
    ]


@pytest.mark.parametrize("event", _load("apigateway-*"))
def test_api_event_is_as_api_gateway_sends_it(template: Template, event: dict[str, Any]) -> None:
    routes = [route for function in template.functions for route in api_events(template, function)]
    assert (event["httpMethod"], event["resource"]) in routes
    assert event["resource"].replace("+", "").format_map(event["pathParameters"] or {}) == event["path"]
    assert event["isBase64Encoded"] == (event["body"] is not None)
    if event["body"] is not None:
        assert str(len(base64.b64decode(event["body"]))) == event["headers"]["Content-Length"]
    for one, many in (("headers", "multiValueHeaders"), ("queryStringParameters", "multiValueQueryStringParameters")):
        assert {name: values[-1] for name, values in (event[many] or {}).items()} == (event[one] or {})


@pytest.mark.parametrize("event", [*_load("apigateway-put-*"), *_load("apigateway-*download*")])
def test_blob_event_has_a_valid_signature(event: dict[str, Any]) -> None:
    query, archive = event["queryStringParameters"], event["pathParameters"]["archive"]
    direction = Direction.UPLOAD if event["httpMethod"] == "PUT" else Direction.DOWNLOAD
    check_signature(direction, archive, query["se"], query["sig"], LONG_BEFORE_THEY_EXPIRE, [SIGNED_WITH])


@pytest.mark.parametrize("event", _load("sqs-*"))
def test_queue_event_is_one_message(template: Template, event: dict[str, Any]) -> None:
    source = template.functions["MergeFunction"]["Events"]["MergeMessages"]["Properties"]
    assert len(event["Records"]) == source["BatchSize"]
    for record in event["Records"]:
        assert record["md5OfBody"] == hashlib.md5(record["body"].encode(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("body", ["[" * 100_000, "[]", "1", '{"archive_id": 1, "claim_token": "t"}', "", "poison"])
def test_malformed_merge_message_is_refused(body: str) -> None:
    merge, poison = (lambda_events.load(name)["Records"][0]["body"] for name in ("sqs-merge", "sqs-poison"))
    assert decode_message(merge).archive_id
    with pytest.raises(ValueError, match=r"not a merge message|Expecting value"):
        decode_message(poison if body == "poison" else body)

"""The rules for own paths and for what is passed on, each at its boundary."""

from typing import Any

import pytest

from actions_cache.domain.errors import InvalidRequest
from functions.api.passthrough import INERT, answer_headers, has_been_here, is_ours, request_headers, target_of

SERVICE = "github.actions.results.api.v1.CacheService"

OURS = f"""
/ // /.. /x/.. /health /health/ /Health /h%65alth /h%2565alth /runner/hook.cjs
/runner/hook-requests.cjs /Runner/../runner/x
/manage /MANAGE/../manage/role /repositories/42/actions/caches /iam/manage/role
/orgs/o/actions/cache/usage /Orgs/o/actions/cache/usage-by-repository
/repos/o/r/actions/caches /api/v3/repos/o/r/actions/caches
/blobs/upload/0 /blobs/anything //blobs/upload/0 /x/../blobs/upload/0 /x/%2e%2e/blobs/upload/0
/x%2f..%2fblobs/upload/0 /x\\..\\blobs\\upload /./blobs/./x /blobs;v=1/x
/_apis/artifactcache /_apis/artifactcache/cache /_apis//artifactcache/cache
/twirp/{SERVICE}/CreateCacheEntry /twirp/{SERVICE}/NoSuchMethod /twirp//{SERVICE}/CreateCacheEntry
/twirp/{SERVICE.upper()}/CreateCacheEntry /twirp/x/../{SERVICE}/CreateCacheEntry
/twirp/{SERVICE.replace(".", "%2E")}/CreateCacheEntry /anything/{SERVICE}/CreateCacheEntry
/twirp/{SERVICE};x/CreateCacheEntry
""".split()

THEIRS = f"""
/twirp/github.actions.results.api.v1.ArtifactService/CreateArtifact
/twirp/{SERVICE}V2/CreateCacheEntry /twirp/x{SERVICE}/CreateCacheEntry
/healthy /blobsy/x /apis /orgsy/o /reposit /managed /runners/hook.cjs /iamb/x /x/health
/_apis/pipelines/workflows/1/artifacts /_apis
//evil.example/x /@evil.example/x /%2f%2fevil.example /x/../y
""".split()


@pytest.mark.parametrize("path", [*OURS, *THEIRS])
def test_own_paths_are_recognized(path):
    assert is_ours(path) is (path in OURS)


def test_repeatedly_encoded_path_is_refused():
    assert not is_ours("/%252525x")
    with pytest.raises(InvalidRequest, match="more than 3 times"):
        is_ours("/%25252541")


def scope(raw_path: bytes | None, query: bytes = b"", event_path: str = "") -> dict[str, Any]:
    return {"raw_path": raw_path, "query_string": query, "aws.event": {"path": event_path}}


@pytest.mark.parametrize("path", [*THEIRS, "/a%2Fb%2fc%zz", "/a b".replace(" ", "+"), '/"<>^`{|}\\'])
def test_path_and_query_are_forwarded_unchanged(path):
    query = b"a=%2F&a=+&b&=c%zz"
    assert target_of(scope(path.encode(), query)) == (path, query.decode())


@pytest.mark.parametrize(
    ("handed_over", "sent"),
    [
        ("/a%2Fb", "/a%2Fb"),
        ("/a b", "/a%20b"),
        ("/ä", "/%C3%A4"),
        ("/a?b#c", "/a%3Fb%23c"),
        ("/a\r\nHost: evil", "/a%0D%0AHost:%20evil"),
    ],
)
def test_path_decoded_by_gateway_is_encoded_again(handed_over, sent):
    assert target_of(scope(None, event_path=handed_over)) == (sent, "")


WRONG = [b"http://evil.example/x", b"evil.example:443", b"*", b"", b"/a b", b"/a\r\nHost: evil", b"/\xe4"]


@pytest.mark.parametrize(
    "wrong",
    [*map(scope, WRONG), scope(b"/a", b"\n"), scope(b"/a", b"\xe4"), scope(None, event_path="x")],
    ids=str,
)
def test_invalid_target_is_refused(wrong):
    with pytest.raises(InvalidRequest):
        target_of(wrong)


KEPT = [
    (b"authorization", b"Bearer t"),
    (b"content-type", b"application/protobuf"),
    (b"x-twice", b"a=1"),
    (b"x-twice", b"b=2"),
    (b"accept-encoding", b"gzip, br"),
    (b"content-encoding", b"gzip"),
    (b"x-custom", "ä".encode()),
    (b"x-amz-date", b"2026"),
]

DROPPED = b"""
host content-length connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer
transfer-encoding upgrade cookie expect via forwarded x-viewer-host x-amz-cf-id x-amzn-trace-id x-forwarded-for
x-forwarded-proto cloudfront-viewer-country
""".split()
OF_THE_ORIGIN = b"Set-Cookie clear-site-data Strict-Transport-Security Content-Security-Policy Alt-Svc".split()


def test_client_headers_are_forwarded_unchanged():
    assert request_headers(KEPT) == [*KEPT, (b"cdn-loop", b"serverless-actions-cache")]
    for name in DROPPED:
        assert request_headers([(name, b"x"), (name.title(), b"y"), *KEPT]) == request_headers(KEPT), name
    with pytest.raises(InvalidRequest, match="x-odd"):
        request_headers([(b"x-odd", b"\xe4")])


def test_headers_named_by_connection_are_dropped():
    named = [(b"Connection", b"close, X-One"), (b"connection", b"x-two"), (b"X-One", b"1"), (b"x-two", b"2")]
    assert request_headers([*named, *KEPT]) == request_headers(KEPT)
    assert answer_headers([*named, *KEPT]) == answer_headers(KEPT) == [*KEPT, *INERT]


def test_response_drops_hop_by_hop_and_origin_wide_headers():
    answer = [(b"X-Twice", b"a=1"), (b"X-Twice", b"b=2"), (b"Content-Length", b"3"), (b"Via", b"1.1 x")]
    assert answer_headers([*answer, (b"Date", b"now"), (b"Transfer-Encoding", b"chunked")]) == [*answer, *INERT]
    for name in OF_THE_ORIGIN:
        assert answer_headers([(name, b"x")]) == [*INERT], name


def test_forwarding_loop_is_detected():
    assert has_been_here(request_headers(KEPT))
    assert has_been_here([(b"CDN-Loop", b"fastly, serverless-actions-cache; v=1")])
    assert not has_been_here([(b"cdn-loop", b"fastly")])

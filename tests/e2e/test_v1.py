"""The v1 API, request by request; real clients of it: test_actions_cache.py, test_other_clients.py, test_sccache.py."""

from datetime import datetime

import pytest

from dev.clients.runtime_token import BRANCH, DEFAULT_BRANCH, READ, READ_WRITE, runtime_token
from dev.clients.wire import V1_ROOT, VERSION, Job, Reply, V1Job, send


@pytest.fixture
def v1(job: Job) -> V1Job:
    return V1Job(job.server, job.token)


def assert_refused(reply: Reply, status: int, *words: str) -> None:
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/json"
    assert all(word in reply.json["message"] for word in words), reply.json


def test_unordered_chunks_form_entry_readable_by_v2(v1: V1Job, job: Job):
    number = v1.reserve()
    for place, body in (("6-9", b"6789"), ("0-2", b"???"), ("3-5", b"345"), ("0-2", b"012")):
        assert v1.chunk(number, f"bytes {place}/*", body).status == 204
    assert v1.look_up().status == 204, "not visible before the commit"
    assert v1.commit(number, 10).status == 204
    assert v1.commit(number, 10).status == 204, "its answer may have been lost"
    assert_refused(v1.chunk(number, "bytes 0-2/*", b"???"), 400, "committed")
    assert_refused(v1.commit(number, 9), 400, "10 bytes arrived")

    hit = v1.look_up("nothing,ke").json
    assert (hit["cacheKey"], hit["scope"]) == ("key", BRANCH)
    assert job.restore("key").body == b"0123456789"
    taken = v1.post("caches", key="key", version=VERSION)
    assert_refused(taken, 409, "key")
    assert taken.json["typeKey"] == "ArtifactCacheItemAlreadyExistsException", (
        "by which BuildKit knows it (go-actions-cache)"
    )


def test_v2_entry_is_found_by_v1(v1: V1Job, job: Job):
    job.save("key", b"saved by v2")
    assert send("GET", v1.look_up().json["archiveLocation"]).body == b"saved by v2"


def test_key_with_comma_is_tried_first(v1: V1Job, job: Job):
    """Clients percent-encode the whole list, so its commas and a key's own look the same."""
    for key in ("a,b", "apple", "b", "x,yz", "x"):
        job.save(key, key.encode())
    found = [v1.look_up(keys).json["cacheKey"] for keys in ("a%2Cb", "a,b", "a,c", "b,a", "x,y", f"{'k' * 512},b")]
    assert found == ["a,b", "a,b", "apple", "b", "x", "b"]


def test_similar_entries_are_listed_only_if_readable(v1: V1Job, job: Job, repository: str):
    job.save("deps-1", b"data")
    others = [runtime_token(), runtime_token([("refs/heads/another", READ_WRITE)], repository)]
    seen, *unseen = (V1Job(v1.server, token).list_similar("deps") for token in (v1.token, *others))
    [found] = seen.json["artifactCaches"]
    assert seen.json["totalCount"] == 1
    assert {name: found[name] for name in ("cacheKey", "cacheVersion", "scope")} == {
        "cacheKey": "deps-1",
        "cacheVersion": VERSION,
        "scope": BRANCH,
    }
    assert datetime.fromisoformat(found["creationTime"]).tzinfo is not None
    assert [reply.json for reply in unseen] == [{"totalCount": 0, "artifactCaches": []}] * 2, "isolation"


@pytest.mark.parametrize("pieces", [[], [b"one piece"]], ids=["none", "one"])
def test_empty_and_single_chunk_caches_are_saved(v1: V1Job, job: Job, pieces: list[bytes]):
    number, size = v1.reserve(), sum(map(len, pieces))
    for body in pieces:
        assert v1.chunk(number, f"bytes 0-{size - 1}/*", body).status == 204
    assert v1.commit(number, size).status == 204
    assert job.restore("key").body == b"".join(pieces)


def test_wrong_commit_size_changes_nothing(v1: V1Job, job: Job):
    number = v1.reserve()
    v1.chunk(number, "bytes 0-2/*", b"012")
    assert_refused(v1.commit(number, 4), 400, "3 bytes arrived")
    assert v1.look_up().status == 204
    v1.chunk(number, "bytes 3-3/*", b"3")
    assert v1.commit(number, 4).status == 204
    assert job.restore("key").body == b"0123"


@pytest.mark.parametrize("body", [b"01", b"0123", b""], ids=["too short", "too long", "empty"])
def test_chunk_of_wrong_length_is_refused(v1: V1Job, body: bytes):
    number = v1.reserve()
    assert_refused(v1.chunk(number, "bytes 0-2/*", body), 400, "announces 3 bytes")
    assert_refused(v1.commit(number, 3), 400, "0 bytes arrived")


def test_oversized_chunk_is_refused_before_upload(v1: V1Job):
    assert_refused(v1.chunk(v1.reserve(), f"bytes 0-{10**15 - 1}/*", b""), 413, "the piece has")


@pytest.mark.parametrize("number", ["0", "1", "-1", "x", "9" * 40, "%00", "²"])
def test_unknown_upload_is_not_found(v1: V1Job, number: str):
    path = number.encode().decode("latin-1") if number.isascii() else "%C2%B2"
    assert_refused(v1.chunk(path, "bytes 0-0/*", b"0"), 404)
    assert_refused(v1.commit(path, 1), 404)


def test_upload_is_limited_to_its_owner(v1: V1Job, repository: str):
    number = v1.reserve()
    others = [runtime_token(), runtime_token([("refs/heads/another", READ_WRITE)], repository)]
    for other in (V1Job(v1.server, token) for token in others):
        assert_refused(other.chunk(number, "bytes 0-0/*", b"0"), 404)
        assert_refused(other.commit(number, 0), 404)
    reader = V1Job(v1.server, runtime_token([(BRANCH, READ), (DEFAULT_BRANCH, READ)], repository))
    assert_refused(reader.chunk(number, "bytes 0-0/*", b"0"), 403, "cache write denied")
    assert_refused(reader.post("caches", key="another", version=VERSION), 403, "cache write denied")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "caches", b"no json", 400),
        ("POST", "caches", b"[]", 400),
        ("POST", "caches", b'{"key": "k"}', 400),
        ("POST", "caches", b'{"key": "", "version": "v"}', 400),
        ("POST", "caches", b"[" * 100_000, 400),
        ("POST", "caches", b" " * 300_000, 413),
        ("GET", "cache?version=v", None, 400),
        ("GET", f"cache?keys={'k,' * 40}&version=v", None, 400),
        ("GET", "cache?keys=k", None, 400),
        ("GET", "caches", None, 400),
        ("GET", f"caches?key={'k' * 513}", None, 400),
        ("GET", "nothing/of/this", None, 404),
        ("DELETE", "caches", None, 404),
    ],
)
def test_malformed_request_is_refused_in_json(v1: V1Job, method: str, path: str, body: bytes | None, status: int):
    assert_refused(v1.ask(method, path, body), status)


@pytest.mark.parametrize("size", ["1", -1, None, 1.5, 10**30, True, 10**4000])
def test_invalid_commit_size_is_refused(v1: V1Job, size: object):
    number = v1.reserve()
    assert_refused(v1.post(f"caches/{number}", size=size), 400, "size: ")


@pytest.mark.parametrize("size", ["1", -1, 2.0, True, 10**4000])
def test_invalid_reservation_size_is_refused(v1: V1Job, size: object):
    assert_refused(v1.post("caches", key="key", version=VERSION, cacheSize=size), 400, "cacheSize: ")


def test_request_without_token_is_refused(server: str):
    for path in ("cache?keys=k&version=v", "caches?key=k"):
        assert_refused(send("GET", f"{server}/{V1_ROOT}/{path}"), 401, "token")

"""Strategies of what may be sent to each route, and the check of all answers."""

import base64
import json
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from hypothesis import strategies as st

from dev.clients.runtime_token import ac_claim, runtime_token
from dev.clients.wire import SERVICE, V1_ROOT, VERSION, block_list_xml
from tests.guarantees.fuzz.target import CLOSED, Target, exchange, request

V1_PATH = f"/{V1_ROOT}/"

METHODS = ("CreateCacheEntry", "FinalizeCacheEntryUpload", "GetCacheEntryDownloadURL")

Strategy = st.SearchStrategy[bytes]
"""Makes requests."""


def check(target: Target, sent: bytes, *, is_whole: bool = True) -> None:
    """Check that the answer comes in time, is no 5xx, and is in the dialect of the path.

    Only what isn't HTTP is refused as text, or by closing the connection, before any function has seen a path.
    """
    answer = exchange(target.server, sent, is_whole=is_whole)
    assert answer.status == CLOSED or 100 <= answer.status < 500, (sent[:1000], answer)
    is_http = b"Invalid HTTP request received." not in answer.body and not sent.startswith(b"HEAD ")
    if answer.status < 400 or not is_http:
        return
    content_type = answer.head.lower().partition(b"content-type:")[2].strip().partition(b"\r\n")[0]
    # GitHub's dialect names the charset, where it refuses the page's path.
    known = (b"application/json", b"application/xml", b"application/json; charset=utf-8")
    assert content_type in known, (sent[:1000], answer)
    if content_type == b"application/json":
        of_v1 = sent.partition(b" ")[2].startswith(V1_PATH.encode())
        assert json.loads(answer.body).keys() >= ({"message", "typeKey"} if of_v1 else {"code", "msg"}), answer


# ------------------------------------------------------------------ elements

texts = st.text(max_size=40)
odd_texts = st.one_of(
    texts, st.sampled_from(["", "\0", "../", "%00", "\U0001f600" * 130, "k" * 512, "\u017f", "\u00e9"])
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), odd_texts)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
header_names = st.sampled_from(
    [
        *("range", "x-ms-range", "if-match", "if-range", "x-ms-blob-type", "content-type", "content-encoding"),
        *("expect", "x-viewer-host", "x-forwarded-for", "cookie", "accept-encoding", "te", "trailer"),
        *("x-amz-copy-source", "x-amz-acl", "authorization", "date"),
    ]
).map(str.encode)
header_values = st.binary(max_size=60).map(lambda raw: raw.replace(b"\r", b" ").replace(b"\n", b" "))
ranges = st.from_regex(r"(bytes|items)?[= ]*[0-9]{0,25}-[0-9]{0,25}(,[0-9]{0,5}-[0-9]{0,5})?", fullmatch=True).map(
    str.encode
)
headers = st.lists(
    st.one_of(
        st.tuples(header_names, header_values),
        st.tuples(st.sampled_from([b"range", b"x-ms-range"]), ranges),
        st.tuples(st.sampled_from([b"if-match", b"if-range"]), st.sampled_from([b"*", b'""', b'W/"a"', b"," * 50])),
    ),
    max_size=6,
)


other_headers = headers.map(lambda rows: [row for row in rows if row[0] != b"authorization"])


def _authorized(token: str) -> list[tuple[bytes, bytes]]:
    return [(b"Authorization", f"Bearer {token}".encode())]


def _optional(values: st.SearchStrategy[object], names: str) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names.split(), values))


def _as_base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


# ------------------------------------------------------------------ the cache service


def messages(target: Target) -> Strategy:
    """Make messages that resemble good ones, with good tokens."""
    names = "key version size_bytes sizeBytes restore_keys restoreKeys metadata x"
    fields = _optional(st.one_of(odd_texts, json_values), names)
    likely = st.builds(
        lambda key, version, size, keys: {"key": key, "version": version, "size_bytes": size, "restore_keys": keys},
        odd_texts,
        odd_texts,
        st.one_of(st.integers(), st.floats(), texts),
        st.lists(odd_texts, max_size=40),
    )
    body = st.one_of(fields, likely, json_values).map(lambda value: json.dumps(value).encode())
    encoded = st.one_of(body, body.map(lambda raw: raw[: len(raw) // 2]), st.binary(max_size=200))
    return st.builds(
        lambda method, content_type, raw, more: request(
            b"POST",
            f"/twirp/{SERVICE}/{method}".encode(),
            [(b"Content-Type", content_type), *_authorized(target.token), *more],
            raw,
        ),
        st.sampled_from(METHODS),
        st.sampled_from(
            [b"application/json", b"application/protobuf", b"application/json; charset=utf-16", b"text/xml"]
        ),
        encoded,
        other_headers,
    )


def tokens(_: Target) -> Strategy:
    """Make tokens with claims of any type, and tokens that are hardly any."""
    scopes = _optional(json_values, "Scope Permission")
    ac = st.one_of(
        json_values,
        json_values.map(json.dumps),
        st.lists(scopes, max_size=4).map(json.dumps),
        st.tuples(odd_texts, st.integers()).map(lambda scope: ac_claim([scope])),
    )
    claims = st.builds(
        lambda changed, given: runtime_token(**changed | given),
        _optional(json_values, "exp nbf iss aud iat repository_id"),
        _optional(ac, "ac"),
    )
    part = st.one_of(st.binary(max_size=40), json_values.map(lambda value: json.dumps(value).encode())).map(_as_base64)
    parts = st.lists(part, max_size=5).map(".".join)
    body = json.dumps({"key": "fuzzed", "version": VERSION}).encode()
    return st.builds(
        lambda method, scheme, token: request(
            b"POST",
            f"/twirp/{SERVICE}/{method}".encode(),
            [(b"Content-Type", b"application/json"), (b"Authorization", scheme + b" " + token)],
            body,
        ),
        st.sampled_from(METHODS),
        st.sampled_from([b"Bearer", b"bearer", b"Bearer ", b"Basic", b""]),
        st.one_of(claims.map(str.encode), parts.map(str.encode), header_values),
    )


def v1(target: Target) -> Strategy:
    """Make requests that resemble good ones of v1, with odd numbers, ranges, sizes, keys and bodies."""
    numbers = st.one_of(
        st.just(str(target.number)), st.integers().map(str), odd_texts.map(quote), st.just("%C2%B2"), st.just("1/2")
    )
    keys = st.lists(odd_texts.map(quote), max_size=40).map(",".join)
    queries = st.one_of(
        st.builds(lambda key, version: f"keys={key}&version={version}", keys, odd_texts.map(quote)),
        st.sampled_from(["keys=k", "version=v", "keys=%ff&version=%00", "keys=%2C%2C&version=v", "%", ""]),
    )
    paths = st.one_of(
        numbers.map(lambda number: f"caches/{number}"),
        queries.map(lambda query: f"cache?{query}"),
        odd_texts.map(lambda key: f"caches?key={quote(key)}"),
        st.sampled_from(["caches", "caches/", "cache", ""]),
    )
    fields = _optional(st.one_of(odd_texts, json_values), "key version cacheSize size")
    bodies = st.one_of(fields, json_values).map(lambda value: json.dumps(value).encode())
    body = st.one_of(bodies, st.binary(max_size=9))
    places = st.one_of(
        st.integers(1, 5).map(lambda first: f"bytes {first}-{first + 2}/*".encode()),
        ranges,
        ranges.map(lambda found: found.replace(b"=", b" ") + b"/*"),
        header_values,
    )
    return st.builds(
        lambda method, path, place, raw, more: request(
            method, (V1_PATH + path).encode(), [*_authorized(target.token), (b"Content-Range", place), *more], raw
        ),
        st.sampled_from([b"PATCH", b"POST", b"GET", b"HEAD", b"PUT", b"DELETE"]),
        paths,
        places,
        body,
        other_headers,
    )


# ------------------------------------------------------------------ blobs

NEVER_SENT = "bmV2ZXIgc2VudA=="
"""Block in each list that would otherwise be good, so that the upload stays open for the next one."""


def urls(target: Target) -> Strategy:
    """Make requests whose paths and queries resemble good ones, with every method."""

    def around(url: str) -> Strategy:
        parts = urlsplit(url)
        path = st.one_of(
            st.just(parts.path),
            st.tuples(st.integers(0, len(parts.path)), odd_texts).map(
                lambda at: parts.path[: at[0]] + quote(at[1]) + parts.path[at[0] :]
            ),
            st.integers(0, len(parts.path)).map(lambda at: parts.path[:at] or "/"),
        )
        pairs = st.lists(
            st.tuples(
                st.sampled_from(["comp", "blockid", "se", "sig", "timeout", "restype", "a", ""]),
                st.one_of(
                    odd_texts.map(quote), st.sampled_from(["block", "blocklist", "%", "%zz", "%ff", "AAAA", "+", "="])
                ),
            ),
            max_size=5,
        ).map(lambda rows: "&".join(f"{name}={value}" for name, value in rows))
        query = st.one_of(
            pairs, pairs.map(lambda more: f"{parts.query}&{more}"), pairs.map(lambda more: f"{more}&{parts.query}")
        )
        return st.builds(lambda where, what: f"{where}?{what}".encode(), path, query)

    where = st.one_of(*(around(url) for url in (target.upload, target.download, target.object)))
    method = st.sampled_from([b"GET", b"HEAD", b"PUT", b"POST", b"DELETE", b"PATCH", b"OPTIONS"])
    return st.builds(request, method, where, headers, st.binary(max_size=100))


def reads(target: Target) -> Strategy:
    """Make requests for good URLs with ranges and conditions of every kind."""
    where = st.sampled_from([target.download, target.object]).map(lambda url: url.removeprefix(target.server).encode())
    return st.builds(request, st.sampled_from([b"GET", b"HEAD"]), where, headers)


def block_lists(target: Target) -> Strategy:
    url = urlsplit(target.upload)
    ids = st.one_of(odd_texts, st.binary(min_size=1, max_size=70).map(lambda raw: base64.b64encode(raw).decode()))
    good = st.lists(ids, max_size=6).map(lambda all_ids: block_list_xml([*all_ids, NEVER_SENT]))
    tags = st.sampled_from(
        ["<Latest>", "</Latest>", "<Committed>", "<BlockList>", "</BlockList>", "<!--", "]]>", "<?a?>", "&a;"]
    )
    soup = st.lists(st.one_of(tags, texts), max_size=12).map(lambda bits: "".join(bits).encode())
    encodings = st.sampled_from(["utf-16", "utf-7", "latin-1", "utf-32", "cp037", "idna", "base64", "rot13", "zip"])
    declared = st.builds(lambda name, raw: f'<?xml version="1.0" encoding="{name}"?>'.encode() + raw, encodings, good)
    mutated = st.builds(
        lambda raw, at, bit: raw[: at % len(raw)] + bit + raw[at % len(raw) + 1 :],
        good,
        st.integers(0),
        st.binary(max_size=3),
    )
    body = st.one_of(good, soup, declared, mutated, st.binary(max_size=100))
    where = f"{url.path}?{url.query}&comp=blocklist".encode()
    return body.map(lambda raw: request(b"PUT", where, [(b"Content-Type", b"application/xml")], raw))


PROPERTIES: Mapping[str, Callable[[Target], Strategy]] = {
    "messages": messages,
    "tokens": tokens,
    "v1": v1,
    "URLs": urls,
    "reads": reads,
    "block lists": block_lists,
}

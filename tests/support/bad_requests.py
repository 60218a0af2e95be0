"""Bad requests, each with the status and the error code that refuse it, for tests in process and on a live server."""

import base64
import json
import re
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from dev.clients.runtime_token import BRANCH, READ_WRITE, ac_claim, encode, runtime_token
from dev.clients.wire import (
    SERVICE,
    VERSION,
    Job,
    Reply,
    block_list_xml,
    put_blob,
    put_block,
    put_block_list,
    send,
    with_query,
)

KEY = "key"
DATA = b"data"
SAVED_KEY, SAVED = "another entry", b"0123456789"
MIB = 1024 * 1024

BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>
<BlockList><Latest>&c;</Latest></BlockList>"""
OUTSIDE_ENTITY = (
    b"""<!DOCTYPE b [<!ENTITY e SYSTEM "file:///etc/passwd">]><BlockList><Latest>&e;</Latest></BlockList>"""
)
DEEP = b'{"key":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
DEEPER_THAN_PYTHON = "[" * 3_000 + "]" * 3_000


class Upload(NamedTuple):
    """An upload under way, of which one block has arrived, beside an entry that is saved."""

    job: Job
    url: str
    block_id: str
    entry_url: str
    """Download URL of the saved entry, on the server itself."""


Attempt = Callable[[Upload], Reply]


def twirp_refusal(reply: Reply) -> tuple[int, str]:
    """Return status and code of a Twirp error, and check the rest of it."""
    error = reply.json
    assert error.keys() - {"message"} == {"code", "msg"}, error
    assert error["msg"]
    assert reply.headers["Content-Type"] == "application/json"
    return reply.status, error["code"]


def azure_refusal(reply: Reply) -> tuple[int, str]:
    """Return status and code of an Azure error, and check the rest of it."""
    code, error = reply.headers["x-ms-error-code"], ET.fromstring(reply.body)
    assert (error.tag, error.findtext("Code")) == ("Error", code), reply.body
    assert error.findtext("Message")
    assert reply.headers["Content-Type"] == "application/xml"
    assert reply.headers["x-ms-request-id"]
    return reply.status, code


# ------------------------------------------------------------------ the cache service


def create(**message: object) -> Attempt:
    return lambda upload: upload.job.call("CreateCacheEntry", **{"key": "a new one", **message})


def finalize(**message: object) -> Attempt:
    return lambda upload: upload.job.call("FinalizeCacheEntryUpload", **{"key": KEY, **message})


def look_up(**message: object) -> Attempt:
    return lambda upload: upload.job.call("GetCacheEntryDownloadURL", **{"key": KEY, **message})


def body(content: bytes, content_type: str = "application/json") -> Attempt:
    return lambda upload: upload.job.post("CreateCacheEntry", content, content_type)


def token(text: str) -> Attempt:
    return lambda upload: Job(upload.job.server, text).create(KEY)


def claims(**changed: object) -> Attempt:
    """Send a token that lacks or changes some claims. It is made late, since tokens tell the time."""
    return lambda upload: Job(upload.job.server, runtime_token(**changed)).create(KEY)  # type: ignore[arg-type]


def path(method: str, where: str) -> Attempt:
    return lambda upload: send(method, upload.job.server + where, b"{}" if method == "POST" else None)


def without_token(upload: Upload) -> Reply:
    return send(
        "POST",
        f"{upload.job.server}/twirp/{SERVICE}/CreateCacheEntry",
        json.dumps({"key": KEY, "version": VERSION}).encode(),
        {"Content-Type": "application/json"},
    )


def basic_authorization(upload: Upload) -> Reply:
    return upload.job.post("CreateCacheEntry", b"{}", Authorization="Basic dXNlcjpwYXNzd29yZA==")


def chunked(size: int) -> Attempt:
    """Send a body without its length."""
    chunk = b"%x\r\n%s\r\n" % (MIB, b" " * MIB)

    def attempt(upload: Upload) -> Reply:
        framed = chunk * (size // MIB) + b"0\r\n\r\n"
        return upload.job.post("CreateCacheEntry", framed, **{"Transfer-Encoding": "chunked"})

    return attempt


CALLS: dict[str, tuple[Attempt, int, str]] = {
    "an unknown path": (path("GET", "/nowhere"), 404, "bad_route"),
    "the root": (path("POST", "/"), 404, "bad_route"),
    "a trailing slash": (path("POST", f"/twirp/{SERVICE}/CreateCacheEntry/"), 404, "bad_route"),
    "an unknown service": (path("POST", "/twirp/github.actions.Other/CreateCacheEntry"), 404, "bad_route"),
    "an unknown method": (path("POST", f"/twirp/{SERVICE}/DeleteEverything"), 404, "bad_route"),
    "a GET of a method": (path("GET", f"/twirp/{SERVICE}/CreateCacheEntry"), 404, "bad_route"),
    "a PUT of a method": (path("PUT", f"/twirp/{SERVICE}/CreateCacheEntry"), 404, "bad_route"),
    "the framework's own pages": (path("GET", "/docs"), 404, "bad_route"),
    "no token": (without_token, 401, "unauthenticated"),
    "another kind of authorization": (basic_authorization, 401, "unauthenticated"),
    "an empty token": (token(""), 401, "unauthenticated"),
    "no token at all in it": (token("nonsense"), 401, "unauthenticated"),
    "three parts of nonsense": (token("a.b.c"), 401, "unauthenticated"),
    "a token of a list": (token(encode([])), 401, "unauthenticated"),  # type: ignore[arg-type]
    "a token that is too long": (claims(padding="x" * 20_000), 401, "unauthenticated"),
    "an expired token": (claims(exp=1_500_000_000), 401, "unauthenticated"),
    "a token of tomorrow": (claims(nbf=int(time.time()) + 86_400), 401, "unauthenticated"),
    "an expiry that is no number": (claims(exp="tomorrow"), 401, "unauthenticated"),
    "an infinite expiry": (claims(exp=float("inf")), 401, "unauthenticated"),
    "an infinite start": (claims(nbf=float("inf")), 401, "unauthenticated"),
    "no repository": (claims(repository_id=None), 401, "unauthenticated"),
    "a repository that is too long": (claims(repository_id="9" * 65), 401, "unauthenticated"),
    "no ac": (claims(ac=None), 401, "unauthenticated"),
    "an ac that isn't JSON": (claims(ac="{"), 401, "unauthenticated"),
    "an ac that is no string": (claims(ac=[{"Scope": BRANCH, "Permission": 3}]), 401, "unauthenticated"),
    "an ac without scopes": (claims(ac="[]"), 401, "unauthenticated"),
    "an ac that is a number": (claims(ac="5"), 401, "unauthenticated"),
    "an ac of numbers": (claims(ac="[5]"), 401, "unauthenticated"),
    "a scope without a name": (claims(ac='[{"Permission": 3}]'), 401, "unauthenticated"),
    "a scope without a permission": (claims(ac='[{"Scope": "a"}]'), 401, "unauthenticated"),
    "an infinite permission": (claims(ac='[{"Scope": "a", "Permission": 1e999}]'), 401, "unauthenticated"),
    "a scope that isn't Unicode": (claims(ac=r'[{"Scope": "\ud800", "Permission": 3}]'), 401, "unauthenticated"),
    "too many scopes": (claims(ac=ac_claim([(BRANCH, READ_WRITE)] * 65)), 401, "unauthenticated"),
    "a deep ac": (claims(ac=DEEPER_THAN_PYTHON), 401, "unauthenticated"),
    "deep claims": (
        token(f"e30.{base64.urlsafe_b64encode(DEEPER_THAN_PYTHON.encode()).decode()}."),
        401,
        "unauthenticated",
    ),
    "a text": (body(b"key=value", "text/plain"), 404, "bad_route"),
    "a form": (body(b"key=value", "application/x-www-form-urlencoded"), 404, "bad_route"),
    "no content type": (body(b"{}", ""), 404, "bad_route"),
    "no body": (body(b""), 400, "malformed"),
    "half of a JSON": (body(b'{"key": "k'), 400, "malformed"),
    "a JSON number": (body(b"5"), 400, "malformed"),
    "a JSON list": (body(b"[5]"), 400, "malformed"),
    "a JSON null": (body(b"null"), 400, "malformed"),
    "a JSON that isn't UTF-8": (body(b'{"key": "\xff"}'), 400, "malformed"),
    "a deep JSON": (body(DEEP), 400, "malformed"),
    "a number for a key": (create(key=5), 400, "malformed"),
    "a key that isn't Unicode": (body(rb'{"key": "\ud800", "version": "v"}'), 400, "malformed"),
    "half of a protobuf": (body(b"\x12\xff", "application/protobuf"), 400, "malformed"),
    "a JSON said to be a protobuf": (body(b'{"key": "k"}', "application/protobuf"), 400, "malformed"),
    "a body that announces too much": (body(b" " * 300_000), 413, "invalid_argument"),
    "a body that is too large": (chunked(2 * MIB), 413, "invalid_argument"),
    "no key": (create(key=""), 400, "invalid_argument"),
    "no version": (create(version=""), 400, "invalid_argument"),
    "a null for a key": (create(key=None), 400, "invalid_argument"),
    "a key of 513 characters": (create(key="k" * 513), 400, "invalid_argument"),
    "a version of 513 characters": (create(version="v" * 513), 400, "invalid_argument"),
    "no key to finalize": (finalize(key=""), 400, "invalid_argument"),
    "no key to look up": (look_up(key=""), 400, "invalid_argument"),
    "a restore key of 513 characters": (look_up(restore_keys=["k" * 513]), 400, "invalid_argument"),
    "an empty restore key": (look_up(restore_keys=[""]), 400, "invalid_argument"),
    "33 restore keys": (look_up(restore_keys=[str(i) for i in range(33)]), 400, "invalid_argument"),
    "restore keys that are no list": (look_up(restore_keys="k"), 400, "malformed"),
    "a finalize of a key never reserved": (finalize(key="never reserved", size_bytes=1), 404, "not_found"),
    "a finalize of another version": (finalize(version="b", size_bytes=4), 404, "not_found"),
    "a finalize before the block list": (finalize(size_bytes=4), 400, "invalid_argument"),
    "a negative size": (finalize(size_bytes=-4), 400, "invalid_argument"),
    "a size beyond 64 bits": (finalize(size_bytes=str(2**64)), 400, "malformed"),
    "a size of many digits": (body(b'{"size_bytes": 1%s}' % (b"0" * 5000)), 400, "malformed"),
    "a size that is no number": (finalize(size_bytes="four"), 400, "malformed"),
    "a size of half a byte": (finalize(size_bytes=4.5), 400, "malformed"),
    "a saved key": (create(key=SAVED_KEY), 409, "already_exists"),
    "a reserved key": (create(key=KEY), 409, "already_exists"),
}


# ------------------------------------------------------------------ blobs


def altered(url: str, name: str, value: str) -> str:
    """Return the URL with one of its query's values replaced."""
    before, _, rest = url.partition(f"{name}=")
    _, ampersand, after = rest.partition("&")
    return f"{before}{name}={value}{ampersand}{after}"


def block_list(content: bytes) -> Attempt:
    return lambda upload: send("PUT", with_query(upload.url, last={"comp": "blocklist"}), content)


def block_ids(*ids: str) -> Attempt:
    return block_list(block_list_xml(ids))


def block(block_id: str) -> Attempt:
    return lambda upload: put_block(upload.url, block_id, DATA)


def comp(value: str) -> Attempt:
    return lambda upload: send("PUT", with_query(upload.url, last={"comp": value}), DATA)


def to_upload(method: str, **headers: str) -> Attempt:
    return lambda upload: send(method, upload.url, None, {name.replace("_", "-"): v for name, v in headers.items()})


def to_download(method: str, **headers: str) -> Attempt:
    return lambda upload: send(
        method, upload.entry_url, None, {name.replace("_", "-"): v for name, v in headers.items()}
    )


def at(change: Callable[[Upload], str], content: bytes = DATA) -> Attempt:
    """Send a PUT to another URL than the right one."""
    return lambda upload: put_blob(change(upload), content)


def another_archive(upload: Upload) -> str:
    """Return a URL that has the upload's signature and the id of the other entry's archive."""
    other_id = urlsplit(upload.entry_url).path.rpartition("/")[2]
    return upload.url.replace(urlsplit(upload.url).path.rpartition("/")[2], other_id)


def base64_of(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


BLOBS: dict[str, tuple[Attempt, int, str]] = {
    "an altered signature": (at(lambda u: altered(u.url, "sig", "A" * 43)), 403, "AuthenticationFailed"),
    "a signature of no ASCII": (at(lambda u: altered(u.url, "sig", "%C3%A4")), 403, "AuthenticationFailed"),
    "no signature": (at(lambda u: u.url.partition("&sig")[0]), 403, "AuthenticationFailed"),
    "no query": (at(lambda u: u.url.partition("?")[0]), 403, "AuthenticationFailed"),
    "a later expiry": (at(lambda u: altered(u.url, "se", "9999999999")), 403, "AuthenticationFailed"),
    "an expiry that is no number": (at(lambda u: altered(u.url, "se", "never")), 403, "AuthenticationFailed"),
    "another archive": (at(another_archive), 403, "AuthenticationFailed"),
    "a refusal of a large body": (
        at(lambda u: altered(u.url, "sig", "A" * 43), bytes(32 * MIB)),
        403,
        "AuthenticationFailed",
    ),
    "an upload URL to download from": (
        lambda u: send("GET", u.url.replace("/upload/", "/download/")),
        403,
        "AuthenticationFailed",
    ),
    "a download URL to upload to": (
        at(lambda u: re.sub(r"/object/\d+/(\w+)/[^?]+", r"/upload/\1", u.entry_url)),
        403,
        "AuthenticationFailed",
    ),
    "a GET of an upload URL": (to_upload("GET"), 405, "UnsupportedHttpVerb"),
    "a DELETE of an upload URL": (to_upload("DELETE"), 405, "UnsupportedHttpVerb"),
    "a POST of an upload URL": (to_upload("POST"), 405, "UnsupportedHttpVerb"),
    "a PUT of a download URL": (to_download("PUT", Content_Length="0"), 405, "UnsupportedHttpVerb"),
    "a DELETE of a download URL": (to_download("DELETE"), 405, "UnsupportedHttpVerb"),
    "a range behind the end": (to_download("GET", x_ms_range="bytes=10-"), 416, "InvalidRange"),
    "another ETag": (to_download("GET", x_ms_range="bytes=0-", If_Match='"a"'), 412, "ConditionNotMet"),
    "a range of many digits": (to_download("GET", x_ms_range=f"bytes={'9' * 5000}-"), 416, "InvalidRange"),
    "no Content-Length": (to_upload("PUT", x_ms_blob_type="BlockBlob"), 411, "MissingContentLengthHeader"),
    "a chunked body": (to_upload("PUT", Transfer_Encoding="chunked"), 411, "MissingContentLengthHeader"),
    "more than one PUT may have": (to_upload("PUT", Content_Length=str(5 * 1024**3 + 1)), 413, "RequestBodyTooLarge"),
    "a page blob": (to_upload("PUT", x_ms_blob_type="PageBlob", Content_Length="0"), 400, "InvalidInput"),
    "an unknown comp": (comp("metadata"), 400, "InvalidInput"),
    "an empty comp": (comp(""), 400, "InvalidInput"),
    "a comp that XML can't hold": (comp("\0\x01\ufffe"), 400, "InvalidInput"),
    "no block id": (comp("block"), 400, "InvalidInput"),
    "an empty block id": (block(""), 400, "InvalidInput"),
    "a block id that isn't base64": (block("no base64!"), 400, "InvalidInput"),
    "a block id that climbs": (block("../../../etc"), 400, "InvalidInput"),
    "a block id of 65 bytes": (block(base64_of(65)), 400, "InvalidInput"),
    "an empty block list": (block_list(b""), 400, "InvalidInput"),
    "a block list that isn't XML": (block_list(b"AAAA,BBBB"), 400, "InvalidInput"),
    "half of a block list": (block_list(b"<BlockList><Latest>AAAA"), 400, "InvalidInput"),
    "another document": (block_list(b"<Error/>"), 400, "InvalidInput"),
    "another tag in the list": (block_list(b"<BlockList><Oldest>AAAA</Oldest></BlockList>"), 400, "InvalidInput"),
    "an unknown encoding": (block_list(b'<?xml version="1.0" encoding="x"?><BlockList/>'), 400, "InvalidInput"),
    "a deep block list": (block_list(b"<Latest>" * 100_000), 400, "InvalidInput"),
    "an entity bomb": (block_list(BOMB), 400, "InvalidInput"),
    "an entity from outside": (block_list(OUTSIDE_ENTITY), 400, "InvalidInput"),
    "an unknown block in the list": (block_ids(base64_of(16)), 400, "InvalidBlockList"),
    "a block named twice": (
        lambda upload: put_block_list(upload.url, [upload.block_id, upload.block_id]),
        400,
        "InvalidBlockList",
    ),
    "a block id in the list that isn't base64": (block_ids("no base64!"), 400, "InvalidInput"),
    "a nameless block in the list": (block_ids(""), 400, "InvalidInput"),
    "50,001 blocks": (block_ids(*["AAAA"] * 50_001), 413, "RequestBodyTooLarge"),
    "a block list over 4.5 MB": (block_list(b" " * 4_500_001), 413, "RequestBodyTooLarge"),
}

REFUSED_BY_S3 = ("a range behind the end", "another ETag", "a range of many digits")
"""Bad requests that S3 refuses, and nothing before it."""

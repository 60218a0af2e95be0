"""Asks a cache server over HTTP as a job does: requests, twirp calls, uploads, downloads, and each error in words.

The doctor and the deployment check share it. It needs Python 3.9 and nothing else, because the doctor runs on runner
images.
"""

from __future__ import annotations

import base64
import html
import http.client
import json
import re
import secrets
import select
import ssl
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape

from actions_cache_cli.doctor.address import (
    BROKEN,
    CONNECT_SECONDS,
    ENDLESS,
    Address,
    NoAnswer,
    NotAUrl,
    no_answer,
    proxy_credentials,
    proxy_for,
    read_address,
    shown_proxy,
)
from actions_cache_cli.doctor.report import quoted

READ_BYTES = 256 * 1024

OK_STATUS, CREATED, NO_CONTENT, PARTIAL = 200, 201, 204, 206
FOUND, TEMPORARY_REDIRECT = 302, 307
UNAUTHENTICATED, FORBIDDEN, TOO_MANY = 401, 403, 429

SERVICE = "/twirp/github.actions.results.api.v1.CacheService/"


@dataclass(frozen=True)
class Limits:
    """Limits of one answer; an answer beyond them is none."""

    silence_seconds: float
    """Longest wait for the next bytes. CloudFront gives an origin 30 s by default and then answers by itself."""
    transfer_seconds: float
    """Longest time for one whole answer."""
    max_bytes: int


@dataclass
class Client:
    """An HTTP client that follows no redirect and tries nothing twice, so that it shows what a server says.

    Args:
        limits: How long answers may take and how large they may be.
        variables: The variables that say whether a proxy is used; none means no proxy.
        trust: The authorities for TLS.
        user_agent: The value for requests that name none.
    """

    limits: Limits
    variables: Mapping[str, str] = field(default_factory=dict)
    trust: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    user_agent: str = "serverless-actions-cache"
    sent_bytes: int = 0
    received_bytes: int = 0
    _idle: dict[tuple[str, str | None], list[http.client.HTTPConnection]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        weakref.finalize(self, _close_all, self._idle)

    def ask(self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a request and return the whole answer.

        Raises:
            NoAnswer: There is no answer, or the connection broke within it.
        """
        reply = self.send(method, url, body, headers)
        if reply.is_broken:
            host = urlsplit(url).hostname
            raise NoAnswer(f"the connection to {host} broke after {len(reply.body)} bytes of the answer", BROKEN)
        return reply

    def send(self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a request and return the answer, or the part of it that came before the connection broke.

        Raises:
            NoAnswer: There is no answer, or it doesn't end.
        """
        try:
            address = read_address(url)
        except NotAUrl as error:
            raise NoAnswer(str(error), BROKEN) from error
        parts = urlsplit(url)
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        proxy = proxy_for(address, self.variables)
        asked_at = time.time()
        connection = self._connection(address, proxy)
        try:
            # A server may refuse a body, and close, before it has read all of it.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body, {"User-Agent": self.user_agent, **(headers or {})})
            self.sent_bytes += len(body or b"")
            answer = connection.getresponse()
            answered_at = time.time()
            content, is_broken = self._read(answer)
        # A URL that a server made may hold what no request can.
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            raise no_answer(error, address, proxy, silence=self.limits.silence_seconds) from error
        except BaseException:
            connection.close()
            raise
        if is_broken or answer.will_close:
            connection.close()
        else:
            self._idle.setdefault((address.base, proxy), []).append(connection)
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, named, content, is_broken, asked_at, answered_at)

    def _read(self, answer: http.client.HTTPResponse) -> tuple[bytes, bool]:
        """Return the body, and whether it broke off.

        Raises:
            NoAnswer: The answer doesn't end.
        """
        body, give_up_at = bytearray(), time.monotonic() + self.limits.transfer_seconds
        try:
            while chunk := answer.read1(READ_BYTES):
                body += chunk
                self.received_bytes += len(chunk)
                if len(body) > self.limits.max_bytes or time.monotonic() > give_up_at:
                    raise NoAnswer(
                        f"the answer had {len(body)} bytes after at most {self.limits.transfer_seconds:g} s and didn't "
                        "end: the way to the server is too slow for this check, or the server sends without end",
                        ENDLESS,
                    )
        except (OSError, http.client.HTTPException):
            return bytes(body), True
        is_broken = bool(answer.length)
        # Only after that does the connection take another request.
        answer.close()
        return bytes(body), is_broken

    def _connection(self, address: Address, proxy: str | None) -> http.client.HTTPConnection:
        """Return an idle or a new connection, through a proxy by CONNECT, as @actions/http-client's tunnel does.

        Raises:
            NoAnswer: The host or the proxy can't be reached.
        """
        idle = self._idle.get((address.base, proxy), [])
        with suppress(IndexError):
            while True:
                connection = idle.pop()
                # What is readable before a request is sent is the end of the connection.
                if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                    return connection
                connection.close()
        host, port = address.host, address.port
        if proxy is not None:
            try:
                via = read_address(proxy if "://" in proxy else f"http://{proxy}")
            except NotAUrl:
                via = None
            if via is None or via.is_tls:
                raise NoAnswer(f"the proxy {shown_proxy(proxy)} can't be asked by this check, only http://HOST:PORT")
            host, port = via.host, via.port
        if address.is_tls:
            connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=self.trust)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        if proxy is not None:
            connection.set_tunnel(address.host, address.port, proxy_credentials(proxy))
        try:
            connection.connect()
            connection.sock.settimeout(self.limits.silence_seconds)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise no_answer(error, address, proxy) from error
        return connection


def _close_all(idle: dict[tuple[str, str | None], list[http.client.HTTPConnection]]) -> None:
    for connections in idle.values():
        for connection in connections:
            connection.close()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    """Headers by their names in lower case."""
    body: bytes
    is_broken: bool = False
    """True if the connection broke before the announced end."""
    asked_at: float = 0.0
    """Seconds since 1970, by this machine's clock."""
    answered_at: float = 0.0

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body, or an empty one if there is none."""
        try:
            value = json.loads(self.text)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


# ---------------------------------------------------------------- a job's part: twirp, uploads, downloads


class Refused(Exception):
    """Raised when the server doesn't do what a job needs.

    The message names the step. `reply` is the unexpected answer, which `identify` puts into words; None if the message
    says all.
    """

    def __init__(self, step: str, reply: Reply | None = None) -> None:
        super().__init__(step)
        self.reply = reply


@dataclass(frozen=True)
class Job:
    """A job that talks to the server; its methods raise NoAnswer if there is no whole answer."""

    client: Client
    base: str
    token: str
    """The job's token; empty for none."""
    version: str
    """Version of the entries, one that no other client uses."""
    user_agent: str
    """Name of the client, by which the server chooses a URL that this client can read from."""

    def call(self, method: str, message: Mapping[str, Any], user_agent: str | None = None) -> Reply:
        """Call a method of the cache service."""
        body = json.dumps({"version": self.version, **message}).encode()
        headers = {"Content-Type": "application/json", "User-Agent": user_agent or self.user_agent}
        return self.client.ask("POST", f"{self.base}{SERVICE}{method}", body, headers | self.authorization)

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def reserve(self, key: str) -> str:
        """Return an upload URL for the key.

        Raises:
            Refused: The key isn't reserved.
        """
        message = message_of("CreateCacheEntry", self.call("CreateCacheEntry", {"key": key}))
        if not message.get("ok"):
            raise Refused(
                f"reserving the key was refused: {quoted(str(message.get('message') or message))}; a token of a pull "
                "request from a fork may only read, so take one of a push"
            )
        return _url(message, "signed_upload_url")

    def finalize(self, key: str, size: int) -> Reply:
        """Ask the server to make the entry visible."""
        # A string, as @actions/cache sends it.
        return self.call("FinalizeCacheEntryUpload", {"key": key, "size_bytes": str(size)})

    def look_up(self, key: str, user_agent: str | None = None) -> dict[str, Any]:
        """Return the answer to a lookup of the key.

        Raises:
            Refused: The answer is neither a hit nor a miss.
        """
        method = "GetCacheEntryDownloadURL"
        return message_of(method, self.call(method, {"key": key, "restore_keys": []}, user_agent))

    def download_url(self, key: str, user_agent: str | None = None) -> str:
        """Return the download URL of an entry that was saved.

        Raises:
            Refused: The lookup doesn't find the entry.
        """
        message = self.look_up(key, user_agent)
        if not message.get("ok") or message.get("matched_key") != key:
            raise Refused(
                f"the lookup of the saved key answers {quoted(json.dumps(message))}, not a hit of that key; if it was "
                "saved, its objects are gone from the bucket"
            )
        return _url(message, "signed_download_url")


def message_of(method: str, reply: Reply) -> dict[str, Any]:
    """Return the message of a twirp answer.

    Raises:
        Refused: It is another answer.
    """
    message = reply.json
    if reply.status != OK_STATUS or "ok" not in message:
        raise Refused(method, reply)
    return message


def _url(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name)
    try:
        read_address(value if isinstance(value, str) else "")
    except NotAUrl as error:
        said = f"{name} is {quoted(str(value))}; it must be an absolute URL, in snake_case JSON"
        raise Refused(said) from error
    return str(value)


def put_block(client: Client, url: str, block_id: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
    """Upload one block."""
    return client.ask("PUT", f"{url}&comp=block&blockid={quote(block_id, safe='')}", body, headers)


def put_block_list(client: Client, url: str, block_ids: Sequence[str]) -> Reply:
    """Commit the blocks in this order."""
    rows = "".join(f"<Latest>{escape(block_id)}</Latest>" for block_id in block_ids)
    body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{rows}</BlockList>'.encode()
    return client.ask("PUT", f"{url}&comp=blocklist", body)


def plain_block_id(number: int) -> str:
    """Return an id as @actions/cache makes them: base64 of 48 characters, so of letters and digits only."""
    return base64.b64encode(f"{secrets.token_hex(18)}{number:012d}".encode()).decode()


def download(client: Client, url: str) -> tuple[Reply, str]:
    """Follow at most one redirect, as @actions/cache does; return the answer, and the URL that it came from.

    Raises:
        NoAnswer: There is no answer.
        Refused: The redirect leads to no absolute URL.
    """
    reply = client.send("GET", url)
    if reply.status not in (FOUND, TEMPORARY_REDIRECT):
        return reply, url
    target = reply.headers.get("location", "")
    if not target.startswith(("https://", "http://")):
        raise Refused("the redirect's Location isn't absolute, and @actions/cache follows no other")
    return client.send("GET", target), target


def is_s3_url(url: str) -> bool:
    """Return whether a download URL leads to S3 itself, and not to the server."""
    return "X-Amz-Signature=" in urlsplit(url).query


# ---------------------------------------------------------------- answers

S3, SERVER, CLOUDFRONT, API_GATEWAY, HTML, OTHER = "S3", "server", "CloudFront", "API Gateway", "HTML", "other"


@dataclass(frozen=True)
class Answer:
    """Says who sent an answer that wasn't the wanted one, and what it says."""

    source: str
    """S3, SERVER, CLOUDFRONT, API_GATEWAY, HTML or OTHER."""
    words: str
    """Status, code and message, on one line."""
    code: str = ""
    message: str = ""
    is_xml: bool = False


_XML_ERROR = re.compile(r"<Error\b.*?<Code>([^<]*)</Code>(?:.*?<Message>([^<]*)</Message>)?", re.DOTALL)
_XML_MOST = 65536


def identify(reply: Reply) -> Answer:
    """Tell by its form who sent an answer."""
    status, headers, text, said = reply.status, reply.headers, reply.text, reply.json
    if xml := _XML_ERROR.search(text[:_XML_MOST]):
        code, message = html.unescape(xml[1]), html.unescape(xml[2] or "")
        # S3's errors carry ids of the request; the server's name their code in a header too, as Azure does.
        is_s3 = "x-ms-error-code" not in headers and ("x-amz-request-id" in headers or "<HostId>" in text)
        return Answer(S3 if is_s3 else SERVER, f"{status} {code}, {quoted(message)}", code, message, is_xml=True)
    is_its_page = headers.get("server") == "CloudFront" and "could not be satisfied" in text
    if is_its_page or "Generated by cloudfront" in text:
        return Answer(CLOUDFRONT, str(status))
    if "code" in said and "msg" in said:
        code, message = str(said["code"]), str(said["msg"])
        return Answer(SERVER, f"{status} {code}, {quoted(message)}", code, message)
    if "message" in said:
        is_gateway = "x-amzn-requestid" in headers or "x-amzn-errortype" in headers or status in _GATEWAY_STATUSES
        message = str(said["message"])
        return Answer(API_GATEWAY if is_gateway else SERVER, f"{status}, {quoted(message)}", "", message)
    if "<html" in text.lower():
        title = re.search(r"<title>([^<]*)", text, re.IGNORECASE)
        return Answer(HTML, f"{status} with an HTML page, {quoted(title[1]) if title else 'without a title'}")
    kind = headers.get("content-type", "no content type")
    return Answer(OTHER, f"{status} with {quoted(kind)}, {quoted(text, 60) if text.strip() else 'and no body'}")


_GATEWAY_STATUSES = (FORBIDDEN, TOO_MANY, 502, 504)


@dataclass(frozen=True)
class Health:
    is_ok: bool
    errors: str
    """Errors of the table, the bucket and the queue, each with its name; empty for none."""
    release: str


def read_health(reply: Reply) -> Health:
    """Read the answer to GET /health."""
    state = reply.json
    errors = state.get("faults")
    release = f"version {quoted(str(state.get('version')))}, commit {quoted(str(state.get('commit')))}"
    if not isinstance(errors, dict):
        return Health(is_ok=False, errors="", release=release)
    named = "; ".join(f"{part}: {quoted(str(error))}" for part, error in errors.items())
    return Health(reply.status == OK_STATUS and state.get("ok") is True, named, release)


def seconds_ahead(reply: Reply) -> float | None:
    """Return how far this machine's clock is ahead of the server's; negative if behind, None if the answer has no Date.

    The Date has whole seconds, and was written between the question and the answer: 0 is anything within that.
    """
    try:
        server = parsedate_to_datetime(reply.headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return max(0.0, reply.asked_at - (server + 1)) - max(0.0, server - reply.answered_at)

"""Requests as a job sends them, each with its time-outs, and faults of the way there in words."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from actions_cache_cli.doctor.address import Address, NotAUrl, read_address
from actions_cache_cli.doctor.clients import proxy_for, shown

CONNECT_SECONDS = 10
SILENCE_SECONDS = 35
"""CloudFront gives an origin 30 s by default, API Gateway 29; then they answer by themselves."""
TRANSFER_SECONDS = 60
MAX_BYTES = 4 * 1024 * 1024
READ_BYTES = 65536


class NoAnswer(Exception):
    """No HTTP answer was had. The message says what happened and what it means."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    asked_at: float
    """Seconds since 1970, by this machine's clock."""
    answered_at: float

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> dict[str, Any]:
        """Empty for what isn't a JSON object."""
        try:
            value = json.loads(self.text)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


@dataclass
class Wire:
    """Follows no redirect and tries nothing twice: what a server says is what is to be looked at.

    Args:
        variables: a job's, which say whether a proxy is to be used.
        trust: for TLS.
    """

    variables: Mapping[str, str]
    trust: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def ask(self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Raises: NoAnswer."""
        address = read_address(url)
        parts = urlsplit(url)
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        proxy = proxy_for(address, self.variables)
        connection = self._connection(address, proxy)
        asked_at = time.time()
        try:
            connection.connect()
            if connection.sock is not None:
                connection.sock.settimeout(SILENCE_SECONDS)
            connection.request(method, target, body, dict(headers or {}))
            answer = connection.getresponse()
            answered_at = time.time()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, named, _read(answer), asked_at, answered_at)
        except (OSError, http.client.HTTPException) as fault:
            via = f" through the proxy {shown(proxy)}" if proxy else ""
            raise NoAnswer(f"{explain_fault(fault, address)}{via}") from fault
        finally:
            connection.close()

    def _connection(self, address: Address, proxy: str | None) -> http.client.HTTPConnection:
        """Raises: NoAnswer. Through a proxy by CONNECT, with TLS or without, as @actions/http-client's tunnel does."""
        host, port = address.host, address.port
        if proxy is not None:
            try:
                via = read_address(proxy if "://" in proxy else f"http://{proxy}")
            except NotAUrl:
                via = None
            if via is None or via.is_tls:
                raise NoAnswer(f"the proxy {shown(proxy)} can't be asked by this check, only http://HOST:PORT")
            host, port = via.host, via.port
        connection: http.client.HTTPConnection
        if address.is_tls:
            connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=self.trust)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        if proxy is not None:
            connection.set_tunnel(address.host, address.port, _credentials(proxy))
        return connection


def _credentials(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _read(answer: http.client.HTTPResponse) -> bytes:
    """Raises: NoAnswer, IncompleteRead."""
    body, give_up_at = bytearray(), time.monotonic() + TRANSFER_SECONDS
    while True:
        chunk = answer.read1(READ_BYTES)
        if not chunk:
            break
        body += chunk
        if len(body) > MAX_BYTES or time.monotonic() > give_up_at:
            raise NoAnswer(f"the answer had {len(body)} bytes after {TRANSFER_SECONDS} s at most, and didn't end")
    if answer.length:
        raise http.client.IncompleteRead(bytes(body), answer.length)
    return bytes(body)


def explain_fault(fault: Exception, address: Address) -> str:
    """What a fault on the way to it means, and what to do."""
    if isinstance(fault, socket.gaierror):
        return (
            f"{address.host} has no address ({fault.strerror}): a typing error, or the DNS record is missing or isn't "
            "known to this machine's resolver"
        )
    if isinstance(fault, ssl.SSLError):
        return explain_tls_fault(str(fault), address)
    if isinstance(fault, (socket.timeout, TimeoutError)):
        return f"{address.host} gave no answer in time: a firewall on the way, or a server that hangs"
    if "Tunnel connection failed" in str(fault):
        return f"the way to {address.host} is refused: {str(fault)[:120]}; it must be allowed there, or be in NO_PROXY"
    if isinstance(fault, ConnectionRefusedError):
        return (
            f"{address.host} takes no connections on port {address.port} ({fault.strerror}): the server isn't running, "
            "the port is wrong, or a firewall is there"
        )
    return f"the connection to {address.host} broke before an answer came ({type(fault).__name__}: {str(fault)[:120]})"


def speaks_tls(fault: str) -> bool:
    """Return whether the peer spoke TLS at all: no authority helps if the port answers in plain HTTP."""
    upper = fault.upper().replace(" ", "_")
    return not any(word in upper for word in ("WRONG_VERSION_NUMBER", "PACKET_LENGTH", "HTTP_REQUEST"))


def explain_tls_fault(text: str, address: Address) -> str:
    host, upper = address.host, text.upper().replace(" ", "_")
    if "HOSTNAME_MISMATCH" in upper or "IP_ADDRESS_MISMATCH" in upper or "ALTNAME" in upper:
        return f"the certificate isn't for {host}: it must name it; or another host answers under this name"
    if "EXPIRED" in upper or "NOT_YET_VALID" in upper:
        return f"the certificate of {host} isn't valid today by this machine's clock; renew it, or see the clock"
    if any(word in upper for word in ("SELF-SIGNED", "SELF_SIGNED", "UNABLE_TO_GET", "UNABLE_TO_VERIFY")):
        return (
            f"the certificate of {host} isn't signed by an authority that is known here: a proxy that reads TLS is on "
            "the way, or a private authority signed it"
        )
    if not speaks_tls(text):
        return f"{host} speaks no TLS on port {address.port}; a server without is asked by http://"
    if "HANDSHAKE_FAILURE" in upper or "UNRECOGNIZED_NAME" in upper:
        return f"no TLS with {host}: CloudFront refuses so a name that no distribution lists"
    return f"no TLS with {host}: {text[:160]}"

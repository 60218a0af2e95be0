"""Requests as a job sends them, each with its time-outs, and faults of the way there in words."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions

from actions_cache_cli.deployment_check.verdicts import Skipped

CONNECT_SECONDS = 10
SILENCE_SECONDS = 60
"""CloudFront gives an origin 30 s, or what the distribution says, up to 60
(docs/design/aws-limits.md#requests-and-responses); then it answers by itself."""
TRANSFER_SECONDS = 180
"""Of one whole answer: 17 MB at a tenth of a megabyte a second."""

READ_BYTES = 256 * 1024
MAX_ANSWER_BYTES = 32 * 1024 * 1024


class NoAnswer(Exception):
    """No HTTP answer was had. The message says what happened, what it means and what to do."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    body: bytes
    broken: bool = False
    """True if the connection broke before the announced end."""


@dataclass
class Client:
    """Follows no redirect and tries nothing twice: what a server says is what is to be looked at."""

    sent_bytes: int = 0
    received_bytes: int = 0
    is_cut_off: bool = False
    """True if the host is known to be out of reach, so that nothing need be tried."""
    _pool: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=SILENCE_SECONDS), retries=False, maxsize=2
        )
    )

    def send(self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Raises: NoAnswer, Skipped."""
        if self.is_cut_off:
            raise Skipped("needs a host that can be reached")
        try:
            answer = self._pool.request(
                method, url, body=body, headers=dict(headers or {}), preload_content=False, redirect=False
            )
            self.sent_bytes += len(body or b"")
            return self._read(answer)
        except exceptions.HTTPError as fault:
            raise NoAnswer(explain_fault(fault, urlsplit(url).hostname or "")) from fault

    def _read(self, answer: urllib3.BaseHTTPResponse) -> Reply:
        """Raises: NoAnswer, for an answer that doesn't end."""
        body, broken = bytearray(), False
        give_up_at = time.monotonic() + TRANSFER_SECONDS
        try:
            while chunk := answer.read1(READ_BYTES, decode_content=False):
                body += chunk
                if time.monotonic() > give_up_at or len(body) > MAX_ANSWER_BYTES:
                    answer.close()
                    raise NoAnswer(
                        f"the answer had {len(body)} bytes after {TRANSFER_SECONDS} s at most and didn't end; "
                        "the way from here to the server is too slow for this check, or it sends without end"
                    )
        except exceptions.HTTPError:
            broken = True
            answer.close()
        finally:
            self.received_bytes += len(body)
            answer.release_conn()
        return Reply(answer.status, answer.headers, bytes(body), broken)


def explain_fault(fault: Exception, host: str) -> str:
    """What a fault on the way to `host` means, and what to do."""
    text = str(fault)
    match fault:
        case exceptions.NameResolutionError():
            return (
                f"the name {host} has no address: a typing error, or the DNS record of the custom domain is missing "
                "or hasn't spread yet; compare with the stack's outputs"
            )
        case exceptions.NewConnectionError():
            return f"{host} takes no connections on this port: the server isn't running, or the port is wrong"
        case exceptions.ConnectTimeoutError():
            return f"{host} took no connection within {CONNECT_SECONDS} s: a firewall on the way, or the wrong host"
        case exceptions.SSLError():
            return explain_tls_fault(text, host)
        case exceptions.ReadTimeoutError():
            return f"{host} was silent for {SILENCE_SECONDS} s; the functions' logs say what they were doing"
        case _:
            return f"the connection to {host} broke before an answer came ({type(fault).__name__}: {text[:120]})"


def explain_tls_fault(text: str, host: str) -> str:
    if "Hostname mismatch" in text or "doesn't match" in text:
        return (
            f"the certificate isn't for {host}: the ACM certificate must name the custom domain, and the distribution "
            "must list it (parameters DomainName and CertificateArn)"
        )
    if "HANDSHAKE_FAILURE" in text.upper().replace(" ", "_"):
        return (
            f"no TLS with {host}: CloudFront refuses so a name that no distribution lists; set the parameters "
            "DomainName and CertificateArn, or use the distribution's own domain"
        )
    if "expired" in text:
        return f"the certificate of {host} has expired; renew it in ACM, in us-east-1"
    if "self-signed" in text or "self signed" in text or "unable to get local issuer" in text:
        return (
            f"the certificate of {host} isn't signed by an authority this machine knows: a proxy that reads TLS is on "
            "the way, or the host isn't the distribution"
        )
    if "WRONG_VERSION_NUMBER" in text.upper().replace(" ", "_"):
        return f"{host} speaks no TLS on this port; a local server is asked by http://"
    return f"no TLS with {host}: {text[:160]}"

"""Servers' addresses, the proxies on the way to them, and the errors of connections in words."""

from __future__ import annotations

import base64
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

CONNECT_SECONDS = 10


class NotAUrl(Exception):
    """Raised for a text that isn't a server's URL; the message says why."""


@dataclass(frozen=True)
class Address:
    given: str
    base: str
    """Scheme, host and port without a slash at the end; @actions/cache's v2 keeps no more of a URL."""
    host: str
    port: int

    @property
    def is_tls(self) -> bool:
        return self.base.startswith("https:")

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_githubs(self) -> bool:
        return self.host.endswith((".githubusercontent.com", ".github.com", ".ghe.com"))


def read_address(text: str) -> Address:
    """Return the address in a URL.

    Raises:
        NotAUrl: It isn't an http or https URL.
    """
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
        # As it is looked up: a label may be too long, or empty.
        (host or "").encode("idna")
    except ValueError as error:
        raise NotAUrl(f"{text!r} isn't a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise NotAUrl(f"{text!r} isn't a URL; give it as https://HOST/")
    usual = 443 if parts.scheme == "https" else 80
    shown = f"[{host}]" if ":" in host else host
    at = "" if port in (None, usual) else f":{port}"
    return Address(text.strip(), f"{parts.scheme}://{shown}{at}", host, port or usual)


def url_errors(address: Address) -> list[str]:
    """Return what is wrong with a server's URL for every client."""
    parts = urlsplit(address.given)
    errors = []
    if not address.is_tls and not address.is_loopback:
        errors.append("it isn't https, so tokens cross the network readable; use https")
    if ".execute-api." in address.host:
        errors.append(
            "it is the API's own URL, where blocks over 10 MB can't be uploaded; use the distribution's, or the custom "
            "domain's, from the stack's output RunnerUrl"
        )
    if parts.path not in ("", "/"):
        errors.append(f"it has the path {parts.path}, which @actions/cache drops; the server is at its host's root")
    if parts.query or parts.fragment:
        errors.append("it has a query or fragment; a runner's URL has none")
    if parts.username or parts.password:
        errors.append("it has a user name or password, which not every client sends; take it out")
    return errors


def proxy_for(address: Address, variables: Mapping[str, str]) -> str | None:
    """Return the proxy that @actions/http-client (proxy.js) uses for the address; None if it uses none."""
    if _is_loopback_to_node(address.host) or _is_excluded(address, no_proxy(variables)):
        return None
    names = ("https_proxy", "HTTPS_PROXY") if address.is_tls else ("http_proxy", "HTTP_PROXY")
    return next((variables[name] for name in names if variables.get(name)), None)


def no_proxy(variables: Mapping[str, str]) -> list[str]:
    """Return the hosts that are asked without a proxy."""
    text = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
    return [item.strip() for item in text.split(",") if item.strip()]


def shown_proxy(proxy: str) -> str:
    """Return the proxy's URL without its password."""
    scheme, _, rest = (proxy if "://" in proxy else f"http://{proxy}").partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _is_loopback_to_node(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host in ("::1", "0:0:0:0:0:0:0:1")


def _is_excluded(address: Address, items: list[str]) -> bool:
    names = (address.host.upper(), f"{address.host}:{address.port}".upper())
    return any(
        item in ("*", name) or name.endswith(f".{item}") or (item.startswith(".") and name.endswith(item))
        for item in map(str.upper, items)
        for name in names
    )


def proxy_credentials(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


# ---------------------------------------------------------------- errors on the way

NO_ADDRESS, NOT_CONNECTED, SILENT, ENDLESS, BROKEN = "no address", "not connected", "silent", "endless", "broken"
OTHER_NAME, OTHER_DATE, OTHER_AUTHORITY = "certificate's name", "certificate's date", "certificate's authority"
NO_TLS, NO_HANDSHAKE, TLS = "no TLS", "no handshake", "TLS"
TLS_KINDS = (OTHER_NAME, OTHER_DATE, OTHER_AUTHORITY, NO_TLS, NO_HANDSHAKE, TLS)


TO_DO = {
    NO_ADDRESS: "look for a typing error in the name, and ask this machine's resolver for it (getent hosts NAME)",
    NOT_CONNECTED: "start the server, or compare host and port with its RunnerUrl; then look for a firewall on the way",
    SILENT: "try again; if it stays silent, whoever runs the server should see its logs",
    ENDLESS: "try again; if it goes on, look at the proxies on the way",
    BROKEN: "try again; if it breaks again, look at the proxies on the way, then at the server's logs",
    OTHER_NAME: "use a name that the certificate has, or give the server a certificate for this one",
    OTHER_DATE: "renew the certificate, or set this machine's clock",
    OTHER_AUTHORITY: "add that authority's certificate to the system's (update-ca-certificates)",
    NO_TLS: "write http:// for a server without TLS, or the port that has it",
    NO_HANDSHAKE: "use the stack's output RunnerUrl, or add the name to the distribution (docs/deploy/deploy.md)",
    TLS: "ask the server by another program (curl -v) to see which side ends it, and look at proxies that read TLS",
}
"""Advice on each kind of failure."""


class NoAnswer(Exception):
    """Raised when there is no HTTP answer. The message says what happened and what it means; `kind` sorts it."""

    def __init__(self, words: str, kind: str = BROKEN) -> None:
        super().__init__(words)
        self.kind = kind


def connect(address: Address, *, with_tls: bool) -> tuple[str, str | None]:
    """Connect, and return the peer's IP address and the version of TLS.

    Raises:
        NoAnswer: It fails.
    """
    try:
        with socket.create_connection((address.host, address.port), CONNECT_SECONDS) as plain:
            peer = str(plain.getpeername()[0])
            if not with_tls:
                return peer, None
            with ssl.create_default_context().wrap_socket(plain, server_hostname=address.host) as secured:
                return peer, secured.version()
    except OSError as error:
        raise no_answer(error, address) from error


def no_answer(error: Exception, address: Address, proxy: str | None = None, *, silence: float = 0) -> NoAnswer:
    """Put an error into words.

    Args:
        error: An error of the connection.
        address: The server's address.
        proxy: The proxy on the way, if there is one.
        silence: Seconds that an established connection was waited for; 0 if the connection failed.
    """
    kind, words = _explained(error, address, silence)
    return NoAnswer(f"{words} through the proxy {shown_proxy(proxy)}" if proxy else words, kind)


def _explained(error: Exception, address: Address, silence: float) -> tuple[str, str]:
    host = address.host
    if isinstance(error, socket.gaierror):
        return NO_ADDRESS, (
            f"{host} has no address ({error.strerror}): a typing error, or the DNS record is missing or isn't known to "
            "this machine's resolver"
        )
    if isinstance(error, ssl.SSLError):
        return explain_tls_error(str(error), address)
    if isinstance(error, (socket.timeout, TimeoutError)):
        if silence:
            return SILENT, f"{host} gave no answer in time, {silence:g} s: the server hangs, or a proxy on the way"
        return (
            NOT_CONNECTED,
            f"{host} gave no answer in time, {CONNECT_SECONDS} s: a firewall on the way, or the wrong host",
        )
    if "Tunnel connection failed" in str(error):
        return BROKEN, (
            f"the way to {host} is refused: {str(error)[:120]}; it must be allowed there, or be in NO_PROXY"
        )
    if isinstance(error, ConnectionRefusedError) or not silence:
        why = getattr(error, "strerror", None) or "no answer"
        return NOT_CONNECTED, (
            f"{host} takes no connections on port {address.port} ({why}): the server isn't running, the port is wrong, "
            "or a firewall is there"
        )
    return BROKEN, f"the connection to {host} broke before an answer came ({type(error).__name__}: {str(error)[:120]})"


def explain_tls_error(text: str, address: Address) -> tuple[str, str]:
    """Return the kind of a TLS error and its meaning.

    Args:
        text: The message, OpenSSL's or node's.
        address: The server's address.
    """
    host, upper = address.host, text.upper().replace(" ", "_")
    if "HOSTNAME_MISMATCH" in upper or "IP_ADDRESS_MISMATCH" in upper or "ALTNAME" in upper:
        return OTHER_NAME, (
            f"the certificate isn't for {host}: it must name it, or another host answers under this name"
        )
    if "EXPIRED" in upper or "NOT_YET_VALID" in upper:
        return OTHER_DATE, (
            f"the certificate of {host} isn't valid today by this machine's clock: renew it, or see the clock"
        )
    if any(word in upper for word in ("SELF-SIGNED", "SELF_SIGNED", "UNABLE_TO_GET", "UNABLE_TO_VERIFY")):
        return OTHER_AUTHORITY, (
            f"the certificate of {host} isn't signed by an authority that is known here: a proxy that reads TLS is on "
            "the way, or a private authority signed it"
        )
    if any(word in upper for word in ("WRONG_VERSION_NUMBER", "PACKET_LENGTH", "HTTP_REQUEST")):
        return NO_TLS, f"{host} speaks no TLS on port {address.port}; ask a server without TLS by http://"
    if "HANDSHAKE_FAILURE" in upper or "UNRECOGNIZED_NAME" in upper:
        return NO_HANDSHAKE, f"no TLS with {host}: this is how CloudFront refuses a name that no distribution lists"
    return TLS, f"no TLS with {host}: {text[:160]}"

"""A server's URL as clients use it, and what is wrong with how it was given."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from actions_cache_cli.doctor.finding import Finding, ok, trouble

TITLE = "the URL"


class NotAUrl(Exception):
    """Nothing can be asked there. The message says why."""


@dataclass(frozen=True)
class Address:
    given: str
    base: str
    """Scheme, host and port; no slash at the end. Clients keep no more of a URL
    (docs/design/protocol.md#cache-service)."""
    host: str
    port: int

    @property
    def is_tls(self) -> bool:
        return self.base.startswith("https:")

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def is_githubs(self) -> bool:
        return self.host.endswith((".githubusercontent.com", ".github.com", ".ghe.com"))


def read_address(text: str) -> Address:
    """Raises: NotAUrl."""
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


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def judge_url(address: Address) -> Finding:
    """Return whether every client makes the right addresses of it."""
    faults = url_faults(address)
    parts = urlsplit(address.given)
    if not (parts.path or parts.query or parts.fragment):
        faults.append(
            f"it has no slash at its end; clients that put paths behind it, as those of the v1 API do, would ask "
            f"{parts.netloc}_apis: write {address.base}/"
        )
    return trouble(TITLE, f"{address.base}: {'; '.join(faults)}") if faults else ok(TITLE, address.given)


def url_faults(address: Address) -> list[str]:
    """What is wrong with it for any client."""
    parts = urlsplit(address.given)
    faults = []
    if not address.is_tls and not address.is_loopback:
        faults.append("it isn't https, so tokens go readable over the net; use https")
    if ".execute-api." in address.host:
        faults.append(
            "it is the API's own URL, where blocks over 10 MB can't be uploaded; use the distribution's, or the custom "
            "domain's, from the stack's output RunnerUrl"
        )
    if parts.path not in ("", "/"):
        faults.append(f"it has the path {parts.path}, which @actions/cache drops; the server is at its host's root")
    if parts.query or parts.fragment:
        faults.append("it has a query or fragment; a runner's URL has none")
    if parts.username or parts.password:
        faults.append("it has a user name or password, which not every client sends; take it out")
    return faults

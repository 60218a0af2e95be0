"""The URL that was given, as a runner would use it."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is, and what is wrong with how that was said."""

    base: str
    """Scheme, host and port; no slash at the end."""
    host: str
    port: int
    is_loopback: bool
    faults: tuple[str, ...]

    @property
    def is_tls(self) -> bool:
        return self.base.startswith("https:")


class NotAUrl(Exception):
    """Nothing can be asked there. The message says why."""


def read_address(text: str) -> Address:
    """Raises NotAUrl."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NotAUrl(f"{text!r} isn't a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise NotAUrl(f"{text!r} isn't a URL; give it as https://HOST/")
    loopback = is_loopback(host)
    faults = []
    if parts.scheme == "http" and not loopback:
        faults.append("it isn't https, so tokens go readable over the net; CloudFront serves https, use that")
    if ".execute-api." in host:
        faults.append(
            "it is the API's own URL, where blocks over 10 MB can't be uploaded; use the distribution's, or the custom "
            "domain's, from the stack's outputs"
        )
    if parts.path not in ("", "/"):
        faults.append(
            f"it has the path {parts.path}, which @actions/cache drops; the server must be at the root of its host, so "
            "checked is what is there"
        )
    if parts.query or parts.fragment:
        faults.append("it has a query or fragment; a runner's URL has none")
    default_port = 443 if parts.scheme == "https" else 80
    return Address(f"{parts.scheme}://{parts.netloc}", host, port or default_port, loopback, tuple(faults))


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"

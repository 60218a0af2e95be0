"""The URL that was given, read as the doctor reads a runner's."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from actions_cache_cli.doctor import address


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


def read_address(text: str) -> Address:
    """Raises NotAUrl."""
    given = address.read_address(text)
    return Address(given.base, given.host, given.port, given.is_loopback, tuple(address.url_faults(given)))


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"

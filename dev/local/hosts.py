"""Decides which names the local run answers to.

Signatures aren't checked here. A page whose own name resolves to 127.0.0.1 (DNS rebinding) could read the cache and
write into it with tokens that it made up; but its browser still sends that name as Host.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{0,5})?")


AZURE_BLOBS = ".blob.core.windows.net"
"""Suffix of names from which @actions/cache restores in pieces. A machine may resolve one to itself, to try that.
A page can't, since Azure alone has DNS for these names."""


@dataclass(frozen=True)
class Hosts:
    """Lists the names that are answered.

    Args:
        bound: the address that is served on. If other machines can reach it, all names are answered: tokens are
            verified, so another name gains nothing, and the machine's names aren't known here.
        public_url: URL of a proxy in front, whose host is answered too.
    """

    bound: str
    public_url: str | None = None

    def admit(self, hosts: Iterable[str]) -> bool:
        """Return whether a request with these Host headers is answered, on any port, since a proxy may have another."""
        names = [found["name"].lower() if (found := _HOST.fullmatch(host)) else "" for host in hosts]
        if not is_loopback(self.bound):
            return True
        return bool(names) and all(map(self._is_ours, names))

    def _is_ours(self, name: str) -> bool:
        public = urlsplit(self.public_url or "").hostname
        return is_loopback(name) or name.endswith(AZURE_BLOBS) or name.strip("[]") == public


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"

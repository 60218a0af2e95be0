"""Names under `localhost` are this machine: RFC 6761, section 6.3. Not every system's resolver knows.

CloudFront's KeyValueStore is asked under a name that begins with the account, also where an endpoint is given:
http://000000000000.localhost.
"""

import socket
from functools import wraps
from typing import Any

_asked = socket.getaddrinfo


@wraps(_asked)
def _getaddrinfo(host: bytes | str | None, *args: Any, **options: Any) -> Any:
    under_localhost = isinstance(host, str) and host.lower().rstrip(".").endswith(".localhost")
    return _asked("127.0.0.1" if under_localhost else host, *args, **options)


def resolve_names_under_localhost() -> None:
    """In this process, from now on."""
    socket.getaddrinfo = _getaddrinfo

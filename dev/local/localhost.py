"""Resolves names under `localhost`; with nothing but Python, since functions in an emulator load it too."""

import socket
from functools import wraps
from typing import Any

_getaddrinfo = socket.getaddrinfo


@wraps(_getaddrinfo)
def _getaddrinfo_of_localhost(host: bytes | str | None, *args: Any, **options: Any) -> Any:
    under_localhost = isinstance(host, str) and host.lower().rstrip(".").endswith(".localhost")
    return _getaddrinfo("127.0.0.1" if under_localhost else host, *args, **options)


def resolve_names_under_localhost() -> None:
    """Make this process resolve names under `localhost` to this machine (RFC 6761, 6.3): not every resolver does.

    CloudFront's KeyValueStore has a host name that begins with the account: http://000000000000.localhost.
    """
    socket.getaddrinfo = _getaddrinfo_of_localhost

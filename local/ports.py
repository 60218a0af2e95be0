"""Free ports of the loopback interface for the engines, the same ones again at the next start if they can be had."""

import random
import socket
from collections.abc import Iterable

LOOPBACK = "127.0.0.1"

BELOW_EPHEMERAL = range(20_000, 32_000)
"""Linux takes ports from 32768 on, macOS from 49152 on, for outgoing connections: those come and go."""


def choose(names: Iterable[str], remembered: dict[str, int]) -> dict[str, int]:
    """A free port for each name: the remembered ones if they are all free, or else new ones."""
    wanted = tuple(names)
    if remembered.keys() >= set(wanted) and all(_is_free(remembered[name]) for name in wanted):
        return {name: remembered[name] for name in wanted}
    candidates = (port for port in random.sample(BELOW_EPHEMERAL, len(BELOW_EPHEMERAL)) if _is_free(port))
    return dict(zip(wanted, candidates, strict=False))


def listen(host: str, port: int) -> socket.socket:
    """A socket that has the port, but refuses connections until somebody serves it.

    Raises: OSError: the port is taken, or the address isn't this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _is_free(port: int) -> bool:
    try:
        listen(LOOPBACK, port).close()
    except OSError:
        return False
    return True

"""Free ports of the loopback interface for the engines, the same ones again at the next start if they can be had."""

import random
import socket
from collections.abc import Iterable

from dev.local.console import RunFailed

LOOPBACK = "127.0.0.1"

CANDIDATES = range(12_000, 22_000)
GRPC_OFFSET = 10_000
"""SeaweedFS's own, on which its admin server insists. The ports it leads to are below those that Linux (from 32768 on)
and macOS (from 49152 on) take for outgoing connections: those come and go."""


def choose(names: Iterable[str], remembered: dict[str, int]) -> dict[str, int]:
    """A port for each name, free together with its gRPC port: the remembered ones if they all are, else new ones."""
    wanted = tuple(names)
    if remembered.keys() >= set(wanted) and all(_are_free(remembered[name]) for name in wanted):
        return {name: remembered[name] for name in wanted}
    free = (port for port in random.sample(CANDIDATES, len(CANDIDATES)) if _are_free(port))
    chosen = dict(zip(wanted, free, strict=False))
    if len(chosen) < len(wanted):
        raise RunFailed(f"the engines need {len(wanted)} ports from {CANDIDATES.start} on, and too few are free")
    return chosen


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


def _are_free(port: int) -> bool:
    try:
        listen(LOOPBACK, port).close()
        listen(LOOPBACK, port + GRPC_OFFSET).close()
    except OSError:
        return False
    return True

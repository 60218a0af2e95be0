"""The way to the server: name, connection, certificates of the system's and of node's."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

from actions_cache_cli.doctor import node
from actions_cache_cli.doctor.address import Address
from actions_cache_cli.doctor.finding import Finding, ok, trouble, unknown
from actions_cache_cli.doctor.wire import CONNECT_SECONDS, explain_fault, explain_tls_fault, speaks_tls

EXTRA = "NODE_EXTRA_CA_CERTS"


def judge_connection(address: Address, *, is_container: bool) -> Finding:
    """Return whether the name has an address and something takes connections there."""
    title = "connection"
    try:
        with socket.create_connection((address.host, address.port), CONNECT_SECONDS) as connection:
            return ok(title, f"to {connection.getpeername()[0]}, port {address.port}")
    except OSError as fault:
        inside = "; and in a container this address is the container itself, not the machine"
        hint = inside if is_container and address.is_loopback else ""
        return trouble(title, explain_fault(fault, address) + hint)


def system_fault(address: Address) -> str | None:
    """Why the system's authorities don't vouch for it; None where they do. Raises: OSError, where TLS isn't reached."""
    try:
        with (
            socket.create_connection((address.host, address.port), CONNECT_SECONDS) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=address.host),
        ):
            return None
    except ssl.SSLError as fault:
        return str(fault)


def trust(variables: Mapping[str, str]) -> ssl.SSLContext:
    """The system's authorities and those that node was given."""
    context = ssl.create_default_context()
    extra = variables.get(EXTRA)
    if extra and Path(extra).is_file():
        try:
            context.load_verify_locations(extra)
        except (OSError, ssl.SSLError):
            # Node says so itself.
            return context
    return context


def judge_certificates(address: Address, system: str | None, by_node: node.TlsView | None, extra: str) -> list[Finding]:
    """Return whether those who sign for the host are known here.

    Args:
        address: the server's.
        system: what the system's authorities have against it, if anything.
        by_node: what node says; None where there is no node.
        extra: NODE_EXTRA_CA_CERTS.
    """
    findings = [_of_system(address, system, by_node)]
    if by_node is None:
        return [*findings, unknown("node's certificates", "there is no node here; actions have the runner's")]
    if by_node.fault is None:
        return [*findings, ok("node's certificates", "trusted by node, as actions run it")]
    said = explain_tls_fault(by_node.fault, address)
    if not speaks_tls(by_node.fault):
        return [*findings, trouble("node's certificates", said)]
    signed = f", signed by {by_node.issuer}" if by_node.issuer else ""
    if not extra:
        what = f"put that authority's certificate into a file, and {EXTRA}=/its/path into the runner's .env"
    elif not Path(extra).is_file():
        what = f"{EXTRA} is {extra}, which isn't a file here, so node goes on without it"
    else:
        what = f"{EXTRA} is {extra}, which doesn't hold that authority"
    return [*findings, trouble("node's certificates", f"{said}{signed}; {what}")]


def _of_system(address: Address, fault: str | None, by_node: node.TlsView | None) -> Finding:
    title = "system's certificates"
    if fault is None:
        return ok(title, "trusted by this machine")
    said = explain_tls_fault(fault, address)
    if by_node is not None and by_node.fault is None:
        return trouble(
            title,
            f"{said}. Node trusts it, so @actions/cache works; BuildKit, sccache and what else isn't node doesn't: add "
            "the authority to the system's (update-ca-certificates), and to the image of BuildKit",
        )
    return trouble(title, said)

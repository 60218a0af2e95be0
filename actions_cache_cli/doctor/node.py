"""What node's processes see and trust here: actions are node's processes, and a hook changes their variables only."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actions_cache_cli.doctor.finding import one_line

SECONDS = 20

_VIEW = """
const seen = ['ACTIONS_RESULTS_URL', 'ACTIONS_CACHE_URL', 'ACTIONS_CACHE_SERVICE_V2']
process.stdout.write(JSON.stringify({version: process.version, seen: seen.map((name) => process.env[name] ?? null)}))
"""

_TLS = """
const [host, port] = process.argv.slice(1)
const tell = (it) => { process.stdout.write(JSON.stringify(it)); process.exit() }
const servername = require('net').isIP(host) ? undefined : host
const socket = require('tls').connect({ host, port, servername, rejectUnauthorized: false }, () => {
  const { issuer } = socket.getPeerCertificate()
  const fault = socket.authorized ? null : String(socket.authorizationError?.message ?? socket.authorizationError)
  tell({ fault, issuer: issuer?.CN ?? issuer?.O ?? null })
})
socket.on('error', (error) => tell({ fault: error.message, issuer: null }))
"""


@dataclass(frozen=True)
class NodeView:
    version: str
    results_url: str | None
    cache_url: str | None
    service_v2: str | None

    def changed(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The variables as node's processes have them."""
        seen = {
            "ACTIONS_RESULTS_URL": self.results_url,
            "ACTIONS_CACHE_URL": self.cache_url,
            "ACTIONS_CACHE_SERVICE_V2": self.service_v2,
        }
        kept = {name: value for name, value in variables.items() if name not in seen}
        return {**kept, **{name: value for name, value in seen.items() if value is not None}}


@dataclass(frozen=True)
class TlsView:
    fault: str | None
    """Why node doesn't trust the host; None where it does."""
    issuer: str | None


class NodeFailed(Exception):
    """It doesn't start with these variables, so no action does. The message says why."""


def find_node(own: list[Path], variables: Mapping[str, str]) -> Path | None:
    """Args: own: the runner's, which are preferred."""
    for path in own:
        if shutil.which(str(path)):
            return path
    found = shutil.which("node", path=variables.get("PATH"))
    return Path(found) if found else None


def view(node: Path, variables: Mapping[str, str]) -> NodeView:
    """Raises: NodeFailed."""
    told = _told(node, _VIEW, [], variables)
    return NodeView(told["version"], *told["seen"])


def view_tls(node: Path, variables: Mapping[str, str], host: str, port: int) -> TlsView:
    """Raises: NodeFailed."""
    told = _told(node, _TLS, [host, str(port)], variables)
    return TlsView(told["fault"], told["issuer"])


def _told(node: Path, script: str, arguments: list[str], variables: Mapping[str, str]) -> dict[str, Any]:
    try:
        ran = subprocess.run(
            [str(node), "-e", script, *arguments],
            env=dict(variables),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise NodeFailed(f"{node} can't be run: {fault}") from None
    # What a hook prints comes before it, on a line of its own or not.
    start = ran.stdout.rfind('{"')
    try:
        told = json.loads(ran.stdout[start:])
    except ValueError:
        raise NodeFailed(f"{node} ends with {ran.returncode}: {_reason(ran.stderr)}") from None
    if not isinstance(told, dict):
        raise NodeFailed(f"{node} says {one_line(ran.stdout)[:160]}")
    return told


def _reason(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if "Error" in line or "not allowed" in line] or stderr.splitlines()
    return one_line(lines[0])[:200] if lines else "no word of why"

"""What a client of a test may ask: one of the servers, by one of the APIs."""

from typing import Literal, NamedTuple

import pytest
from _pytest.mark import ParameterSet

from dev.clients.runtime_token import Api

Server = Literal["server", "unmerged_server"]
"""The name of its fixture: of the one that merges, and of the one that never does."""


class Service(NamedTuple):
    server: Server
    api: Api


def services(client_version: str, *asked: tuple[Server, Api]) -> list[ParameterSet]:
    """Parameters, each marked with what docs/clients.md calls the client's version."""
    return [
        pytest.param(
            Service(server, api),
            id=f"{'merging' if server == 'server' else 'never merging'}, {api}",
            marks=pytest.mark.client(version=f"{client_version} by {api}"),
        )
        for server, api in asked
    ]

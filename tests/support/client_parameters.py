"""Parameters of client tests: a server and an API."""

from typing import Literal, NamedTuple

import pytest
from _pytest.mark import ParameterSet

from dev.clients.runtime_token import Api

Server = Literal["server", "unmerged_server"]
"""Names of the fixtures of the server that merges, and of the one that never does."""


class ClientParameters(NamedTuple):
    server: Server
    api: Api


def client_parameters(client_version: str, *asked: tuple[Server, Api]) -> list[ParameterSet]:
    """Return parameters that are marked with the client's version for docs/use/clients.md."""
    return [
        pytest.param(
            ClientParameters(server, api),
            id=f"{'merging' if server == 'server' else 'never merging'}, {api}",
            marks=pytest.mark.client(version=f"{client_version} by {api}"),
        )
        for server, api in asked
    ]

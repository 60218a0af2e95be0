"""A local run, and AWS's caps in front of it."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.clients.local_server import running_server
from dev.emulation.api_gateway import Caps, Gateway
from dev.emulation.lambda_web_adapter import StreamingFunction, template_variables

PLAIN_STREAMING = {"STREAM_MAX_BYTES": "", "STREAM_BYTES_PER_SECOND": ""}
"""The version that knows of no caps: it streams whatever isn't merged."""


@dataclass(frozen=True)
class LocalRun:
    url: str
    directory: Path

    def variables(self) -> dict[str, str]:
        """Where its engines are and what its resources are called: `.local/env`."""
        lines = (self.directory / "data" / "env").read_text().splitlines()
        pairs = (shlex.split(line)[1].partition("=") for line in lines)
        return {name: value for name, _, value in pairs}

    def download_variables(self, caps: Caps, settings: Mapping[str, str]) -> dict[str, str]:
        """The download function's, as the template has them, but for these caps and settings; `""` unsets one."""
        variables = {**template_variables(), **self.variables(), **caps.as_settings(), **settings}
        return {name: value for name, value in variables.items() if value}

    @property
    def download_log(self) -> Path:
        return self.directory / "download.log"

    @contextmanager
    def behind(self, caps: Caps, settings: Mapping[str, str] | None = None, **more: Any) -> Iterator[Gateway]:
        """Put the run behind a gateway.

        Args:
            caps: limits of the gateway.
            settings: changes of the run's.
            more: fields of Gateway.
        """
        variables = self.download_variables(caps, settings or {})
        with Gateway(self.url, StreamingFunction(variables, self.download_log), caps, **more).served() as gateway:
            yield gateway


@contextmanager
def local_run(directory: Path, settings: Mapping[str, str]) -> Iterator[LocalRun]:
    """Args: directory: an empty one; settings: as for `make run`. Raises: ServerFailed."""
    with running_server(directory, settings) as url:
        yield LocalRun(url, directory)

"""`.local/env`: what anyone needs to look inside a run, for `source` in a shell."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dev.local.private_file import write_private

STARTING = "local run"
"""Component that `/health` reports until `.local/env` is written, and again once that file is gone."""


@contextmanager
def env_file(path: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """There until the block ends."""
    write_private(path, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)

"""Resolves names under `localhost` to this machine, in functions that an emulator runs: it is on their Python path."""

import importlib.util
from pathlib import Path

_SOURCE = Path(__file__).parents[3] / "dev" / "local" / "localhost.py"
_spec = importlib.util.spec_from_file_location("localhost", _SOURCE)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
_module.resolve_names_under_localhost()

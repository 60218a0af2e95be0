"""The local run as tests/local starts it."""

from tests.local_run.conftest import start_run

__all__ = ["start_run"]

"""Fixtures for local runs with data and a port of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.local_run.local_run import LocalRun

StartRun = Callable[..., LocalRun]


@pytest.fixture
def start_run(tmp_path: Path) -> Iterator[StartRun]:
    """Return what starts runs, one after the other on the same data; what is left of them at the end is killed."""
    runs: list[LocalRun] = []

    def start(**settings: str) -> LocalRun:
        runs.append(LocalRun.start(tmp_path / "data", **settings))
        return runs[-1]

    yield start
    for run in runs:
        run.kill_everything()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRun]:
    """Provide a run that is ready, for tests that leave it as it is."""
    run = LocalRun.start(tmp_path_factory.mktemp("run") / "data", ORPHANS_INTERVAL_SECONDS="1")
    run.wait_until_ready()
    yield run
    run.kill_everything()

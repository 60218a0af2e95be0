"""Provides one server for all that is sent."""

from collections.abc import Iterator

import pytest

from tests.guarantees.fuzz.target import Target, running_target
from tests.integration.local_run.local_run import LocalRun


@pytest.fixture(scope="session")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, LocalRun]]:
    with running_target(tmp_path_factory.mktemp("fuzzed")) as running:
        yield running

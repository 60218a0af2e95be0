"""A plugin for the modules of tests with a store that fails."""

from collections.abc import Iterator

import pytest

from dev.local.endpoints import Endpoints
from tests.faults.scene import faulty_store
from tests.faults.store import FaultyStore
from tests.journey import Journey


@pytest.fixture
def faulty(on_engines: Journey, endpoints: Endpoints) -> Iterator[FaultyStore]:
    with faulty_store(endpoints) as store:
        yield store

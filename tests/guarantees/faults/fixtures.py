"""A plugin for the modules of tests with a store that fails."""

from collections.abc import Iterator

import pytest

from dev.local.emulators import Endpoints
from tests.guarantees.faults.scene import faulty_store
from tests.guarantees.faults.store import FaultyStore
from tests.support.journey import Journey


@pytest.fixture
def faulty(on_engines: Journey, endpoints: Endpoints) -> Iterator[FaultyStore]:
    with faulty_store(endpoints) as store:
        yield store

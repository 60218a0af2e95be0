"""One contract, two engines: in process, and real."""

import pytest

from tests.support.journey import Journey


@pytest.fixture(params=["moto", "engines"])
def journey(request: pytest.FixtureRequest) -> Journey:
    found: Journey = request.getfixturevalue("on_moto" if request.param == "moto" else "on_engines")
    return found

"""Every contract is tested with moto and with the emulators."""

import pytest

from dev.clients.driver import CacheDriver


@pytest.fixture(params=["moto", "emulators"])
def driver(request: pytest.FixtureRequest) -> CacheDriver:
    found: CacheDriver = request.getfixturevalue("on_moto" if request.param == "moto" else "on_emulators")
    return found

"""A repository begins only so many uploads in a minute (CREATES_PER_MINUTE), whichever API its jobs use."""

from collections.abc import Callable

import pytest

from dev.clients.driver import CacheDriver
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import VERSION, Job, Reply, V1Job
from dev.emulation.asgi_server import served
from dev.services import AllServices
from functions.api.handler import create_app

CREATES: dict[str, Callable[[str, str], Reply]] = {
    "v2": lambda server, key: Job(server).create(key),
    "v1": lambda server, key: V1Job(server, runtime_token()).post("caches", key=key, version=VERSION),
}


@pytest.mark.parametrize("create", CREATES.values(), ids=CREATES)
def test_creates_beyond_the_limit_are_refused(driver: CacheDriver, create: Callable[[str, str], Reply]) -> None:
    limited = driver.services.settings.model_copy(update={"verify_tokens": False, "creates_per_minute": 1})
    services = AllServices(limited, driver.clock)
    services.session = driver.services.session
    driver.clock.at -= driver.clock.at % 60_000
    with served(create_app(services)) as url:
        assert create(url, "first").status in (200, 201)
        refused = create(url, "second")
        assert refused.status == 429
        assert "1 uploads in this minute" in refused.body.decode()
        driver.clock.advance(60)
        assert create(url, "second").status in (200, 201)

"""A Chromium for tests."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from playwright.sync_api import Browser

from dev.docs.chromium import NoChromium, chromium


@contextmanager
def chromium_for_tests() -> Iterator[Browser]:
    """Start a Chromium, and skip the test where there is none."""
    with ExitStack() as running:
        try:
            browser = running.enter_context(chromium())
        except NoChromium as missing:
            pytest.skip(str(missing))
        yield browser

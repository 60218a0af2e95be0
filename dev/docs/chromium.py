"""A headless Chromium, as the machine has one."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

MISSING = "no Chromium here: install Debian's chromium-headless-shell, or run `playwright install chromium`"


class NoChromium(Exception):
    """The message says what to install."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """One on PATH, or the one that playwright has installed. Raises: NoChromium."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).exists():
            raise NoChromium(MISSING)
        try:
            browser = playwright.chromium.launch(executable_path=path)
        except Error as error:
            raise NoChromium(f"Chromium at {path} doesn't start: {error.message}") from error
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def chromium_for_tests() -> Iterator[Browser]:
    """Skips where there is none."""
    with ExitStack() as running:
        try:
            browser = running.enter_context(chromium())
        except NoChromium as missing:
            pytest.skip(str(missing))
        yield browser

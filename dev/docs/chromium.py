"""Opens the management page in a headless Chromium."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Error, Page, ViewportSize, expect, sync_playwright

from actions_cache.domain.access import Role
from dev.docs.page_server import PageServer

PHONE: ViewportSize = {"width": 360, "height": 740}

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

MISSING = "no Chromium here: install Debian's chromium-headless-shell, or run `playwright install chromium`"


class NoChromium(Exception):
    """Raised where no Chromium starts; the message says what to install."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium on PATH, or the one that playwright has installed, and close it after the block.

    Raises:
        NoChromium: there is none, or it doesn't start.
    """
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


def sign_in(context: BrowserContext, server: PageServer, role: Role) -> None:
    token = server.tokens.admin if role is Role.ADMIN else server.tokens.for_reading
    answer = context.request.post(f"{server.url}/manage/session", data={"token": token}, headers={"Origin": server.url})
    assert answer.ok, answer.text()


def settled(page: Page) -> None:
    """Wait until each part of the page has its data."""
    page.wait_for_selector("section")
    expect(page.locator("[aria-busy=true]")).to_have_count(0)

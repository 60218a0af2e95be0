"""A browser with the page open, signed in or not."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from actions_cache.domain.access import Role
from dev.docs.chromium import NoChromium, chromium, settled, sign_in
from dev.docs.page_server import PageServer, page_server
from dev.local.template import Template

DESKTOP: ViewportSize = {"width": 1200, "height": 900}
PATIENCE_MILLISECONDS = 20_000
AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"

expect.set_options(timeout=PATIENCE_MILLISECONDS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a Chromium, and skip the tests where there is none.

    Not for the session: playwright's loop runs until it ends, and tests of other files have loops of their own.
    """
    with ExitStack() as running:
        try:
            browser = running.enter_context(chromium())
        except NoChromium as missing:
            pytest.skip(str(missing))
        yield browser


@pytest.fixture(scope="module")
def empty_server(template: Template) -> Iterator[PageServer]:
    with page_server(template, "empty") as made:
        yield made


@dataclass
class Window:
    """A page, and whatever it shouldn't have done."""

    page: Page
    server: PageServer
    faults: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", lambda it: self.faults.append(it.text) if it.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda it: self.faults.append(str(it)))
        self.page.on("dialog", lambda it: self.faults.append(f"a dialog of the browser's: {it.message}"))
        self.page.on(
            "request",
            lambda it: None if it.url.startswith((self.server.url, "data:")) else self.faults.append(f"asked {it.url}"),
        )

    def open(self, path: str = "") -> Page:
        self.page.goto(f"{self.server.url}/{path}")
        return self.page

    def ready(self, path: str = "") -> Page:
        """Wait until all parts of the page are there."""
        page = self.open(path)
        settled(page)
        return page


def add_axe(page: Page) -> None:
    if not AXE.exists():
        pytest.fail("axe-core isn't installed: run `make test`, or `npm ci` in tests/e2e/page")
    page.add_script_tag(path=AXE)


def violations(page: Page) -> list[str]:
    """Return what axe-core holds against the page as it stands."""
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    return [f"{it['id']}: {node['html'][:200]} {node['failureSummary']}" for it in found for node in it["nodes"]]


@contextmanager
def opened_windows(browser: Browser) -> Iterator[Callable[..., Window]]:
    """Yield what opens a window; at the end none of them may have done what it shouldn't."""
    opened: list[Window] = []
    contexts: list[BrowserContext] = []

    def make(server: PageServer, role: Role | None = Role.ADMIN, **options: Any) -> Window:
        context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options})
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        if role is not None:
            sign_in(context, server, role)
        one = Window(context.new_page(), server)
        one.page.clock.set_fixed_time(server.now / 1000)
        one.watch()
        opened.append(one)
        return one

    yield make
    for context in contexts:
        context.close()
    assert [fault for one in opened for fault in one.faults] == []


@pytest.fixture
def window(browser: Browser) -> Iterator[Callable[..., Window]]:
    with opened_windows(browser) as opens:
        yield opens

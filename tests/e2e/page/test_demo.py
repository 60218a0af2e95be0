"""docs/demo opens without a server, is made of the page's sources, and answers as the server does."""

from collections.abc import Iterator

import pytest
import urllib3
from playwright.sync_api import Browser, Page, expect

from dev.docs.chromium import PHONE, settled
from dev.docs.demo.__main__ import BANNER, DEMO, bundled, demo, record
from dev.docs.page_server import PageServer, page_server
from dev.docs.screenshots import CLAIMS, fill
from dev.local.template import Template
from tests.e2e.page.conftest import DESKTOP, PATIENCE_MILLISECONDS, add_axe, violations

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(template: Template) -> Iterator[PageServer]:
    with page_server(template, "demo", token_claims=CLAIMS) as made:
        fill(made)
        yield made


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=DESKTOP, locale="en-GB", timezone_id="UTC", bypass_csp=True)
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    page = context.new_page()
    page.goto(DEMO.as_uri())
    yield page
    context.close()


def test_demo_is_made_of_the_page_as_it_is(store: PageServer) -> None:
    assert demo(record(store)) == DEMO.read_text(), "make demo-page"


ASKED = [
    "repositories",
    "repositories/43",
    "failures",
    "refused-tokens",
    "cost",
    "activity?hours=24&repository=42",
    "activity?hours=720",
    "hit-rates?hours=168&repository=42&repository=45",
    "families?repository=42&hours=168",
    "repositories/42/entries?per_page=5&page=2",
    "repositories/42/entries?sort=hits&direction=asc&per_page=25",
    "repositories/43/entries?search=GO-&ref=%23118",
    "repositories/42/entries?family=pip-linux-*&unused_since=1h",
    "repositories/42/entries?entry_class=transient&sort=size",
    "match?repository=42&key=node-modules-linux-x64-&ref=%23118&ref=main",
    "match?repository=42&key=go-&restore_key=pip-&ref=nope",
    "repositories/nope",
]


def test_demo_answers_as_the_server(store: PageServer, page: Page) -> None:
    headers = {"Authorization": f"Bearer {store.tokens.admin}"}
    for path in ASKED:
        shown = page.evaluate("(path) => fetch(`/manage/${path}`).then((it) => it.json())", path)
        real = urllib3.request("GET", f"{store.url}/manage/{path}", headers=headers, timeout=60).json()
        assert shown == {name: value for name, value in real.items() if name in shown}, path
    path = "repositories/42/entries?search=node&ref=main"
    shown = page.evaluate("(path) => fetch(`/manage/${path}`, { method: 'DELETE' }).then((it) => it.json())", path)
    real = urllib3.request("DELETE", f"{store.url}/manage/{path}", headers=headers, timeout=60).json()
    assert shown["matched"] == {name: real["matched"][name] for name in shown["matched"]}


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_demo_works_from_a_file(browser: Browser, size, scheme) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme, locale="en-GB", reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda it: faults.append(it.text))
    page.on("pageerror", lambda it: faults.append(str(it)))
    page.on("request", lambda it: None if it.url.startswith(DEMO.as_uri()) else faults.append(it.url))
    page.goto(DEMO.as_uri())
    settled(page)
    expect(page.get_by_text(BANNER)).to_be_visible()
    expect(page.locator("#attention")).to_contain_text("not merged after 5 tries")
    page.locator("#repositories").get_by_role("link", name="acme/website").click()
    expect(page.get_by_role("heading", name="acme/website", level=1)).to_be_focused()
    page.get_by_label("Key contains").fill("node")
    expect(page.get_by_text("2 entries match")).to_be_visible()
    page.get_by_role("button", name="Delete all 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete all").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("nothing can be deleted")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Families").click()
    expect(page.get_by_role("link", name="pip-linux-*")).to_be_visible()
    page.get_by_role("link", name="Match").click()
    page.get_by_label("Key", exact=True).fill("node-")
    page.get_by_role("button", name="Match").click()
    expect(page.locator("#answer")).to_contain_text("It restores node-modules-linux-x64-")
    page.reload()
    expect(page.locator("#answer")).to_contain_text("It restores node-modules-linux-x64-")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert faults == []
    context.close()


def test_demo_passes_axe(page: Page) -> None:
    settled(page)
    add_axe(page)
    assert violations(page) == []


def test_bundle_refuses_unknown_imports() -> None:
    with pytest.raises(ValueError, match=r"a\.mjs imports or exports"):
        bundled({"a": "import './b.mjs';\n"}, ["a"])

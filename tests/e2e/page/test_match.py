"""The page says what a key would restore, and why: on a desk and on a phone, by mouse and by keyboard."""

import hashlib
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from actions_cache.domain.access import Role
from actions_cache.domain.timing import DAY
from actions_cache.explain import MAX_REFS
from dev.docs.chromium import PHONE, settled
from dev.docs.page_server import MAIN, PageServer, page_server
from dev.local.template import Template
from tests.e2e.page.conftest import DESKTOP, Window, add_axe, opened_windows, violations

FEATURE, OTHER = "refs/heads/feature", "refs/pull/9/merge"
HOSTILE_ID = "43@https://ghes.example/_services/token"
MARKUP = "<img src=x onerror=alert(1)>"

Opens = Callable[..., Window]


@pytest.fixture(scope="module")
def store(template: Template) -> Iterator[PageServer]:
    with page_server(template, "match") as made:
        website = made.repository("42", "acme/website")
        made.entry(website, "npm-1", 1024**2, version="one", created=2 * DAY)
        made.entry(website, "npm-2", 2 * 1024**2, version="one", created=DAY)
        made.entry(website, "pip-1", 5, version="one", ref=OTHER, created=DAY)
        made.entry(website, "go-1", 5, version="one")
        made.entry(website, "go-1", 6, version="two")
        made.repository(HOSTILE_ID, "acme/<b>app</b>")
        made.entry(HOSTILE_ID, f"{MARKUP}-1", 1, ref=f"refs/heads/{MARKUP}{'x' * 300}")
        yield made


@pytest.fixture(scope="module")
def page(store: PageServer, browser: Browser) -> Iterator[Page]:
    """Provide one page of the repository for all tests that only ask; each of them fills in the whole form."""
    with opened_windows(browser) as opens:
        yield opens(store, role=Role.READ_ONLY).ready("#/repositories/42/match")


def version(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def ask(page: Page, key: str, restore_keys: str = "", refs: str = MAIN, version: str = "") -> Locator:
    """Returns the answer."""
    form = page.locator("#match")
    form.get_by_label("Key", exact=True).fill(key)
    form.get_by_label("Restore keys").fill(restore_keys)
    own, base, default = [*refs.split("\n"), "", ""][:3]
    form.get_by_label("Ref of the job").fill(own)
    form.get_by_label("Its base").fill(base)
    form.get_by_label("Default branch").fill(default)
    form.get_by_label("Version").fill(version)
    form.get_by_role("button", name="Match").click()
    settled(page)
    return page.get_by_role("region", name="What a job would restore")


def attempts(answer: Locator) -> list[str]:
    return answer.locator(".attempts li").all_inner_texts()


def test_exact_key_is_shown_as_hit(page: Page) -> None:
    answer = ask(page, "npm-1")
    expect(answer).to_contain_text("Hit It restores npm-1 of main, 1 MiB, created 2 days ago")
    expect(answer).to_contain_text("it has exactly this key.")
    expect(answer).to_contain_text(f"Version {version('one')}")
    expect(answer.get_by_role("heading", name="What a job would restore")).to_be_focused()
    assert attempts(answer) == [
        "In main, the entry with exactly the key npm-1: found, created 2 days ago.",
    ]


def test_attempts_are_listed_in_lookup_order(page: Page) -> None:
    answer = ask(page, " npm-3 ", " nothing-\n\n npm- ", "feature\n\n main ")
    expect(answer).to_contain_text("it is the newest whose key begins with the restore key npm-.")
    assert attempts(answer) == [
        "In feature, the entry with exactly the key npm-3: none.",
        "In feature, the newest entry whose key begins with npm-3: none.",
        "In feature, the newest entry whose key begins with nothing-: none.",
        "In feature, the newest entry whose key begins with npm-: none.",
        "In main, the entry with exactly the key npm-3: none.",
        "In main, the newest entry whose key begins with npm-3: none.",
        "In main, the newest entry whose key begins with nothing-: none.",
        "In main, the newest entry whose key begins with npm-: found npm-2, created 1 day ago.",
    ]


def test_key_prefix_hit_is_explained(page: Page) -> None:
    answer = ask(page, "npm")
    expect(answer).to_contain_text("it is the newest whose key begins with the one asked for.")


def test_each_version_has_its_own_result(page: Page) -> None:
    answer = ask(page, "go-1")
    expect(answer).to_contain_text("saved with 2 versions")
    heads = answer.get_by_role("heading", level=3).all_inner_texts()
    assert sorted(heads) == sorted(f"Version {version(it)}" for it in ("one", "two"))
    expect(answer.locator("details[open]")).to_have_count(0)  # many attempts at once are asked for
    answer = ask(page, "go-1", version=version("two"))
    expect(answer.get_by_role("heading", level=3)).to_have_text([f"Version {version('two')}"])
    expect(answer).to_contain_text("6 B")


@pytest.mark.parametrize(
    ("refs", "asked", "why"),
    [
        (MAIN, "one", "of another ref"),
        (OTHER, "three", "of another version"),
        (MAIN, "three", "of another ref, and of another version"),
    ],
)
def test_miss_explains_similar_entries(page: Page, refs: str, asked: str, why: str) -> None:
    answer = ask(page, "pip-1", refs=refs, version=version(asked))
    expect(answer).to_contain_text("Miss It restores nothing")
    row = answer.get_by_role("table", name="Similar entries elsewhere").get_by_role("row").filter(has_text="pip-1")
    expect(row.locator(".why")).to_have_text(why)
    expect(row).to_contain_text("Ref #9")
    expect(row).to_contain_text(f"Version {version('one')}")


@pytest.mark.parametrize("asked", ["", "three"])
def test_miss_without_similar_entries_is_explained(page: Page, asked: str) -> None:
    answer = ask(page, "x", version=asked)
    expect(answer).to_contain_text("No entry of this repository has a key that begins with one of these.")
    expect(answer.get_by_role("table")).to_have_count(0)


def test_address_holds_the_question(store: PageServer, window: Opens) -> None:
    page = window(store).ready("#/repositories/42/match")
    expect(page.get_by_label("Default branch")).to_have_value("main")
    ask(page, "npm-3", "npm-", "#9\nfeature\nmain")
    page.reload()
    expect(page.locator("#answer")).to_contain_text("begins with the restore key npm-.")
    for label, value in {"Ref of the job": "#9", "Its base": "feature", "Default branch": "main"}.items():
        expect(page.get_by_label(label)).to_have_value(value)


def test_blank_fields_are_not_submitted(store: PageServer, window: Opens) -> None:
    page = window(store).ready("#/repositories/42/match")
    form = page.locator("#match")
    for key, default, missing in (("  ", "main", "Key"), ("npm-1", "  ", "Ref of the job")):
        form.get_by_label("Key", exact=True).fill(key)
        form.get_by_label("Default branch").fill(default)
        form.get_by_role("button", name="Match").click()
        expect(form.get_by_label(missing, exact=True)).to_be_focused()
        expect(page.locator("#answer")).to_have_count(0)


def test_server_refusal_is_shown_and_retried(store: PageServer, window: Opens) -> None:
    one = window(store)
    refs = "&".join(f"ref={number}" for number in range(MAX_REFS + 1))
    page = one.open(f"#/repositories/42/match?key=npm-1&{refs}")
    expect(page.get_by_role("alert")).to_contain_text("ref")
    expect(page.locator("#match")).to_contain_text("And 8 further refs from the address.")
    expect(page.locator("#match").get_by_label("Key", exact=True)).to_have_value("npm-1")
    one.faults.clear()  # the browser's own word of the refusal
    page.goto("about:blank")
    one.ready("#/repositories/42/match")
    expect(ask(page, "npm-1", refs=MAIN)).to_contain_text("it has exactly this key.")


def test_failed_request_can_be_retried(store: PageServer, window: Opens) -> None:
    one = window(store)
    page = one.ready("#/repositories/42/match")
    page.route("**/manage/match*", lambda route: route.abort())
    answer = ask(page, "npm-1")
    expect(page.get_by_role("alert")).to_contain_text("be reached. Look at the network")
    one.faults.clear()  # the browser's own word of what was aborted
    page.unroute("**/manage/match*")
    page.get_by_role("button", name="Try again").click()
    expect(answer).to_contain_text("it has exactly this key.")


def test_refresh_repeats_match(store: PageServer, window: Opens) -> None:
    page = window(store).ready("#/repositories/42/match")
    answer = ask(page, "late-1")
    expect(answer).to_contain_text("No entry of this repository")
    store.entry("42", "late-1", 7)
    page.get_by_role("button", name="Refresh").click()
    expect(answer).to_contain_text("it has exactly this key.")


def test_match_form_works_by_keyboard(store: PageServer, window: Opens) -> None:
    page = window(store).ready("#/repositories/42/match")
    page.locator("#match").get_by_label("Key", exact=True).focus()
    page.keyboard.insert_text("npm-9")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Restore keys")).to_be_focused()
    page.keyboard.insert_text("npm-")
    for _ in range(5):
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Match")).to_be_focused()
    page.keyboard.press("Enter")
    heading = page.get_by_role("heading", name="What a job would restore")
    expect(heading).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_text("What was looked for: 3 attempts")).to_be_focused()
    expect(page.locator(".attempts")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator(".attempts")).to_be_hidden()


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_match_results_pass_axe_and_fit_screen(store: PageServer, window: Opens, size, scheme) -> None:
    one = window(store, viewport=size, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
    page = one.ready("#/repositories/42/match")
    add_axe(page)
    ask(page, "npm-9", "npm-", f"{FEATURE}\n{MAIN}")
    assert violations(page) == [], "hit"
    page.evaluate(f"location.hash = '#/repositories/{quote(HOSTILE_ID, safe='')}/match'")
    expect(page.get_by_role("heading", level=1)).to_have_text("acme/<b>app</b>")
    settled(page)
    answer = ask(page, MARKUP)
    expect(answer).to_contain_text(f"{MARKUP}-1")
    assert page.locator("main img, main b").count() == 0
    assert violations(page) == [], "miss"
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320

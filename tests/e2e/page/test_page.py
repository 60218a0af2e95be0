"""The page in a headless Chromium: what people see and do, with a mouse, by keyboard, on a desk and on a phone."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from actions_cache.domain.access import GITHUB, Role
from actions_cache.domain.archive import MergeState
from actions_cache.domain.budgets import Tally
from actions_cache.domain.entry import Entry
from actions_cache.domain.refused_job import KEPT, Refusals, RefusedJob
from actions_cache.domain.timing import DAY, SECOND
from dev.docs.chromium import PHONE, settled
from dev.docs.page_server import MAIN, PageServer, page_server
from dev.local.template import ROOT, Template
from functions.manage.query_params import MOST_HIT_RATES
from tests.e2e.page.conftest import DESKTOP, Window, add_axe, violations

GIB = 1024**3
BRANCH = "refs/pull/7/merge"
GHES = "https://ghes.example/_services/token"
BOTH = f"{GITHUB},{GHES}"
HOSTILE_ID = f"43@{GHES}"
HOSTILE_PLACE = f"#/repositories/{quote(HOSTILE_ID, safe='')}"
HOSTILE = {
    "markup": "<img src=x onerror=alert(1)><script>alert(2)</script>",
    "quotes": "\"'`${alert(1)}{{nonce}}",
    "turned": "exe\u202egnp.cache",
    "arabic": "\u0645\u0641\u062a\u0627\u062d-1",
    "long": "long-" + "x" * 507,
}

NARROWEST: ViewportSize = {"width": 320, "height": 640}

Opens = Callable[..., Window]


@pytest.fixture(scope="module")
def store(template: Template) -> Iterator[PageServer]:
    with page_server(
        template,
        "store",
        token_claims=f"any@{GHES},repository_id=42@{GITHUB}",
        token_issuers=BOTH,
        release="1.2.3+abc",
    ) as made:
        website = made.repository("42", "acme/website")
        made.repository(HOSTILE_ID, "acme/<b>app</b>")
        for number in range(26):
            made.entry(website, f"npm-{number:02d}", (number + 1) * 1_000_000, used=(number + 1) * 60 * SECOND)
        made.entry(website, "broken", 2 * GIB, used=2 * DAY, created=3 * DAY, hits=2, merge=MergeState.FAILED)
        for name, key in HOSTILE.items():
            made.entry(HOSTILE_ID, key, 100, version=name)
        made.hour(website, 1, Tally(hits=9, misses=1, saves=1, bytes_restored=9 * GIB, bytes_saved=GIB))
        made.hour(website, 30, Tally(hits=1, misses=1, bytes_restored=GIB))
        yield made


def rows(page: Page) -> list[str]:
    return page.locator(".entries tbody th .key").all_inner_texts()


def entries_left(store: PageServer, repository: str) -> list[str]:
    return sorted(it.name.key for it in store.services.table.stored_archives(repository))


def temporary(store: PageServer, *names: str, repository: str = "44", ref: str = MAIN) -> list[Entry]:
    store.repository(repository, f"acme/of-{repository}")
    return [store.entry(repository, it, 1000, ref=ref) for it in names]


# ------------------------------------------------------------------ signing in


def test_wrong_token_is_refused_and_right_one_signs_in(store: PageServer, window: Opens) -> None:
    one = window(store, role=None)
    page = one.open()
    expect(page.get_by_label("Token")).to_be_focused()
    page.get_by_label("Token").fill("f" * 64)
    page.keyboard.press("Enter")
    expect(page.locator("#sign-in-error")).to_contain_text("neither the admin's token nor the read-only one")
    one.faults.clear()  # the browser's own word of the 401
    page.get_by_label("Token").fill(f" {store.tokens.admin}\n")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="acme/website").first).to_be_visible()
    expect(page.locator("#role")).to_have_text("Admin")

    assert store.tokens.admin not in page.content()
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
    [cookie] = page.context.cookies(f"{store.url}/manage/session")
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/manage")
    assert store.tokens.admin not in cookie["value"]

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_focused()
    assert page.context.cookies() == []
    page.reload()
    expect(page.get_by_label("Token")).to_be_visible()
    expect(page.get_by_text("acme/website")).to_have_count(0)


def test_expired_session_resumes_after_sign_in(store: PageServer, window: Opens) -> None:
    one = window(store)
    page = one.ready("#/repositories/42")
    page.context.clear_cookies()
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("Your session has ended")).to_be_visible()
    page.get_by_label("Token").fill(store.tokens.for_reading)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="acme/website", level=1)).to_be_focused()
    expect(page.locator("#role")).to_have_text("Read-only")
    settled(page)
    # The browser's own word of each 401, of which the last may come after the question for the token.
    one.faults[:] = [it for it in one.faults if "(Unauthorized)" not in it]


# ------------------------------------------------------------------ looking


def test_overview_shows_usage_activity_and_cost(store: PageServer, window: Opens) -> None:
    page = window(store).ready()
    links = page.locator("#repositories tbody th a").all_inner_texts()
    assert links[:2] == ["acme/website", "acme/<b>app</b>"]  # the largest first
    website = page.locator("#repositories").get_by_role("row").filter(has_text="acme/website")
    expect(website).to_contain_text("2.33 GiB of 10 GiB (23%)")
    expect(website.locator(".rate")).to_have_text("83%")
    expect(website.get_by_title("2,498,483,648 bytes of 10,737,418,240 bytes")).to_be_visible()
    expect(page.locator("#glance")).to_contain_text("90%")
    expect(page.locator("#glance")).to_contain_text("10 lookups")
    expect(page.locator("#attention")).to_contain_text("acme/website: not merged after 5 tries, 2 days ago")
    expect(page.locator("#attention")).to_contain_text("broken · main · 2 GiB")
    expect(page.get_by_role("table", name="Estimated cost of a month on AWS, by part")).to_contain_text("Storage")
    expect(page.locator("#fresh")).to_have_text(re.compile(r"^As of \d\d:\d\d:\d\d$"))
    expect(page.locator("#release")).to_have_text("1.2.3+abc")

    page.get_by_text("The same as a table").click()
    table = page.get_by_role("table", name="Activity in 7 days")
    expect(table.get_by_role("row")).to_have_count(3)
    expect(table).to_contain_text("10")
    expect(page.get_by_role("img", name=re.compile(r"Hit rate\. 83% of 12 lookups in 7 days"))).to_be_visible()
    page.get_by_role("radio", name="24 hours").check()
    expect(page.get_by_role("img", name=re.compile(r"Hit rate\. 90% of 10 lookups in 24 hours"))).to_be_visible()


def test_names_from_jobs_are_shown_as_text(store: PageServer, window: Opens) -> None:
    page = window(store).ready(HOSTILE_PLACE)
    expect(page.get_by_role("heading", level=1)).to_have_text("acme/<b>app</b>")
    shown = page.locator(".entries tbody th .key").all_text_contents()
    expected = {**HOSTILE, "turned": "exeU+202Egnp.cache"}
    assert sorted(shown) == sorted(expected.values())
    assert page.locator("main img, main script, main b").count() == 0
    long = page.get_by_role("row").filter(has_text="long-")
    box = long.bounding_box()
    assert box is not None
    assert box["height"] < 40, "one line an entry"
    long.locator("summary").click()
    expect(long.locator(".facts")).to_contain_text(HOSTILE["long"])


def test_search_sort_paging_and_back_button_work(store: PageServer, window: Opens) -> None:
    page = window(store).ready()
    page.locator("#repositories").get_by_role("link", name="acme/website").click()
    expect(page.get_by_text("27 entries", exact=True).last).to_be_visible()
    assert rows(page)[:2] == ["npm-00", "npm-01"]
    used = page.locator(".entries tbody tr").first.locator("td time").first
    expect(used).to_have_text("1 minute ago")
    assert used.get_attribute("datetime") == "2027-01-15T07:59:00.000Z"
    assert re.search(r"2027, 0?\d:59:00 (UTC|GMT|[A-Z]+)", used.get_attribute("title") or "")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Page 2 of 2")).to_be_visible()
    assert rows(page) == ["npm-25", "broken"]
    expect(page.get_by_role("heading", name="Entries")).to_be_focused()

    page.get_by_role("button", name="Size").click()
    expect(page.get_by_role("columnheader", name="Size")).to_have_attribute("aria-sort", "descending")
    expect(page.locator(".entries tbody th .key").first).to_have_text("broken")
    expect(page.get_by_role("button", name="Size")).to_be_focused()
    page.get_by_role("button", name="Size").click()
    expect(page.get_by_role("columnheader", name="Size")).to_have_attribute("aria-sort", "ascending")
    expect(page.locator(".entries tbody th .key").first).to_have_text("npm-00")

    page.get_by_label("Key contains").press_sequentially("M-1")
    expect(page.get_by_text("10 entries match")).to_be_visible()
    expect(page.get_by_label("Key contains")).to_be_focused()
    assert rows(page) == [f"npm-1{digit}" for digit in range(10)]
    page.reload()
    expect(page.get_by_label("Key contains")).to_have_value("M-1")
    expect(page.get_by_text("10 entries match")).to_be_visible()
    page.get_by_label("Ref", exact=True).fill("refs/heads/other")
    expect(page.get_by_text("0 entries match")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Overview")).to_be_attached()


def test_entry_shows_its_state_only_when_unmerged(store: PageServer, window: Opens) -> None:
    page = window(store).ready("#/repositories/42?sort=size")
    expect(page.locator(".entries .badge")).to_have_text(["merge failed"])
    page.locator(".entries summary").nth(1).click()
    expect(page.locator(".facts").nth(1)).to_contain_text("Merged: jobs restore one object.")


def test_refs_are_taken_and_suggested_as_people_write_them(store: PageServer, window: Opens) -> None:
    temporary(store, "of main", repository="50")
    temporary(store, "of a pull request", repository="50", ref=BRANCH)
    page = window(store).ready("#/repositories/50")
    ref = page.get_by_label("Ref", exact=True)
    ref.focus()
    options = page.locator(f"#{ref.get_attribute('list')} option")
    expect(options).to_have_count(2)
    assert {it.get_attribute("value") for it in options.all()} == {"main", "#7"}
    for written, key in (("#7", "of a pull request"), ("main", "of main"), (BRANCH, "of a pull request")):
        ref.fill(written)
        expect(page.locator(".entries tbody th .key")).to_have_text([key])
    ref.fill("mian")
    expect(page.locator("#entries")).to_contain_text("That is refs/heads/mian. The entries used last have the refs")
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.locator(".entries tbody tr")).to_have_count(2)
    page.get_by_role("link", name="#7").click()
    expect(page.locator(".entries tbody th .key")).to_have_text(["of a pull request"])


def test_tabs_divide_a_repository(store: PageServer, window: Opens) -> None:
    page = window(store).ready("#/repositories/42")
    tabs = page.get_by_role("navigation", name="Parts of the repository")
    for name, heading in (("Match", "Match a key"), ("Activity", "Activity"), ("Families", "Key families")):
        tabs.get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", name=heading, level=2)).to_be_visible()
        expect(tabs.locator("[aria-current=page]")).to_have_text(name)
        expect(tabs.get_by_role("link", name=name)).to_be_focused()
    settled(page)
    page.get_by_role("link", name="npm-*").click()
    expect(page.get_by_label("Key family")).to_have_value("npm-*")
    expect(page.get_by_text("26 entries match")).to_be_visible()


def test_tiles_lead_to_what_they_count(store: PageServer, window: Opens) -> None:
    page = window(store).ready()
    for tile, heading in (
        ("Failed", "Needs attention"),
        ("Hit rate", "Activity"),
        ("A month", "Cost of a month on AWS"),
    ):
        page.locator("#glance").get_by_role("link", name=tile).click()
        expect(page.get_by_role("heading", name=heading)).to_be_focused()
    page.get_by_role("link", name="Actions cache").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_focused()
    page.locator("#glance").get_by_role("link", name="Nearly full").click()
    expect(page.get_by_label("Over 90% of the budget")).to_be_checked()
    expect(page.locator("#repositories")).to_contain_text("0 of ")


# ------------------------------------------------------------------ failures


def test_failed_request_is_said_once_and_retried(store: PageServer, window: Opens) -> None:
    one = window(store)
    one.page.route("**/manage/failures*", lambda route: route.abort())  # of two sections
    page = one.ready()
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(page.get_by_role("alert")).to_contain_text("be reached. Look at the network")
    expect(page.locator("#glance")).to_contain_text("Not loaded.")
    expect(page.get_by_role("link", name="acme/website").first).to_be_visible()
    one.faults.clear()  # the browser's own word of what was aborted
    page.unroute("**/manage/failures*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#attention")).to_contain_text("not merged after 5 tries")
    expect(page.get_by_role("alert")).to_be_empty()


def test_failed_refresh_keeps_data_and_their_time(store: PageServer, window: Opens) -> None:
    one = window(store)
    page = one.ready()
    then = page.locator("#fresh").inner_text()
    page.route("**/manage/*", lambda route: route.abort())
    page.clock.set_fixed_time(store.now / 1000 + 3600)
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("alert")).to_contain_text("be reached")
    settled(page)
    expect(page.locator("#fresh")).to_have_text(f"{then}, not refreshed")
    expect(page.locator("#status")).to_be_empty()
    expect(page.get_by_role("link", name="acme/website").first).to_be_visible()
    one.faults.clear()
    page.unroute("**/manage/*")
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#status")).to_have_text("Refreshed")
    expect(page.locator("#fresh")).not_to_contain_text(then)


def test_unknown_repository_is_one_error(store: PageServer, window: Opens) -> None:
    one = window(store)
    page = one.open("#/repositories/nope")
    expect(page.get_by_text("no repository 'nope' has saved anything here")).to_have_count(1)
    expect(page.get_by_text("A repository is listed once")).to_be_visible()
    expect(page.locator("section")).to_have_count(0)
    page.get_by_role("link", name="All repositories").click()
    expect(page.get_by_role("link", name="acme/website").first).to_be_visible()
    one.faults.clear()  # the browser's own word of the 404s


# ------------------------------------------------------------------ deleting


def test_deletion_requires_confirmation(store: PageServer, window: Opens) -> None:
    temporary(store, "keep", "<i>go</i>")
    page = window(store).ready("#/repositories/44")
    delete = page.get_by_role("row").filter(has_text="<i>go</i>").get_by_role("button", name="Delete")
    dialog = page.get_by_role("dialog", name="Delete this entry of 0.977 KiB?")

    delete.click()
    expect(dialog).to_contain_text("<i>go</i>")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    delete.click()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(delete).to_be_focused()
    assert entries_left(store, "44") == ["<i>go</i>", "keep"]

    delete.click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The entry is deleted.")).to_be_visible()
    expect(page.get_by_role("heading", name="Entries")).to_be_focused()
    assert rows(page) == ["keep"]
    expect(page.locator("#usage")).to_contain_text("1 entry")
    assert entries_left(store, "44") == ["keep"]


def test_deletion_of_search_names_bytes_and_keeps_the_rest(store: PageServer, window: Opens) -> None:
    temporary(store, "stays", "npm-of-main", repository="45")
    temporary(store, "npm-a", "npm-b", "yarn", repository="45", ref=BRANCH)
    page = window(store).ready("#/repositories/45")
    expect(page.get_by_role("button", name="that match")).to_have_count(0)
    page.get_by_label("Ref", exact=True).fill("#7")
    page.get_by_label("Key contains").fill("NPM")
    page.get_by_label("Saved by").select_option("Pull requests, tags")
    expect(page.get_by_text("2 entries match")).to_be_visible()
    page.get_by_role("button", name="Delete all 2 that match").click()
    dialog = page.get_by_role("dialog", name="Delete 2 entries, 1.95 KiB?")
    expect(dialog).to_contain_text("key contains NPM · ref #7 · saved by pull requests, tags")
    expect(dialog.get_by_role("row", name="#7")).to_contain_text("1.95 KiB")
    store.entry("45", "npm-saved since", 1, ref=BRANCH, created=-SECOND)
    dialog.get_by_role("button", name="Delete all").click()
    expect(page.get_by_text("2 entries are deleted.")).to_be_visible()
    assert entries_left(store, "45") == ["npm-of-main", "npm-saved since", "stays", "yarn"]


def test_failed_deletion_is_shown_in_dialog(store: PageServer, window: Opens) -> None:
    [entry] = temporary(store, "gone meanwhile", repository="46")
    one = window(store)
    page = one.ready("#/repositories/46")
    page.get_by_role("button", name="Delete").click()
    assert store.services.remove_entry(entry.archive_id, lambda _: True)
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(f"no entry has the id {entry.id}")
    one.faults.clear()  # the browser's own word of the 404


def test_read_only_role_cannot_delete(store: PageServer, window: Opens) -> None:
    one = window(store, role=Role.READ_ONLY)
    page = one.ready("#/repositories/42?ref=main")
    expect(page.get_by_text("27 entries match")).to_be_visible()
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)
    status = page.evaluate(
        "fetch('/manage/repositories/42/entries?ref=x', { method: 'DELETE' }).then((it) => it.status)"
    )
    assert status == 403
    one.faults.clear()  # the browser's own word of the 403


def test_content_policy_blocks_scripts_and_markup(store: PageServer, window: Opens) -> None:
    one = window(store)
    page = one.ready()
    page.evaluate("""() => {
        const script = document.createElement('script');
        try { script.textContent = 'window.ran = true'; } catch { /* trusted types */ }
        document.body.append(script);
    }""")
    refused = page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return false; } catch { return true; } }"
    )
    assert refused
    assert page.evaluate("window.ran") is None
    assert one.faults
    one.faults.clear()


# ------------------------------------------------------------------ for everybody


def test_whole_page_works_by_keyboard(store: PageServer, window: Opens) -> None:
    temporary(store, "by keyboard", repository="47")
    page = window(store, role=None).open()
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.insert_text(store.tokens.admin)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    for _ in range(6):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.id") == "skip":
            break
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    settled(page)

    tab_to(page, "acme/of-47")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="acme/of-47", level=1)).to_be_focused()
    settled(page)
    tab_to(page, "Hits")
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="Hits")).to_have_attribute("aria-sort", "descending")
    settled(page)
    tab_to(page, "by keyboard")
    page.keyboard.press("Enter")
    expect(page.locator(".facts")).to_be_visible()
    tab_to(page, "Delete")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The entry is deleted.")).to_be_visible()
    assert entries_left(store, "47") == []


def tab_to(page: Page, text: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText ?? ''").strip().startswith(text):
            return
    pytest.fail(f"40 times Tab didn't lead to {text!r}")


def assert_fits(page: Page, size: ViewportSize) -> None:
    """Check that nothing is wider than the screen, nor than the narrowest that WCAG 1.4.10 names."""
    for narrower in (size, NARROWEST):
        page.set_viewport_size(narrower)
        assert page.evaluate("document.documentElement.scrollWidth") <= narrower["width"]
    page.set_viewport_size(size)


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_page_passes_axe_and_fits_screen(store: PageServer, window: Opens, size, scheme) -> None:
    one = window(store, viewport=size, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
    page = one.ready()
    add_axe(page)
    page.get_by_text("The same as a table").click()
    assert violations(page) == [], "overview"
    assert_fits(page, size)
    page.evaluate(f"location.hash = '{HOSTILE_PLACE}'")
    expect(page.locator(".entries")).to_be_visible()
    settled(page)
    page.locator(".entries summary").first.click()
    assert violations(page) == [], "repository"
    assert_fits(page, size)
    page.locator(".entries").get_by_role("button", name="Delete").first.click()
    assert violations(page) == [], "dialog"
    page.keyboard.press("Escape")
    page.get_by_label("Ref", exact=True).fill("main")
    page.get_by_role("button", name="that match").click()
    expect(page.get_by_role("dialog")).to_contain_text("All that match now")
    assert violations(page) == [], "bulk deletion"
    page.keyboard.press("Escape")
    page.get_by_label("Ref", exact=True).fill("none")
    expect(page.get_by_text("No entry matches")).to_be_visible()
    assert violations(page) == [], "nothing found"
    for tab in ("Activity", "Families"):
        page.get_by_role("link", name=tab).click()
        settled(page)
        assert violations(page) == [], tab
        assert_fits(page, size)
    page.route("**/manage/*", lambda route: route.abort())
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#problem")).to_contain_text("be reached")
    assert violations(page) == [], "failed"
    one.faults.clear()  # the browser's own word of what was aborted
    page.unroute("**/manage/*")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_selector("#token")
    assert violations(page) == [], "sign-in"
    assert_fits(page, size)


def test_new_server_says_how_to_point_a_runner(empty_server: PageServer, window: Opens) -> None:
    page = window(empty_server).ready()
    expect(page.get_by_text("Nothing was saved yet.")).to_be_visible()
    expect(page.locator("#attention")).to_contain_text("Nothing")
    expect(page.get_by_text("No lookups in 7 days")).to_be_visible()
    lines = page.get_by_label("Lines to run").inner_text().replace(f"{empty_server.url}/", "https://cache.example.com/")
    documented = (ROOT / "docs" / "use" / "runners.md").read_text()
    assert "".join(f"$ {line}\n" for line in lines.splitlines()) in documented


def test_sign_in_says_where_the_token_is(store: PageServer, window: Opens) -> None:
    page = window(store, role=None).open()
    expect(page.get_by_label("Where it is")).to_have_text("make token")


@pytest.mark.parametrize("number", [1, 300, 10_000])
def test_any_number_of_repositories_is_searched_sorted_and_paged(store: PageServer, window: Opens, number: int) -> None:
    """The answers are made up, since here the page is the subject, and not how fast a server reads so many."""
    last_used_at = "2027-01-15T07:00:00.000Z"
    repositories = [
        {"id": str(at), "name": f"acme/r{at:05d}", "bytes": at * GIB // 1000, "entries": at, "budget_bytes": 10 * GIB}
        | {"last_used_at": last_used_at}
        for at in range(1, number + 1)
    ]
    everything = {"bytes": number, "entries": number, "budget_bytes": None}
    one = window(store)
    page = one.page
    page.route(
        "**/manage/repositories",
        lambda route: route.fulfill(json={"repositories": repositories, "unread": 0, "store": everything}),
    )
    page.route("**/manage/hit-rates*", lambda route: route.fulfill(json=made_up_rates(route.request.url)))
    one.ready()
    listed = page.locator("#repositories tbody tr")
    expect(listed).to_have_count(min(number, 25))
    expect(listed.first).to_contain_text(f"acme/r{number:05d}")
    expect(page.locator("#repositories")).to_contain_text(f"{number:,} repositor")
    if number == 1:
        expect(page.get_by_role("navigation", name="Pages of repositories")).to_have_count(0)
        return
    if number == 10_000:  # of which a thousand use 90% or more
        expect(page.locator("#attention .item.nearly a").first).to_have_text("acme/r10000")
    page.get_by_role("button", name="Next").click()
    expect(listed.first).to_contain_text(f"acme/r{number - 25:05d}")
    page.get_by_role("button", name="Repository").click()
    page.get_by_role("button", name="Repository").click()
    expect(listed.first).to_contain_text("acme/r00001")
    page.get_by_label("Find a repository").fill("R0029")
    expect(listed).to_have_count(10)
    expect(listed.first.locator(".rate")).to_have_text("90%")
    page.get_by_label("Find a repository").fill("")
    page.get_by_role("button", name="Entries").click()
    expect(listed.first).to_contain_text(f"acme/r{number:05d}")
    page.reload()
    expect(page.get_by_role("columnheader", name="Entries")).to_have_attribute("aria-sort", "descending")
    # Hit rates aren't sorted by where asking for all of them would take too many requests.
    expect(page.get_by_role("button", name="Hit rate")).to_have_count(1 if number <= 500 else 0)
    if number <= 500:
        page.get_by_role("button", name="Hit rate").click()
        expect(page.get_by_role("columnheader", name="Hit rate")).to_have_attribute("aria-sort", "descending")


def made_up_rates(url: str) -> dict[str, Any]:
    ids = parse_qs(urlsplit(url).query)["repository"]
    assert len(ids) <= MOST_HIT_RATES
    return {"hours": 168, "hit_rates": [{"repository": it, "hits": 9, "misses": 1} for it in ids]}


# ------------------------------------------------------------------ jobs that were refused


def test_refused_jobs_are_shown(store: PageServer, window: Opens) -> None:
    one = window(store, Role.READ_ONLY, bypass_csp=True)  # for axe's script
    page = one.ready()
    expect(page.locator("#attention")).not_to_contain_text("refused")
    for number, names in {"9": ("octo/app", "octo"), "10": ("<img src=x onerror=alert(1)>", "\u202eevil")}.items():
        to_admit = (f"repository_id={number}@{GITHUB}", f"repository_owner_id=7@{GITHUB}")
        job = RefusedJob(GITHUB, number, names[0], "7", names[1], to_admit)
        store.services.repositories.add_refusals(Refusals(job, 3, store.now), store.now + KEPT)
    page.get_by_role("button", name="Refresh").click()
    settled(page)
    refused = page.locator("#attention")
    expect(refused).to_contain_text("octo/app of octo was refused 3 times")
    expect(refused).to_contain_text(f"add to TokenClaims repository_id=9@{GITHUB}, or repository_owner_id=7@{GITHUB}")
    expect(refused).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("#attention img").count() == 0
    add_axe(page)
    assert violations(page) == []
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

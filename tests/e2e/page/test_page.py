"""The page in a headless Chromium: what people see and do, with a mouse, by keyboard, on a desk and on a phone."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

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
from dev.local.template import Template
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
        template, "store", token_claims=f"any@{GHES},repository_id=42@{GITHUB}", token_issuers=BOTH
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
    expect(page.get_by_role("alert")).to_contain_text("neither the admin's token nor the read-only one")
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
    # The browser's own word of each 401, of which the last may come after the question for the token.
    one.faults[:] = [it for it in one.faults if "(Unauthorized)" not in it]


# ------------------------------------------------------------------ looking


def test_overview_shows_usage_activity_and_cost(store: PageServer, window: Opens) -> None:
    page = window(store).ready()
    links = page.locator("#repositories tbody th a").all_inner_texts()
    assert links[:2] == ["acme/website", "acme/<b>app</b>"]  # the largest first
    website = page.locator("#repositories").get_by_role("row").filter(has_text="acme/website")
    expect(website).to_contain_text("2.33 GiB of 10 GiB (23%)")
    expect(website.get_by_title("2,498,483,648 bytes of 10,737,418,240 bytes")).to_be_visible()
    expect(page.locator("#glance")).to_contain_text("90%")
    expect(page.locator("#glance")).to_contain_text("10 lookups")
    expect(page.locator("#failures")).to_contain_text("Not merged after 5 tries: broken")
    expect(page.locator("#failures")).to_contain_text("acme/website · refs/heads/main · 2 GiB · 2 days ago")
    expect(page.get_by_role("table", name="Estimated cost of a month, by part")).to_contain_text("Storage")

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
    assert box["height"] < 120
    long.locator("summary").click()
    expect(long.locator(".facts")).to_contain_text(HOSTILE["long"])


def test_search_sort_paging_and_back_button_work(store: PageServer, window: Opens) -> None:
    page = window(store).ready()
    page.get_by_role("link", name="acme/website").first.click()
    expect(page.get_by_text("27 entries", exact=True).last).to_be_visible()
    assert rows(page)[:2] == ["npm-00", "npm-01"]
    used = page.locator(".entries tbody tr").first.locator("time").first
    expect(used).to_have_text("1 minute ago")
    assert used.get_attribute("datetime") == "2027-01-15T07:59:00.000Z"
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


def test_failed_request_can_be_retried(store: PageServer, window: Opens) -> None:
    one = window(store)
    one.page.route("**/manage/cost*", lambda route: route.abort())
    page = one.ready()
    expect(page.locator("#cost").get_by_role("alert")).to_contain_text("be reached. Look at the network")
    expect(page.get_by_role("link", name="acme/website").first).to_be_visible()
    one.faults.clear()  # the browser's own word of what was aborted
    page.unroute("**/manage/cost*")
    page.locator("#cost").get_by_role("button", name="Try again").click()
    expect(page.locator("#cost")).to_contain_text("By list prices")


# ------------------------------------------------------------------ deleting


def test_deletion_requires_confirmation(store: PageServer, window: Opens) -> None:
    temporary(store, "keep", "<i>go</i>")
    page = window(store).ready("#/repositories/44")
    delete = page.get_by_role("row").filter(has_text="<i>go</i>").get_by_role("button", name="Delete")
    dialog = page.get_by_role("dialog", name="Delete this entry?")

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


def test_deletion_by_ref_keeps_other_refs(store: PageServer, window: Opens) -> None:
    temporary(store, "stays", repository="45")
    temporary(store, "a", "b", repository="45", ref=BRANCH)
    page = window(store).ready("#/repositories/45")
    expect(page.get_by_role("button", name="Delete all of this ref")).to_have_count(0)
    page.get_by_label("Ref", exact=True).fill(BRANCH)
    expect(page.get_by_text("2 entries match")).to_be_visible()
    page.get_by_role("button", name="Delete all of this ref").click()
    dialog = page.get_by_role("dialog", name="Delete 2 entries?")
    expect(dialog).to_contain_text(BRANCH)
    expect(dialog).to_contain_text("1.95 KiB")
    store.entry("45", "saved since", 1, ref=BRANCH, created=-SECOND)
    dialog.get_by_role("button", name="Delete all").click()
    expect(page.get_by_text("2 entries are deleted.")).to_be_visible()
    assert entries_left(store, "45") == ["saved since", "stays"]


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
    page = one.ready(f"#/repositories/42?ref={MAIN}")
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
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_selector("#token")
    assert violations(page) == [], "sign-in"


def test_new_server_shows_empty_state(empty_server: PageServer, window: Opens) -> None:
    page = window(empty_server).ready()
    expect(page.get_by_text("Nothing was saved yet.")).to_be_visible()
    expect(page.locator("#failures")).to_contain_text("Nothing")
    expect(page.get_by_text("No lookups in 7 days")).to_be_visible()


# ------------------------------------------------------------------ jobs that were refused


def test_refused_jobs_are_shown(store: PageServer, window: Opens) -> None:
    one = window(store, Role.READ_ONLY, bypass_csp=True)  # for axe's script
    page = one.ready()
    expect(page.locator("#refused")).to_be_hidden()
    for number, names in {"9": ("octo/app", "octo"), "10": ("<img src=x onerror=alert(1)>", "\u202eevil")}.items():
        to_admit = (f"repository_id={number}@{GITHUB}", f"repository_owner_id=7@{GITHUB}")
        job = RefusedJob(GITHUB, number, names[0], "7", names[1], to_admit)
        store.services.repositories.add_refusals(Refusals(job, 3, store.now), store.now + KEPT)
    page.get_by_role("button", name="Refresh").click()
    settled(page)
    refused = page.locator("#refused")
    expect(refused).to_be_visible()
    expect(refused).to_contain_text("octo/app of octo")
    expect(refused).to_contain_text("3 times")
    expect(refused).to_contain_text(f"add to TokenClaims: repository_id=9@{GITHUB}")
    expect(refused).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("#refused img").count() == 0
    add_axe(page)
    assert violations(page) == []
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

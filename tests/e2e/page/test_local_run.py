"""The page as `make run` serves it: through the edge, by the template's routes, with the token of .local/env."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from dev.clients.runtime_token import runtime_token
from dev.clients.wire import GO, Job

pytestmark = pytest.mark.slow


def _token(repository: str) -> str:
    """Return a token that names its repository, by which people find it."""
    extra = json.dumps({"repository": f"acme/of-{repository}"})
    return runtime_token(repository=repository, oidc_extra=extra)


def signed_in(browser: Browser, server: str, server_directory: Path) -> Page:
    env = (server_directory / "data" / "env").read_text()
    [token] = re.findall(r"^export ADMIN_TOKEN=(\S+)$", env, re.MULTILINE)
    page = browser.new_page()
    page.goto(server)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign in")).to_have_count(0)
    return page


def test_saved_entry_is_shown_and_deleted(
    server: str, server_directory: Path, repository: str, browser: Browser
) -> None:
    job = Job(server, _token(repository))
    job.save("npm-1", b"x" * 1000, b"y" * 1000)
    page = signed_in(browser, server, server_directory)
    page.get_by_role("link", name=f"acme/of-{repository}").click()
    expect(page.locator(".entries")).to_contain_text("1.95 KiB")
    page.locator(".entries").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The entry is deleted.")).to_be_visible()
    page.close()
    assert job.look_up("npm-1")["ok"] is False


def test_saved_html_cannot_use_admin_session(
    server: str, server_directory: Path, repository: str, browser: Browser
) -> None:
    """It has the page's origin, and thus the operator's session: it must come as a file, and never as a page."""
    job = Job(server, _token(repository), GO)
    job.save("precious", b"bytes")
    attack = (
        "<!doctype html><title>evil</title><script>"
        f"fetch('/manage/repositories/{repository}/entries?key=precious&dry_run=false', {{method: 'DELETE'}})"
        ".then((answer) => { document.title = `done ${answer.status}`; })</script>"
    ).encode()
    job.save("one object", attack)
    job.save("in parts", attack[:50], attack[50:])
    page = signed_in(browser, server, server_directory)
    for key in ("one object", "in parts"):
        with suppress(Error):  # a download is no navigation
            page.goto(job.download_url(key))
        page.wait_for_timeout(500)
        assert "evil" not in page.title()
        assert "done" not in page.title()
    page.close()
    assert job.look_up("precious")["ok"] is True

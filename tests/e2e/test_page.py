"""The page as `make run` serves it: through the edge, by the template's routes, with the token of .local/env."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.clients.runtime_token import runtime_token
from tests.clients.wire import Job
from tests.page.chromium import chromium_for_tests


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium_for_tests() as browser:
        yield browser


def _token(repository: str) -> str:
    """With the name of the repository in it, by which people find it."""
    extra = json.dumps({"repository": f"acme/of-{repository}"})
    return runtime_token(repository=repository, oidc_extra=extra)


def test_what_a_job_saved_is_found_on_the_page_and_deleted(
    server: str, server_directory: Path, repository: str, browser: Browser
) -> None:
    job = Job(server, _token(repository))
    job.save("npm-1", b"x" * 1000, b"y" * 1000)
    env = (server_directory / "data" / "env").read_text()
    [token] = re.findall(r"^export ADMIN_TOKEN=(\S+)$", env, re.MULTILINE)

    page = browser.new_page()
    page.goto(server)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name=f"acme/of-{repository}").click()
    expect(page.locator(".entries")).to_contain_text("1.95 KiB")
    page.locator(".entries").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The entry is deleted.")).to_be_visible()
    page.close()
    assert job.look_up("npm-1")["ok"] is False

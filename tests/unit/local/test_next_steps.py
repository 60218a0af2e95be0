"""Tests that a run's next steps fit the URL by which jobs reach it."""

from pathlib import Path

import pytest

from dev.local.next_steps import next_steps
from dev.local.options import Options


def said(public_url: str | None = None, **options: object) -> str:
    return "\n".join(next_steps(Options.model_validate(options), public_url))


def test_page_and_runner_get_the_runs_own_url():
    text = said(port=3001)
    assert "http://127.0.0.1:3001/, and its token by: make token\n" in text
    assert '{"url": "http://127.0.0.1:3001/"}' in text


def test_page_and_runner_get_the_url_of_a_proxy_in_front():
    text = said("https://cache.example.com")
    assert "https://cache.example.com/, and" in text
    assert '{"url": "https://cache.example.com/"}' in text
    assert "127.0.0.1" not in text


@pytest.mark.parametrize(("host", "public_url"), [("0.0.0.0", None), ("127.0.0.1", "http://cache.example.com")])
def test_no_runner_is_pointed_where_its_hook_would_send_no_token(host: str, public_url: str | None):
    text = said(public_url, host=host)
    assert "isn't https" in text
    assert "PUBLIC_URL" in text
    assert "hook.json" not in text


def test_another_data_directory_is_part_of_the_command():
    assert "make token LOCAL_DATA_DIR='/tmp/a b'\n" in said(local_data_dir=Path("/tmp/a b"))


def test_each_line_fits_a_terminal():
    assert max(map(len, said(local_data_dir=Path("/data")).splitlines())) <= 100

"""Settings: their bounds, and that each is documented."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from actions_cache.domain.access import ClaimRule
from actions_cache.settings import Settings

REQUIRED: dict[str, Any] = {
    "entries_table": "entries",
    "reservations_table": "reservations",
    "archives_table": "archives",
    "repositories_table": "repositories",
    "bucket": "bucket",
    "merge_queue_url": "https://queue",
    "url_signing_secret_arn": "arn",
}
PAGE = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()


@pytest.mark.parametrize("setting", sorted(Settings.model_fields))
def test_every_setting_is_documented(setting):
    assert f"`{setting.upper()}`" in PAGE


def test_no_setting_is_documented_that_does_not_exist():
    local = {"PORT", "HOST", "LOCAL_DATA_DIR", "LOCAL_MERGE_WORKERS"}
    local |= {"CLEANUP_INTERVAL_SECONDS", "ORPHANS_INTERVAL_SECONDS"}
    local |= {"STORE_ENDPOINT_URL", "TABLE_ENDPOINT_URL", "QUEUE_ENDPOINT_URL"}
    named = {name for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named <= local | {setting.upper() for setting in Settings.model_fields}


def test_the_grace_is_derived_from_what_a_reader_may_need():
    """P3."""
    settings = Settings(**REQUIRED, download_url_seconds=100, max_stream_seconds=50)
    assert settings.grace_seconds == 2 * 100 + 50 + 30
    assert Settings(**REQUIRED).grace_seconds == 2130


def test_a_grace_that_would_cut_readers_off_is_refused_with_what_to_do():
    assert Settings(**REQUIRED, parts_grace_seconds=2130).grace_seconds == 2130
    with pytest.raises(ValidationError, match=r"PARTS_GRACE_SECONDS is 2129.*2130 s.*Raise it"):
        Settings(**REQUIRED, parts_grace_seconds=2129)


@pytest.mark.parametrize(
    ("limits", "largest"),
    [
        ({}, 10 * 1024**3),
        ({"repository_budget_bytes": 0}, None),
        ({"max_entry_bytes": 7}, 7),
        ({"max_entry_bytes": 7, "store_budget_bytes": 5}, 5),
        ({"repository_budget_bytes": 3, "max_entry_bytes": 7}, 3),
    ],
    ids=str,
)
def test_an_open_upload_may_have_twice_the_largest_entry(limits, largest):
    settings = Settings(**REQUIRED, **limits)
    assert settings.largest_entry_bytes == largest
    assert settings.open_upload_bytes == (None if largest is None else 2 * largest)
    assert Settings(**REQUIRED, **limits, max_open_upload_bytes=10**12).open_upload_bytes == 10**12


def test_a_bound_that_closes_uploads_of_good_entries_is_refused():
    at_most: dict[str, Any] = {"max_entry_bytes": 100}
    assert Settings(**REQUIRED, **at_most, max_open_upload_bytes=100).open_upload_bytes == 100
    with pytest.raises(ValidationError, match=r"MAX_OPEN_UPLOAD_BYTES is 99, .* 100 bytes.*Raise it"):
        Settings(**REQUIRED, **at_most, max_open_upload_bytes=99)


@pytest.mark.parametrize("longest", ["upload_url_seconds", "download_url_seconds"])
def test_rotations_of_the_secret_that_would_overlap_are_refused_with_what_to_do(longest):
    lives: dict[str, Any] = {"upload_url_seconds": 60, "download_url_seconds": 60, longest: 7200}
    assert Settings(**REQUIRED, **lives, secret_rotation_seconds=9000).secret_rotation_seconds == 9000
    with pytest.raises(ValidationError, match=r"SECRET_ROTATION_SECONDS is 8999.* takes 9000 s.*Raise it"):
        Settings(**REQUIRED, **lives, secret_rotation_seconds=8999)


@pytest.mark.parametrize(
    "wrong",
    [{"upload_url_seconds": 0}, {"merge_wait_seconds": 26}, {"merge_trigger": "never"}, {"merge_attempts": 0}],
    ids=str,
)
def test_a_setting_out_of_bounds_is_refused(wrong):
    with pytest.raises(ValidationError):
        Settings.model_validate(REQUIRED | wrong)


def test_issuers_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("TOKEN_ISSUERS", "https://one, https://two")
    assert Settings(**REQUIRED).token_issuers == ("https://one", "https://two")


def test_a_slash_at_an_issuers_end_does_not_matter():
    assert Settings(**REQUIRED, token_issuers=("https://one/", "https://two/a/")).token_issuers == (
        "https://one",
        "https://two/a",
    )


@pytest.mark.parametrize(
    "wrong", ["one", "file:///keys", "https://", "https://a b", "https://ä", "https://" + "x" * 505]
)
def test_an_issuer_is_a_url_that_a_key_of_the_table_has_room_for(wrong):
    with pytest.raises(ValidationError, match="512 ASCII"):
        Settings(**REQUIRED, token_issuers=(wrong,))


def test_claims_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("TOKEN_ISSUERS", "https://one,https://two/")
    monkeypatch.setenv("TOKEN_CLAIMS", "owner_id=1, owner_id=2@https://two")
    rules = Settings(**REQUIRED).token_claims
    assert rules == (ClaimRule("owner_id", "1"), ClaimRule("owner_id", "2", "https://two"))
    assert Settings(**REQUIRED, token_claims="").token_claims == ()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("owner_id", "claim=value"),
        ("owner_id=1,=2", "claim=value"),
        ("owner_id=1@https://three", "isn't in TOKEN_ISSUERS"),
    ],
)
def test_a_claim_that_would_let_in_nobody_or_everybody_is_refused(monkeypatch, wrong, said):
    monkeypatch.setenv("TOKEN_CLAIMS", wrong)
    with pytest.raises(ValidationError, match=said):
        Settings(**REQUIRED)


@pytest.mark.parametrize("url", ["https://results.example", "https://results.example/", "http://127.0.0.1:1"])
def test_a_results_service_is_an_origin(url):
    assert Settings(**REQUIRED, results_service_url=url).results_service_url == url.rstrip("/")


@pytest.mark.parametrize(
    "wrong",
    ["results.example", "ftp://a", "https://a/b", "https://a?b", "https://u:p@a", "https://a\n", "https://a:b:c/d"],
)
def test_what_is_no_origin_is_refused(wrong):
    with pytest.raises(ValidationError, match="https://host"):
        Settings(**REQUIRED, results_service_url=wrong)

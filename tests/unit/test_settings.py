"""Settings have bounds."""

from typing import Any

import pytest
from pydantic import ValidationError

from actions_cache.domain.access import Anybody, ClaimRule
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

TAKEN: dict[str, list[Any]] = {
    "public_url": ["https://a.example", "https://a.example/", "http://[::1]:3000/b/c", "https://é.example"],
    "results_service_url": ["https://results.example", "http://127.0.0.1:1"],
    "seek_through": ["api"],
    "edge_key": ["key"],
    "parts_grace_seconds": [2130],
}
NO_URLS = ["nonsense", "http://[", "https://", "https:///x", "ftp://a.example", "//a.example", "https://a.example /b"]
NO_URLS += [f"https://a.example{end}" for end in (":x", ":70000", ":0", "/?b", "#b")]
NO_ORIGINS = [
    "results.example",
    "ftp://a",
    "https://a/b",
    "https://a?b",
    "https://u:p@a",
    "https://a\n",
    "https://a:b:c/d",
]
NO_ISSUERS = ["one", "file:///keys", "https://", "https://a b", "https://ä", "https://" + "x" * 505]
REFUSED: list[tuple[dict[str, Any], str]] = [
    *(({"public_url": url}, "https://host") for url in NO_URLS),
    *(({"results_service_url": url}, "https://host") for url in NO_ORIGINS),
    *(({"token_issuers": (url,)}, "512 ASCII") for url in NO_ISSUERS),
    ({"upload_url_seconds": 0}, "UPLOAD_URL_SECONDS|upload_url_seconds"),
    ({"download_url_seconds": 3601}, "download_url_seconds"),
    ({"merge_wait_seconds": 26}, "merge_wait_seconds"),
    ({"merge_trigger": "never"}, "merge_trigger"),
    ({"merge_attempts": 0}, "merge_attempts"),
    ({"seek_through": "api", "edge_key": "key"}, "SEEK_THROUGH to edge"),
    ({"parts_grace_seconds": 2129}, r"PARTS_GRACE_SECONDS is 2129.*2130 s.*Raise it"),
]


@pytest.mark.parametrize("setting", TAKEN)
def test_value_within_bounds_is_taken(setting):
    for value in TAKEN[setting]:
        assert getattr(Settings.model_validate(REQUIRED | {setting: value}), setting) == value


@pytest.mark.parametrize(("wrong", "said"), REFUSED, ids=str)
def test_setting_out_of_bounds_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate(REQUIRED | wrong)


def test_grace_is_derived_from_reader_times():
    """The grace is long enough that no reader is cut off."""
    settings = Settings(**REQUIRED, download_url_seconds=100, max_stream_seconds=50)
    assert settings.grace_seconds == 2 * 100 + 50 + 30
    assert Settings(**REQUIRED).grace_seconds == 2130


@pytest.mark.parametrize(
    ("limits", "largest"),
    [
        ({}, 50 * 1024**3),
        ({"repository_budget_bytes": 0}, None),
        ({"max_entry_bytes": 7}, 7),
        ({"max_entry_bytes": 7, "store_budget_bytes": 5}, 5),
        ({"repository_budget_bytes": 3, "max_entry_bytes": 7}, 3),
    ],
    ids=str,
)
def test_open_upload_limit_is_twice_largest_entry(limits, largest):
    settings = Settings.model_validate(REQUIRED | limits)
    assert settings.largest_entry_bytes == largest
    assert settings.open_upload_bytes == (None if largest is None else 2 * largest)
    assert Settings.model_validate(REQUIRED | limits | {"max_open_upload_bytes": 10**12}).open_upload_bytes == 10**12


def test_open_upload_limit_below_entry_is_refused():
    assert Settings(**REQUIRED, max_entry_bytes=100, max_open_upload_bytes=100).open_upload_bytes == 100
    with pytest.raises(ValidationError, match=r"MAX_OPEN_UPLOAD_BYTES is 99, .* 100 bytes.*Raise it"):
        Settings(**REQUIRED, max_entry_bytes=100, max_open_upload_bytes=99)


@pytest.mark.parametrize("longest", ["upload_url_seconds", "download_url_seconds"])
def test_overlapping_rotations_are_refused(longest):
    lives: dict[str, Any] = {"upload_url_seconds": 60, "download_url_seconds": 60, longest: 3600}
    assert Settings(**REQUIRED, **lives, secret_rotation_seconds=5400).secret_rotation_seconds == 5400
    with pytest.raises(ValidationError, match=r"SECRET_ROTATION_SECONDS is 5399.* takes 5400 s.*Raise it"):
        Settings(**REQUIRED, **lives, secret_rotation_seconds=5399)


def test_template_and_settings_bounds_agree(template):
    """Upper bounds are the same; the template's lower ones may be higher, since tests and local runs use seconds."""
    variables = template.body["Globals"]["Function"]["Environment"]["Variables"]
    bounded = {value["Ref"]: name for name, value in variables.items() if isinstance(value, dict) and "Ref" in value}
    parameters = {name: template.body["Parameters"].get(name, {}) for name in bounded}
    numbers = [name for name, declared in parameters.items() if declared.get("Type") == "Number"]
    assert len(numbers) >= 10
    for parameter in numbers:
        constraints = Settings.model_fields[bounded[parameter].lower()].metadata
        assert parameters[parameter].get("MaxValue") == upper(constraints), parameter
        assert lower(constraints) <= parameters[parameter]["MinValue"], parameter


def upper(constraints):
    return next((constraint.le for constraint in constraints if hasattr(constraint, "le")), None)


def lower(constraints):
    at_least = [constraint.ge for constraint in constraints if hasattr(constraint, "ge")]
    return max(at_least + [constraint.gt + 1 for constraint in constraints if hasattr(constraint, "gt")])


def test_issuers_and_claims_are_comma_separated(monkeypatch):
    monkeypatch.setenv("TOKEN_ISSUERS", "https://one, https://two/")
    assert Settings(**REQUIRED).token_issuers == ("https://one", "https://two"), "without the slash at the end"
    for none in ("", ",", " , "):
        monkeypatch.setenv("TOKEN_CLAIMS", none)
        assert Settings(**REQUIRED).token_claims == (), "nobody comes in"
    monkeypatch.delenv("TOKEN_CLAIMS")
    assert Settings(**REQUIRED).token_claims == ()
    monkeypatch.setenv("TOKEN_CLAIMS", "owner_id=2@https://two/, any@https://one")
    rules = Settings(**REQUIRED).token_claims
    assert rules == (ClaimRule("repository_owner_id", "2", "https://two"), Anybody("https://one"))
    assert Settings(**REQUIRED, results_service_url="https://a.example/").results_service_url == "https://a.example"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("owner_id", "claim=value"),
        ("owner_id=1,=2", "claim=value"),
        ("owner_id=1@https://three", "isn't in TOKEN_ISSUERS"),
        ("any@https://three", "isn't in TOKEN_ISSUERS"),
        ("any,owner_id=1", "contradicts itself"),
    ],
)
def test_invalid_claim_is_refused(monkeypatch, wrong, message):
    monkeypatch.setenv("TOKEN_CLAIMS", wrong)
    with pytest.raises(ValidationError, match=message):
        Settings(**REQUIRED)

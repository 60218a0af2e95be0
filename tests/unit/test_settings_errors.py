"""Invalid settings are refused in words that say what to write."""

import pytest
from pydantic import ValidationError

from actions_cache.settings import Settings, explain_validation_error
from dev.local.options import Options
from tests.unit.test_settings import REQUIRED


def error_of(model: type, **given: object) -> str:
    with pytest.raises(ValidationError) as refused:
        model(**given)
    return explain_validation_error(refused.value, model)


SECONDS = "isn't a number of seconds over 0"
ERRORS: dict[type, dict[tuple[str, str], str]] = {
    Settings: {
        ("unused_entry_seconds", "7d"): f"'7d' {SECONDS} (7 days are 604800)",
        ("unused_entry_seconds", "1 h"): f"'1 h' {SECONDS} (1 hour is 3600)",
        ("unused_entry_seconds", "0"): f"'0' {SECONDS}",
        ("unused_entry_seconds", "1.5"): f"'1.5' {SECONDS}",
        ("parts_grace_seconds", "1w"): f"'1w' {SECONDS} (1 week is 604800)",
        ("merge_wait_seconds", "26"): "'26' isn't a number of seconds from 0 to 25",
        ("repository_budget_bytes", "10GiB"): "'10GiB' isn't a number of bytes from 0 on (10GiB is 10737418240)",
        ("merge_attempts", "many"): "'many' isn't a whole number from 1 on",
        ("merge_trigger", "never"): "'never' isn't known; it may be finalize or first-download",
        ("verify_tokens", "maybe"): "'maybe' is neither true (1) nor false (0)",
        ("results_service_url", "x"): (
            "'x' isn't https://host or https://host:port; clients drop any path of such a URL"
        ),
    },
    Options: {
        ("port", "abc"): "'abc' isn't a whole number from 1 to 65535",
        ("port", "70000"): "'70000' isn't a whole number from 1 to 65535",
        ("local_merge_workers", "-1"): "'-1' isn't a whole number from 0 to 64",
        ("cleanup_interval_seconds", "soon"): f"'soon' {SECONDS}",
        ("cleanup_interval_seconds", "1h"): f"'1h' {SECONDS} (1 hour is 3600)",
    },
}


@pytest.mark.parametrize("model", ERRORS)
def test_error_names_setting_and_bound(model: type):
    required = REQUIRED if model is Settings else {}
    for (name, given), words in ERRORS[model].items():
        assert error_of(model, **required, **{name: given}) == f"{name.upper()}: {words}"


def test_several_errors_share_one_line():
    refusal = error_of(
        Settings, **{name: value for name, value in REQUIRED.items() if name != "bucket"}, merge_attempts="x"
    )
    assert refusal == "BUCKET is missing; MERGE_ATTEMPTS: 'x' isn't a whole number from 1 on"


def test_library_error_text_is_never_shown():
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate(dict.fromkeys(Settings.model_fields, "\0 odd"))
    assert refused.value.error_count() > 20
    assert "Input should" not in explain_validation_error(refused.value, Settings)

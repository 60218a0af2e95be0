"""Each bound that docs/deploy/security.md names is held by tests, and each of these exists."""

from collections.abc import Sequence

import pytest

from dev.local.template import ROOT

HEADING = "## What can grow, and what bounds it"
SECTION = (ROOT / "docs" / "deploy" / "security.md").read_text().partition(f"{HEADING}\n")[2].partition("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in SECTION.splitlines()
    if line.startswith("| ") and not line.startswith("| what somebody can lengthen |")
]

HELD_BY = {
    "parts of an upload": (
        "tests/unit/flows/test_sweeping_floods.py::test_oversized_upload_is_closed_and_reported",
        "tests/unit/flows/test_sweeping_floods.py::test_too_many_objects_close_upload",
    ),
    "what arrives at a closed upload": (
        "tests/unit/flows/test_sweeping_floods.py::test_arrivals_at_closed_upload_are_swept",
    ),
    "one part": (
        "tests/integration/edge/upload.test.mjs::a part must say its size, and have what S3 takes in one PUT",
        "tests/e2e/test_v1.py::test_oversized_chunk_is_refused_before_upload",
    ),
    "blocks in a list, chunks of v1": (
        "tests/unit/flows/test_saving.py::test_duplicate_block_is_refused",
        "tests/unit/flows/test_saving.py::test_misspelled_block_id_is_refused",
        "tests/unit/domain/test_uploads.py::test_chunks_must_match_size_exactly",
        "tests/unit/domain/test_uploads.py::test_block_at_unknown_offset_is_refused",
        "tests/unit/domain/test_uploads.py::test_chunk_count_is_bounded",
        "tests/guarantees/fuzz/test_floods.py::test_longest_block_lists_are_read_in_time",
        "tests/guarantees/fuzz/test_floods.py::test_gigabyte_of_a_block_list_is_refused_unread",
    ),
    "arrivals that a commit lists": (
        "tests/unit/flows/test_bounded_listings.py::test_listing_stops_after_maximum_arrivals",
        "tests/unit/flows/test_bounded_listings.py::test_slow_listing_ends_before_gateway_timeout",
        "tests/unit/flows/test_bounded_listings.py::test_flood_uses_bounded_memory",
    ),
    "uploads begun": ("tests/unit/flows/test_budgets.py::test_create_rate_limit_sets_retry_after",),
    "a reservation": ("tests/unit/flows/test_cleaning_up.py::test_expired_reservation_is_removed_with_parts",),
    "bytes and entries kept": (
        "tests/unit/flows/test_budgets.py::test_save_over_budget_evicts_least_recent",
        "tests/unit/flows/test_budgets.py::test_empty_entries_are_evicted_by_count",
        "tests/unit/flows/test_evicting_by_class.py::test_flood_of_a_pull_request_costs_main_nothing",
    ),
    "a job's body": (
        "tests/guarantees/fuzz/test_floods.py::test_endless_chunked_body_is_refused_at_its_limit",
        "tests/guarantees/fuzz/test_floods.py::test_deep_or_endless_json_is_refused_in_time",
    ),
    "a body passed on, its answer": (
        "tests/unit/api/test_passthrough.py::test_request_body_size_is_bounded",
        "tests/unit/api/test_passthrough.py::test_dripping_service_gives_502_in_time",
    ),
    "URL, headers": (
        "tests/guarantees/fuzz/test_floods.py::test_huge_head_is_refused_in_time",
        "tests/guarantees/fuzz/test_fuzz.py::test_header_of_megabytes_is_refused",
        "tests/unit/api/test_forwarding.py::test_repeatedly_encoded_path_is_refused",
    ),
    "a token, its scopes": (
        "tests/guarantees/fuzz/test_floods.py::test_token_of_many_or_deep_scopes_is_refused_in_time",
    ),
    "a key, a version": ("tests/unit/domain/test_entry.py::test_invalid_name_is_refused_with_its_field",),
    "restore keys": ("tests/unit/api/test_bad_input.py::test_bad_call_is_refused_in_twirp_dialect",),
    "what a lookup reads": (
        "tests/unit/flows/test_bounds.py::test_broken_entries_per_lookup_are_bounded",
        "tests/unit/flows/test_lookup_cost.py::test_lookup_cost_is_independent_of_entry_count",
        "tests/unit/flows/test_families.py::test_slow_read_of_families_delays_no_hit_for_long",
    ),
    "similar keys after a miss": ("tests/unit/flows/test_listing_similar.py::test_list_and_search_are_bounded",),
    "a merge": (
        "tests/unit/flows/test_merging.py::test_entry_survives_permanently_failed_merge",
        "tests/unit/flows/test_merge_scale.py::test_merge_cost_grows_linearly",
    ),
    "a lost manifest": (
        "tests/unit/flows/test_cleaning_up.py::test_unmerged_archive_without_manifest_is_removed",
        "tests/unit/flows/test_cleaning_up.py::test_unreadable_manifest_counts_as_lost",
        "tests/unit/flows/test_looking_up.py::test_entry_without_manifest_is_miss",
    ),
    "a download": (
        "tests/guarantees/test_no_reader_cut_off.py::test_stream_breaks_at_its_permitted_time",
        "tests/integration/streaming/test_delivery.py::test_long_download_without_its_merge_is_to_be_retried",
        "tests/unit/flows/test_part_stream.py::test_read_ahead_stays_within_budget",
        "tests/unit/flows/test_part_stream.py::test_slow_reader_releases_connections",
    ),
    "requests that never end": (
        "tests/guarantees/fuzz/test_floods.py::test_requests_that_never_end_keep_nobody_waiting",
    ),
    "fetches of an issuer's keys": (
        "tests/unit/api/test_tokens.py::test_invented_key_ids_cause_no_refetch",
        "tests/unit/api/test_tokens.py::test_failing_issuer_is_asked_once",
    ),
    "cleanup of one archive": (
        "tests/unit/flows/test_sweeping_floods.py::test_floods_delay_no_other_archive",
        "tests/unit/flows/test_sweeping_floods.py::test_killed_run_is_followed_by_other_archives",
        "tests/unit/flows/test_sweeping_floods.py::test_crash_at_any_call_is_recovered",
    ),
    "cleanup's tasks, evictions, orphans, recounts": (
        "tests/unit/flows/test_sweeping_floods.py::test_floods_delay_no_other_archive",
        "tests/unit/flows/test_budgets.py::test_each_repository_gets_its_turn",
        "tests/unit/flows/test_budgets.py::test_slow_usage_count_is_abandoned",
        "tests/unit/flows/test_finding_orphans.py::test_orphan_flood_delays_no_other_archive",
        "tests/unit/flows/test_reading_in_time.py::test_save_compares_few_repositories",
    ),
    "what the management API reads": (
        "tests/unit/flows/test_reading_in_time.py::test_incomplete_search_is_reported",
        "tests/unit/flows/test_reading_in_time.py::test_incomplete_deletion_is_reported",
        "tests/unit/flows/test_reading_in_time.py::test_incomplete_usage_of_owner_is_refused",
        "tests/unit/flows/test_reading_in_time.py::test_last_page_is_read_in_time",
        "tests/unit/flows/test_reading_in_time.py::test_similar_entries_are_searched_in_time",
        "tests/unit/flows/test_reading_in_time.py::test_unread_repositories_are_counted",
        "tests/unit/flows/test_reading_in_time.py::test_incomplete_activity_is_refused",
        "tests/unit/flows/test_bounds.py::test_listed_failed_merges_are_bounded",
    ),
    "key families": (
        "tests/unit/flows/test_families.py::test_bound_holds_for_all_processes_together",
        "tests/unit/flows/test_families.py::test_process_remembers_a_bounded_number_of_repositories",
        "tests/unit/flows/test_families.py::test_what_is_shown_is_bounded",
        "tests/unit/flows/test_families.py::test_reading_ends_in_time",
    ),
    "what a process remembers": ("tests/unit/flows/test_bounds.py::test_remembered_repositories_are_bounded",),
    "writes that lose to others": ("tests/unit/flows/test_bounds.py::test_conflicting_write_retries_are_bounded",),
    "counts of activity": ("tests/integration/aws/test_repositories.py::test_only_short_lived_counters_expire",),
    "metrics' dimensions, log lines": (
        "tests/unit/flows/test_bounds.py::test_metric_dimensions_have_fixed_values",
        "tests/unit/flows/test_bounds.py::test_logged_path_is_truncated",
    ),
    "sessions of the page": ("tests/unit/manage/test_session.py::test_session_lasts_until_its_last_second",),
}
"""Maps what somebody can lengthen, as the page says it, to the tests of its bound."""


def test_page_has_a_row_for_each_bound() -> None:
    assert [row[0] for row in ROWS] == [*HELD_BY]
    assert all(len(row) == 2 and all(row) for row in ROWS)


@pytest.mark.parametrize(("what", "tests"), HELD_BY.items())
def test_bound_is_held_by_existing_tests(what: str, tests: Sequence[str]) -> None:
    assert tests, what
    for file, _, test in (named.partition("::") for named in tests):
        text = (ROOT / file).read_text()
        found = f"def {test}(" in text if file.endswith(".py") else f"test('{test}'" in text
        assert found, f"{file} has no test {test}"

"""The management API lists, explains and deletes entries, and its OpenAPI document is complete."""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from actions_cache.domain.access import GITHUB, parse_rule
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.refused_job import KEPT, Refusals, RefusedJob
from actions_cache.domain.timing import DAY, SECOND
from actions_cache.http.schemas import format_timestamp, parse_timestamp
from actions_cache.management_services import ManagementServices
from dev.clients.driver import SCOPE, name
from dev.emulation.asgi_server import served
from dev.services import AllServices
from functions.manage.handler import create_app
from tests.unit.manage.conftest import Manager

ENTRIES = "/manage/repositories/42/entries"
PULL = "refs/pull/7/merge"
NOW = 1_800_000_000 * SECOND


def keys(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["key"] for entry in entries]


def test_repositories_are_shown_with_budget(manager: Manager) -> None:
    manager.save("npm-1")
    answer = manager.get("/manage/repositories")
    usage = {"bytes": 7, "entries": 1}
    last_used = {"budget_bytes": 50 * 1024**3, "last_used_at": "2027-01-15T08:00:01.000Z", "noted_at": None}
    assert answer == {
        "repositories": [{"id": "42", "name": "example/tools"} | usage | last_used],
        "unread": 0,
        "store": usage | {"budget_bytes": None},
    }
    assert manager.get("/manage/repositories/example/tools") == answer["repositories"][0]


def test_entry_shows_hits_and_merge_state(manager: Manager) -> None:
    manager.save("one")
    manager.driver.save(name("two"), b"a", b"b")
    manager.driver.look_up("one")
    entries = {entry["key"]: entry for entry in manager.get(ENTRIES)["entries"]}
    assert {key: (entry["hits"], entry["merge"]) for key, entry in entries.items()} == {
        "one": (1, "single"),
        "two": (0, "queued"),
    }
    manager.driver.merge_all()
    assert manager.get(ENTRIES, search="TWO")["entries"][0]["merge"] == "merged"


def test_entries_are_searched_sorted_and_paged(manager: Manager) -> None:
    manager.save("npm-1", "yarn-1", "npm-2")
    assert keys(manager.get(ENTRIES, search="PM-", sort="key", direction="asc")["entries"]) == ["npm-1", "npm-2"]
    page = manager.get(ENTRIES, sort="key", per_page=2, page=2)
    assert (page["total"], page["page"], page["per_page"], keys(page["entries"])) == (3, 2, 2, ["npm-1"])


def test_filter_deletes_same_entries_as_dry_run(manager: Manager) -> None:
    manager.save("npm-1", "npm-2", "yarn-1")
    path = f"{ENTRIES}?key_prefix=npm-&ref={SCOPE}"
    dry = manager.ask("DELETE", path).json()
    assert (dry["dry_run"], sorted(keys(dry["deleted"])), dry["remaining"]) == (True, ["npm-1", "npm-2"], 0)
    assert manager.ask("DELETE", f"{path}&dry_run=true").json() == dry
    usage = {"entries": 2, "bytes": 14}
    assert dry["matched"] == usage | {
        "classes": [{"entry_class": "default-branch"} | usage],
        "refs": [{"ref": SCOPE} | usage],
        "other_refs": {"entries": 0, "bytes": 0},
    }
    assert manager.get(ENTRIES)["total"] == 3
    done = manager.ask("DELETE", f"{path}&dry_run=false").json()
    assert done == dry | {"dry_run": False}
    assert keys(manager.get(ENTRIES)["entries"]) == ["yarn-1"]


FILTERS = {
    "key=npm-12": ["npm-12"],
    "key_prefix=npm-1": ["npm-12", "npm-1"],
    "search=ARN": ["yarn-3"],
    f"ref={quote(PULL)}": ["npm-7"],
    "ref=%237": ["npm-7"],
    "ref=main": ["npm-12", "yarn-3", "npm-1"],
    "entry_class=transient": ["npm-7"],
    "entry_class=default-branch": ["npm-12", "yarn-3", "npm-1"],
    "family=npm-*": ["npm-7", "npm-12", "npm-1"],
    "family=npm-*&entry_class=default-branch": ["npm-12", "npm-1"],
    "older_than=30m": ["npm-1"],
    "unused_since=3h&family=npm-*": ["npm-1"],
    "unused_since=1s": ["npm-1"],
    "key_prefix=npm-&ref=refs/heads/other": [],
}


@pytest.mark.parametrize("query", FILTERS)
def test_list_shows_what_deletion_takes(manager: Manager, query: str) -> None:
    manager.save("npm-1")
    manager.driver.clock.advance(5 * 3600)
    manager.save("yarn-3", "npm-12")
    manager.save("npm-7", scope=PULL)
    listed = manager.get(f"{ENTRIES}?{query}")["entries"]
    deleted = manager.ask("DELETE", f"{ENTRIES}?{query}&dry_run=false").json()
    assert keys(listed) == FILTERS[query]
    assert sorted(keys(deleted["deleted"])) == sorted(keys(listed))
    assert deleted["matched"]["entries"] == len(listed)
    assert manager.get(ENTRIES)["total"] == 4 - len(listed)


def test_deletion_as_of_preview_spares_later_saves(manager: Manager) -> None:
    manager.save("npm-1")
    manager.driver.clock.advance(3600)
    path = f"{ENTRIES}?key_prefix=npm-&older_than=30m"
    preview = manager.ask("DELETE", path).json()
    assert keys(preview["deleted"]) == ["npm-1"]
    manager.save("npm-2")
    manager.driver.clock.advance(3600)
    for query in (f"{path}&as_of={preview['as_of']}", f"{ENTRIES}?key_prefix=npm-&as_of={preview['as_of']}"):
        assert keys(manager.ask("DELETE", query).json()["deleted"]) == ["npm-1"]
    assert sorted(keys(manager.ask("DELETE", path).json()["deleted"])) == ["npm-1", "npm-2"], "the ages are of now"


@pytest.mark.parametrize(
    "query",
    [
        *("", "?key_prefix=", "?keyprefix=npm", "?ref=&version=", "?ref=%20", "?key=" + "x" * 513),
        *("?older_than=soon", "?older_than=2026-01-01", "?unused_since=-1d", "?older_than=0s", "?unused_since=0d"),
        *("?entry_class=main", "?entry_class=", "?family=npm-1", "?family=", "?older_than=2999-01-01T00:00:00Z"),
        *("?ref=refs/heads/a&ref=refs/heads/b", "?key=npm-1&key=npm-2"),
        *("?as_of=2027-01-15T08:00:00Z", "?key=npm-1&as_of=2999-01-01T00:00:00Z", "?key=npm-1&as_of=soon"),
    ],
)
def test_empty_or_invalid_filter_deletes_nothing(manager: Manager, query: str) -> None:
    manager.save("npm-1")
    for dry_run in ("true", "false"):
        refused = manager.ask("DELETE", f"{ENTRIES}{query}{'&' if query else '?'}dry_run={dry_run}")
        assert (refused.status, bool(refused.json()["message"])) == (422, True)
    assert manager.get(ENTRIES)["total"] == 1


def test_entry_is_deleted_by_age_and_by_id_after_dry_run(manager: Manager) -> None:
    manager.save("old")
    manager.driver.clock.advance(3600)
    manager.save("a", "b")
    assert keys(manager.ask("DELETE", f"{ENTRIES}?older_than=30m&dry_run=false").json()["deleted"]) == ["old"]
    [_, entry] = manager.get(ENTRIES)["entries"]
    for query in ("", "?dry_run=false"):
        assert keys(manager.ask("DELETE", f"{ENTRIES}/{entry['id']}{query}").json()["deleted"]) == ["a"]
    assert manager.ask("DELETE", f"{ENTRIES}/{entry['id']}").status == 404


def test_match_explains_restored_entry(manager: Manager) -> None:
    manager.save("npm-1")
    query = {
        "repository": "example/tools",
        "key": "npm-2",
        "restore_key": ["x-", "npm-"],
        "ref": ["b", SCOPE],
    }
    [match] = manager.get("/manage/match", **query)["matches"]
    assert match["found"]["key"] == "npm-1"
    *earlier, last = [(attempt["ref"], attempt["key"], attempt["exact"]) for attempt in match["attempts"]]
    assert (last, len(earlier)) == ((SCOPE, "npm-", False), 7)
    miss = manager.get("/manage/match", repository="42", key="npm-", ref="refs/heads/b", version="v1")
    assert (miss["matches"][0]["found"], keys(miss["alike"])) == (None, ["npm-1"])


def test_families_show_misses_and_what_was_matched(manager: Manager) -> None:
    manager.save("npm-1", "yarn-1")
    for keys_asked in (("npm-1",), ("npm-2", "yarn-"), ("pip-1",), ("pip-2",)):
        manager.driver.look_up(*keys_asked)
    answer = manager.get("/manage/families", repository="example/tools", hours=2)
    assert (answer["repository"], answer["since"], answer["more"]) == ("42", "2027-01-15T07:00:00.000Z", False)
    assert [(row["family"], row["misses"], row["hit_rate"]) for row in answer["families"]] == [
        ("pip-*", 2, 0.0),
        ("npm-*", 0, 1.0),
        ("yarn-*", 0, None),
    ]
    assert answer["families"][1] == {
        "family": "npm-*",
        "lookups": 2,
        "exact_hits": 1,
        "partial_hits": 1,
        "misses": 0,
        "hit_rate": 1.0,
        "matched": [{"family": "yarn-*", "hits": 1}],
        "bytes_restored": 14,
        "saves": 1,
        "bytes_saved": 7,
        "stored_entries": 1,
        "stored_bytes": 7,
    }
    assert answer["rest"]["lookups"] == 0
    assert manager.ask("GET", "/manage/families?repository=octo/none").status == 404


def test_activity_and_cost_reflect_jobs(manager: Manager) -> None:
    manager.save("npm-1")
    manager.driver.look_up("npm-1")
    manager.driver.look_up("nope")
    activity = manager.get("/manage/activity", repository="example/tools", hours=2)
    assert activity["repository"] == "42"
    assert manager.get("/manage/hit-rates", repository=["42", "43"]) == {
        "hours": 168,
        "hit_rates": [
            {"repository": "42", "hits": 1, "misses": 1},
            {"repository": "43", "hits": 0, "misses": 0},
        ],
    }
    *_, now = activity["hours"]
    counted = {"hits": 1, "misses": 1, "saves": 1, "bytes_restored": 7, "bytes_saved": 7}
    assert now == {"hour": "2027-01-15T08:00:00.000Z", **counted}
    cost = manager.get("/manage/cost", hours=1)
    assert (cost["stored_bytes"], cost["requests"]) == (7, {**counted, "bytes_direct": 0})
    assert cost["month_usd"] == pytest.approx(sum(cost["by_part"].values()))


UNANSWERABLE = [
    "/manage/hit-rates",
    "/manage/hit-rates?repository=",
    "/manage/hit-rates?" + "&".join(f"repository={number}" for number in range(51)),
    "/manage/activity?hours=0",
    "/manage/activity?hours=841",
    "/manage/match?repository=42&key=a",
    "/manage/families",
    "/manage/families?repository=",
    "/manage/families?repository=42&hours=841",
    "/manage/families?repository=42&hours=1.0",
    "/manage/families?repository=42&family=npm",
]


@pytest.mark.parametrize("path", UNANSWERABLE)
def test_unanswerable_query_is_refused(manager: Manager, path: str) -> None:
    assert manager.ask("GET", path).status == 422


def test_openapi_document_covers_every_route(manager: Manager) -> None:
    document = manager.ask("GET", "/manage/openapi.json", None).json()
    OpenAPIV31SpecValidator(document).validate()
    operations = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    github_routes = {("GET", "caches"), ("DELETE", "caches"), ("DELETE", "caches/{number}"), ("GET", "cache/usage")}
    org_routes = {"cache/usage", "cache/usage-by-repository"}
    own_routes = {"role", "repositories", "repositories/{repository}", "match", "activity", "failures", "cost"}
    own_routes |= {"refused-tokens", "families", "hit-rates"}
    entry_routes = {("GET", "entries"), ("DELETE", "entries"), ("DELETE", "entries/{number}")}
    assert operations == {
        *((method, f"/repos/{{owner}}/{{repo}}/actions/{path}") for method, path in github_routes),
        *((method, f"/repositories/{{repository_id}}/actions/{path}") for method, path in github_routes),
        *(("GET", f"/orgs/{{org}}/actions/{path}") for path in org_routes),
        *(("GET", f"/manage/{path}") for path in own_routes),
        *((method, f"/manage/repositories/{{repository}}/{path}") for method, path in entry_routes),
    }
    secured = [operation for item in document["paths"].values() for operation in item.values()]
    assert all(operation["security"] == [{"HTTPBearer": []}] for operation in secured)


AT = {
    "0s": NOW,
    "90s": NOW - 90 * SECOND,
    "5m": NOW - 300 * SECOND,
    "12h": NOW - DAY // 2,
    "30d": NOW - 30 * DAY,
    "2w": NOW - 14 * DAY,
    "2027-01-15T08:00:00Z": NOW,
    "2027-01-15T09:00:00.250+01:00": NOW + 250,
    "1970-01-01T00:00:00.000Z": 0,
}


@pytest.mark.parametrize("text", AT)
def test_timestamp_is_age_or_zoned_time(text: str) -> None:
    assert parse_timestamp("older_than", text, NOW) == AT[text]
    assert format_timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert format_timestamp(NOW + 7) == "2027-01-15T08:00:00.007Z"


@pytest.mark.parametrize(
    "text", ["", "30", "d", "-1d", "1.5d", "1y", "2027-01-15", "2027-01-15T08:00:00", "soon", "9" * 20 + "d"]
)
def test_invalid_timestamp_is_named(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"older_than: .* neither an age"):
        parse_timestamp("older_than", text, NOW)


def test_incomplete_search_is_reported(manager: Manager) -> None:
    manager.save("npm-1")
    with served(create_app(ManagementServices(manager.driver.services, reading_time=-1))) as url:
        hasty = replace(manager, url=url)
        found = hasty.get(ENTRIES, search="npm")
        assert (found["more"], found["total"], found["entries"]) == (True, 0, [])
        dry = hasty.ask("DELETE", f"{ENTRIES}?key_prefix=npm-").json()
        assert (dry["more"], dry["deleted"]) == (True, [])
        overview = hasty.get("/manage/repositories")
        assert (overview["repositories"], overview["unread"]) == ([], 1)
        lost = hasty.ask("DELETE", f"{ENTRIES}/5")
        assert lost.status == 503
        assert "by its key" in lost.json()["message"]
    assert manager.get(ENTRIES, search="npm")["more"] is False


JOB = RefusedJob(GITHUB, "42", "octo/app", "7", "octo", ("repository_id=42", "repository_owner_id=7"))


def test_refused_job_is_listed_with_setting(manager: Manager) -> None:
    driver = manager.driver
    now = driver.clock.now()
    driver.services.repositories.add_refusals(Refusals(JOB, 3, now), now + KEPT)
    assert manager.get("/manage/refused-tokens") == {"refused_tokens": []}, "the fixture's TOKEN_CLAIMS is any"

    settings = driver.services.settings.model_copy(update={"token_claims": (parse_rule("repository_id=1"),)})
    services = AllServices(settings, driver.clock)
    services.session = driver.services.session
    with served(create_app(ManagementServices(services))) as url:
        [refused] = Manager(manager.app, url, driver).get("/manage/refused-tokens")["refused_tokens"]
    job = {"issuer": GITHUB, "repository_id": "42", "repository": "octo/app", "owner_id": "7", "owner": "octo"}
    assert refused == job | {"times": 3, "last_at": format_timestamp(now), "to_admit": [*JOB.to_admit]}

"""GitHub's endpoints have its documents' format, its filters and its statuses."""

import re
from typing import Any

import pytest

from actions_cache.domain.access import Caller
from dev.clients.driver import SCOPE, VERSION
from tests.unit.manage.conftest import Manager

CACHES = "/repos/example/tools/actions/caches"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def keys(answer: Any) -> list[str]:
    return [cache["key"] for cache in answer["actions_caches"]]


def test_cache_has_github_format(manager: Manager) -> None:
    """https://docs.github.com/rest/actions/cache#list-github-actions-caches-for-a-repository."""
    manager.save("npm-1")
    answer = manager.get(CACHES)
    [cache] = answer["actions_caches"]
    assert (list(answer), list(cache)) == (
        ["total_count", "actions_caches"],
        ["id", "ref", "key", "version", "last_accessed_at", "created_at", "size_in_bytes"],
    )
    assert (cache["ref"], cache["key"], cache["version"], cache["size_in_bytes"]) == (SCOPE, "npm-1", VERSION, 7)
    assert isinstance(cache["id"], int)
    assert cache["id"] < 2**53
    assert cache["created_at"] == "2027-01-15T08:00:01.000Z"
    assert TIME.fullmatch(cache["last_accessed_at"])


def note(manager: Manager, repository: str, name: str | None) -> None:
    manager.driver.services.note_repository(Caller(repository, (), name))


@pytest.fixture
def organization(manager: Manager) -> Manager:
    """Return a manager of a server where `example` has three repositories, and others have some too."""
    note(manager, "43", "Example/Apps")
    note(manager, "44", "example/unused")
    note(manager, "45", "examples/others")
    note(manager, "46", None)
    manager.save("npm-1", "npm-2")
    for repository in ("43", "45", "46"):
        manager.save("npm-1", repository=repository)
    return manager


@pytest.mark.parametrize("root", ["/orgs/example", "/orgs/EXAMPLE", "/api/v3/orgs/example"])
def test_organization_usage_is_its_repositories_sum(organization: Manager, root: str) -> None:
    """https://docs.github.com/rest/actions/cache#get-github-actions-cache-usage-for-an-organization."""
    assert organization.get(f"{root}/actions/cache/usage") == {
        "total_active_caches_size_in_bytes": 21,
        "total_active_caches_count": 3,
    }
    by_repository = organization.get(f"{root}/actions/cache/usage-by-repository")
    assert by_repository == {
        "total_count": 3,
        "repository_cache_usages": [
            {"full_name": "Example/Apps", "active_caches_size_in_bytes": 7, "active_caches_count": 1},
            {"full_name": "example/tools", "active_caches_size_in_bytes": 14, "active_caches_count": 2},
            {"full_name": "example/unused", "active_caches_size_in_bytes": 0, "active_caches_count": 0},
        ],
    }


def test_renamed_repository_counts_for_its_new_owner(organization: Manager) -> None:
    note(organization, "43", "examples/apps")
    for owner, names in (
        ("example", ["example/tools", "example/unused"]),
        ("examples", ["examples/apps", "examples/others"]),
    ):
        usages = organization.get(f"/orgs/{owner}/actions/cache/usage-by-repository")["repository_cache_usages"]
        assert [usage["full_name"] for usage in usages] == names


def test_organizations_repositories_are_paged(organization: Manager) -> None:
    path = "/orgs/example/actions/cache/usage-by-repository"
    answer = organization.ask("GET", f"{path}?per_page=2&page=1")
    usages = answer.json()["repository_cache_usages"]
    assert ([usage["full_name"] for usage in usages], answer.json()["total_count"]) == (
        ["Example/Apps", "example/tools"],
        3,
    )
    second = f"<{organization.url}{path}?per_page=2&page=2>"
    assert answer.headers["link"] == f'{second}; rel="next", {second}; rel="last"'
    last = organization.get(path, per_page=2, page=2)
    assert [usage["full_name"] for usage in last["repository_cache_usages"]] == ["example/unused"]
    assert organization.get(path, per_page=2, page=3) == {"total_count": 3, "repository_cache_usages": []}
    for query in ("per_page=101", "page=0", "sort=name"):
        assert organization.ask("GET", f"{path}?{query}").status == 422


@pytest.mark.parametrize("root", ["/repos/Example/Tools", "/api/v3/repos/EXAMPLE/tools", "/repositories/42"])
def test_each_client_root_is_served(manager: Manager, root: str) -> None:
    manager.save("npm-1", "npm-2")
    assert keys(manager.get(f"{root}/actions/caches")) == ["npm-2", "npm-1"]
    usage = {"full_name": "example/tools", "active_caches_size_in_bytes": 14, "active_caches_count": 2}
    assert manager.get(f"{root}/actions/cache/usage") == usage
    assert manager.ask("DELETE", f"{root}/actions/caches?key=npm-1").status == 200


@pytest.mark.parametrize("path", ["7@https://ghes.example", "7%40https%3A%2F%2Fghes.example"])
def test_foreign_issuer_id_may_be_encoded(manager: Manager, path: str) -> None:
    manager.driver.services.note_repository(Caller("7@https://ghes.example", (), None))
    manager.save("npm-1", repository="7@https://ghes.example")
    assert keys(manager.get(f"/repositories/{path}/actions/caches")) == ["npm-1"]
    assert manager.get(f"/repositories/{path}/actions/cache/usage")["full_name"] == "7@https://ghes.example"


@pytest.mark.parametrize(
    ("query", "listed"),
    [
        ({}, ["b-3", "a-2", "a-1"]),
        ({"key": "a-"}, ["a-2", "a-1"]),
        ({"key": "a-", "ref": SCOPE}, ["a-1"]),
        ({"ref": "#7"}, ["b-3", "a-2"]),
        ({"ref": "other"}, []),
        ({"sort": "created_at", "direction": "asc"}, ["a-1", "a-2", "b-3"]),
        ({"sort": "last_accessed_at", "direction": "asc"}, ["a-1", "a-2", "b-3"]),
        ({"sort": "size_in_bytes"}, None),
        ({"per_page": 1, "page": 2}, ["a-2"]),
        ({"per_page": 2, "page": 3}, []),
    ],
    ids=str,
)
def test_listing_filters_and_sorts_like_github(
    manager: Manager, query: dict[str, Any], listed: list[str] | None
) -> None:
    manager.save("a-1")
    manager.save("a-2", "b-3", scope="refs/pull/7/merge")
    answer = manager.get(CACHES, **query)
    assert listed is None or keys(answer) == listed
    assert answer["total_count"] == (3 if listed is None or "per_page" in query else len(listed))


@pytest.mark.parametrize(
    ("page", "rels"),
    [(1, {"next": 2, "last": 3}), (2, {"prev": 1, "next": 3, "last": 3, "first": 1}), (3, {"prev": 2, "first": 1})],
)
def test_pages_are_linked(manager: Manager, page: int, rels: dict[str, int]) -> None:
    manager.save("a")
    assert "link" not in manager.ask("GET", CACHES).headers, "there is one page"
    manager.save("b", "c")
    header = manager.ask("GET", f"{CACHES}?per_page=1&page={page}").headers["link"]
    found = {rel: int(number) for number, rel in re.findall(r'<http://127.0.0.1:[^>]*page=(\d)>; rel="(\w+)"', header)}
    assert found == rels
    answer = manager.ask("GET", f"{CACHES}?per_page=1", **{"x-viewer-host": "cache.example.com"})
    assert answer.headers["link"].startswith(f"<http://cache.example.com{CACHES}?per_page=1&page=2>")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("per_page", ["101", "0", "x"]),
        ("page", ["0", "99999999999999999999", "1.0", "1_0", "%2B1", "%201", "%EF%BC%91"]),
        ("sort", ["name"]),
        ("direction", ["up"]),
        ("key", [""]),
        ("branch", ["main"]),
    ],
)
def test_invalid_value_is_named(manager: Manager, name: str, values: list[str]) -> None:
    for value in values:
        answer = manager.ask("GET", f"{CACHES}?{name}={value}")
        assert (answer.status, answer.json()["message"].startswith(f"{name}: ")) == (422, True), answer.data


@pytest.mark.parametrize(
    "path",
    [
        *("/repos/example/none/actions/caches", "/repos/example/none/actions/cache/usage", f"{CACHES}/x/y"),
        *(f"/orgs/{org}/actions/cache/usage" for org in ("none", "exampl", "example%2Ftools", "a%00b", "%F0%9F%92%A9")),
        *("/orgs/none/actions/cache/usage-by-repository", "/orgs/example/actions/cache", "/orgs/example"),
        *("/repositories/7/actions/caches", "/repos/example/tools/actions/runs", "/repos/a%00b/tools/actions/caches"),
    ],
)
def test_unknown_resource_is_not_found(manager: Manager, path: str) -> None:
    answer = manager.ask("GET", path)
    assert (answer.status, answer.json()["status"]) == (404, "404")


def test_deletion_matches_whole_key_only(manager: Manager) -> None:
    manager.save("npm-1", "npm-12")
    manager.save("npm-1", "npm-12", scope="refs/pull/7/merge")
    one = manager.ask("DELETE", f"{CACHES}?key=npm-12&ref=refs/pull/7/merge")
    assert (one.status, one.json()["total_count"], keys(one.json())) == (200, 1, ["npm-12"])
    both = manager.ask("DELETE", f"{CACHES}?key=npm-1")
    assert (both.json()["total_count"], keys(both.json())) == (2, ["npm-1", "npm-1"])
    assert keys(manager.get(CACHES)) == ["npm-12"]
    again = manager.ask("DELETE", f"{CACHES}?key=npm-1")
    assert (again.status, again.json()["message"]) == (404, "no cache has the key 'npm-1'")


@pytest.mark.parametrize("query", ["", "?ref=refs/heads/main", "?key=", "?key=npm-1&reff=x"])
def test_invalid_deletion_deletes_nothing(manager: Manager, query: str) -> None:
    manager.save("npm-1")
    assert manager.ask("DELETE", f"{CACHES}{query}").status == 422
    assert keys(manager.get(CACHES)) == ["npm-1"]


def test_cache_is_deleted_by_id(manager: Manager) -> None:
    manager.save("npm-1", "npm-2")
    [_, cache] = manager.get(CACHES)["actions_caches"]
    gone = manager.ask("DELETE", f"{CACHES}/{cache['id']}")
    assert (gone.status, gone.data) == (204, b"")
    assert manager.ask("DELETE", f"{CACHES}/{cache['id']}").status == 404
    assert keys(manager.get(CACHES)) == ["npm-2"]
    for number in ("-1", "x", "4503599627370496", "9" * 40, "1.0", "1_0", "+1", "%201", "%EF%BC%91"):
        for path in (CACHES, "/manage/repositories/42/entries"):
            assert manager.ask("DELETE", f"{path}/{number}").status == 422, number

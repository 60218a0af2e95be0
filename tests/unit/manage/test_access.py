"""Each caller may do what its token allows, and nothing else."""

import json

import pytest

from actions_cache.aws.secrets import parse_tokens
from actions_cache.ports import Unavailable
from dev.clients.runtime_token import runtime_token
from tests.unit.manage.conftest import ADMIN, READ_ONLY, Manager

READS = (
    "/repos/example/tools/actions/caches",
    "/api/v3/repos/example/tools/actions/cache/usage",
    "/repositories/42/actions/caches",
    "/orgs/example/actions/cache/usage",
    "/api/v3/orgs/example/actions/cache/usage-by-repository",
    *("/manage/role", "/manage/repositories", "/manage/repositories/42", "/manage/repositories/42/entries"),
    *("/manage/match?repository=42&key=a&ref=r", "/manage/activity", "/manage/failures", "/manage/cost"),
    "/manage/families?repository=42",
    "/manage/refused-tokens",
)
DELETIONS = (
    "/repos/example/tools/actions/caches?key=npm-1",
    "/repos/example/tools/actions/caches/1",
    "/api/v3/repos/example/tools/actions/caches?key=npm-1",
    "/repositories/42/actions/caches?key=npm-1",
    "/manage/repositories/42/entries?key=npm-1",
    "/manage/repositories/42/entries?key=npm-1&dry_run=false",
    "/manage/repositories/42/entries/1?dry_run=false",
)
ROUTES = [*(("GET", path) for path in READS), *(("DELETE", path) for path in DELETIONS)]


@pytest.mark.parametrize(
    ("token", "scheme"),
    [
        (None, "Bearer"),
        ("", "Bearer"),
        (ADMIN[:-1], "Bearer"),
        (ADMIN, "Basic"),
        (ADMIN, "AWS4-HMAC-SHA256"),
        (runtime_token(), "Bearer"),
    ],
    ids=["none", "empty", "wrong", "basic", "signed", "a job's"],
)
def test_unknown_token_is_refused_everywhere(manager: Manager, token: str | None, scheme: str) -> None:
    """Jobs are isolated from each other, so their tokens must not work here."""
    manager.save("npm-1")
    for method, path in ROUTES:
        answer = manager.ask(method, path, token, scheme)
        assert (answer.status, set(answer.json())) == (401, {"message", "documentation_url", "status"}), path
    assert len(manager.get("/manage/repositories/42/entries")["entries"]) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/repos/example/tools/actions/caches?key=npm-1",
        "/repos/example/tools/actions/caches/{id}",
        "/manage/repositories/42/entries?key=npm-1",
        "/manage/repositories/42/entries/{id}",
    ],
)
def test_deletion_is_logged_once_with_actor(manager: Manager, caplog: pytest.LogCaptureFixture, path: str) -> None:
    manager.save("npm-1")
    [entry] = manager.get("/manage/repositories/42/entries")["entries"]
    path = path.format(id=entry["id"])
    with caplog.at_level("INFO"):
        if "/manage/" in path:
            manager.ask("DELETE", path)
            path = f"{path}{'&' if '?' in path else '?'}dry_run=false"
        assert manager.ask("DELETE", path).status in (200, 204)
        manager.ask("DELETE", path)
    [record] = [record for record in caplog.records if record.message == "entries deleted"]
    fields = vars(record)
    assert (fields["by"], fields["repository"], fields["bytes"]) == ("admin's token", "42", len(b"content"))
    assert len(fields["archive_ids"]) == 1


def test_read_only_token_cannot_delete(manager: Manager) -> None:
    manager.save("npm-1")
    for method, path in ROUTES:
        answer = manager.ask(method, path, READ_ONLY)
        assert answer.status == (200 if method == "GET" else 403), (path, answer.data)
        if method == "DELETE":
            assert "that takes the admin's" in answer.json()["message"]
    assert len(manager.get("/manage/repositories/42/entries")["entries"]) == 1


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "token"])
def test_token_scheme_fits_gh_and_octokit(manager: Manager, scheme: str) -> None:
    assert manager.ask("GET", "/manage/role", ADMIN, scheme).json() == {"role": "admin"}
    assert manager.ask("GET", "/manage/role", READ_ONLY, scheme).json() == {"role": "read-only"}


def test_replaced_token_is_refused(manager: Manager) -> None:
    manager.put_secret(admin="b" * 64, read_only="c" * 32)
    for token, status in ((ADMIN, 401), (READ_ONLY, 401), ("b" * 64, 200), ("c" * 32, 200)):
        assert manager.ask("GET", "/manage/role", token).status == status
    manager.put_secret(admin="short")
    assert manager.ask("GET", "/manage/role", "short").status == 503, "a weak secret admits nobody"


WEAK = [json.dumps({"admin": token}) for token in ("", "a" * 31, "a" * 257, "a b" * 20)]


@pytest.mark.parametrize(
    "value", ["", "{}", "[]", "not json", '{"admin": 5}', *WEAK, json.dumps({"admin": ADMIN, "read_only": "short"})]
)
def test_invalid_secret_is_reported_but_not_shown(value: str) -> None:
    with pytest.raises(Unavailable, match="isn't JSON like") as refused:
        parse_tokens(value)
    assert ADMIN not in str(refused.value)
    for length in (32, 256):
        assert parse_tokens(json.dumps({"admin": "a" * length})).admin == "a" * length

"""GitHub's own clients manage what jobs have saved: Octokit, and gh, which speaks https alone."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from actions_cache.domain.budgets import HOUR
from dev.clients.runtime_token import BRANCH, runtime_token
from dev.clients.wire import Job, send
from dev.docs.page_server import page_server
from dev.local.template import ROOT, Template
from tests.e2e.test_doctor import by_tls

GH = Path(sys.executable).with_name("gh")
PAGE = ROOT / "docs" / "operate" / "management.md"
OCTOKIT = ROOT / "dev" / "clients" / "octokit.mjs"


@dataclass(frozen=True)
class Managed:
    """A repository, named as its jobs' tokens name it."""

    url: str
    repo: str
    job: Job
    admin: str
    read_only: str

    def octokit(self, *calls: tuple[str, str, dict[str, Any]], token: str | None = None) -> list[Any]:
        named = {"owner": "example", "repo": self.repo}
        asked = [
            (how, name, parameters if "org" in parameters else named | parameters) for how, name, parameters in calls
        ]
        whole = {"baseUrl": f"{self.url}/api/v3", "auth": token or self.admin, "calls": asked}
        done = subprocess.run(["node", OCTOKIT, json.dumps(whole)], capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def managed(server: str, server_directory: Path, repository: str) -> Managed:
    lines = (server_directory / "data" / "env").read_text().splitlines()
    known = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    repo = f"repo-{repository}"
    token = runtime_token(repository=repository, oidc_extra=json.dumps({"repository": f"example/{repo}"}))
    job = Job(server, token)
    for key in ("npm-1", "npm-2", "yarn-1"):
        job.save(key, key.encode())
    return Managed(server, repo, job, known["ADMIN_TOKEN"], known["READ_ONLY_TOKEN"])


def test_octokit_lists_counts_and_deletes(managed: Managed) -> None:
    paged, sorted_, usage, deleted, missing = managed.octokit(
        ("paginate", "getActionsCacheList", {"per_page": 1}),
        ("request", "getActionsCacheList", {"key": "npm-", "ref": BRANCH, "sort": "created_at", "direction": "asc"}),
        ("request", "getActionsCacheUsage", {}),
        ("request", "deleteActionsCacheByKey", {"key": "npm-1", "ref": BRANCH}),
        ("request", "deleteActionsCacheByKey", {"key": "npm-1"}),
    )
    assert [it["key"] for it in paged["data"]] == ["yarn-1", "npm-2", "npm-1"]
    assert [it["key"] for it in sorted_["data"]["actions_caches"]] == ["npm-1", "npm-2"]
    assert usage["data"] == {
        "full_name": f"example/{managed.repo}",
        "active_caches_size_in_bytes": 16,
        "active_caches_count": 3,
    }
    assert (deleted["status"], deleted["data"]["total_count"]) == (200, 1)
    assert (missing["status"], "no cache has the key 'npm-1'" in missing["message"]) == (404, True)
    by_id, after = managed.octokit(
        ("request", "deleteActionsCacheById", {"cache_id": paged["data"][1]["id"]}),
        ("paginate", "getActionsCacheList", {}),
    )
    assert by_id["status"] == 204
    assert [it["key"] for it in after["data"]] == ["yarn-1"]


def test_octokit_reads_usage_of_organization(server: str, repository: str, managed: Managed) -> None:
    org = f"org-{repository}"
    for number, name in enumerate(("tools", "apps", "web")):
        token = runtime_token(
            repository=f"{repository}{number}", oidc_extra=json.dumps({"repository": f"{org}/{name}"})
        )
        Job(server, token).save("npm-1", b"x" * (number + 1))
    total, first, by_name, unknown = managed.octokit(
        ("request", "getActionsCacheUsageForOrg", {"org": org}),
        ("request", "getActionsCacheUsageByRepoForOrg", {"org": org, "per_page": 1}),
        ("paginate", "getActionsCacheUsageByRepoForOrg", {"org": org.upper(), "per_page": 1}),
        ("request", "getActionsCacheUsageForOrg", {"org": f"{org}-none"}),
        token=managed.read_only,
    )
    assert total["data"] == {"total_active_caches_size_in_bytes": 6, "total_active_caches_count": 3}
    apps = {"full_name": f"{org}/apps", "active_caches_size_in_bytes": 2, "active_caches_count": 1}
    assert first["data"] == {"total_count": 3, "repository_cache_usages": [apps]}
    sizes = {usage["full_name"].partition("/")[2]: usage["active_caches_size_in_bytes"] for usage in by_name["data"]}
    assert sizes == {"apps": 2, "tools": 1, "web": 3}
    assert unknown["status"] == 404


def test_deleted_key_can_be_saved_again(managed: Managed) -> None:
    managed.octokit(("request", "deleteActionsCacheByKey", {"key": "npm-1"}))
    assert managed.job.look_up("npm-1", "npm-")["matched_key"] == "npm-2"
    managed.job.save("npm-1", b"again")
    assert managed.job.restore("npm-1").body == b"again"


def test_octokit_token_limits_are_enforced(managed: Managed) -> None:
    delete = ("request", "deleteActionsCacheByKey", {"key": "npm-1"})
    [refused] = managed.octokit(delete, token=managed.read_only)
    assert (refused["status"], "that takes the admin's" in refused["message"]) == (403, True)
    [stranger] = managed.octokit(delete, token=managed.job.token)
    assert stranger["status"] == 401


def gh_at(url: str, certificate: Path, repo: str, token: str) -> Any:
    host = url.removeprefix("https://")
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(certificate.parent),
        "SSL_CERT_FILE": str(certificate),
        "GH_HOST": host,
        "GH_ENTERPRISE_TOKEN": token,
        "GH_NO_UPDATE_NOTIFIER": "1",
    }

    def gh(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([GH, *arguments], env=variables, capture_output=True, text=True, check=False, timeout=60)

    return lambda *arguments: gh(*(it.replace("REPO", f"{host}/example/{repo}") for it in arguments))


def test_gh_pages_through_tls_proxy(template: Template, tmp_path: Path) -> None:
    """PUBLIC_URL says what the proxy doesn't."""
    servers: list[str] = []
    with (
        by_tls(lambda: servers[0], tmp_path) as (url, certificate),
        page_server(template, "gh", public_url=url) as store,
    ):
        servers.append(store.url)
        repository = store.repository("42", "example/tools")
        for hours, key in enumerate(("yarn-1", "npm-2", "npm-1"), start=1):
            store.entry(repository, key, 1, used=hours * HOUR)
        store.entry(store.repository("43", "example/apps"), "npm-1", 2)
        gh = gh_at(url, certificate, "tools", store.tokens.admin)
        pages = gh("api", "--paginate", "repos/example/tools/actions/caches?per_page=1", "--jq", PAGED)
        usage = gh("api", "--paginate", "orgs/example/actions/cache/usage")
        by_repository = gh(
            "api", "--paginate", "orgs/example/actions/cache/usage-by-repository?per_page=1", "--jq", NAMES
        )
    assert pages.stdout.split() == ["yarn-1", "npm-2", "npm-1"], pages.stderr
    assert json.loads(usage.stdout)["total_active_caches_count"] == 4, usage.stderr
    assert by_repository.stdout.split() == ["example/apps", "example/tools"], by_repository.stderr


PAGED = ".actions_caches[].key"
NAMES = ".repository_cache_usages[].full_name"


def test_gh_lists_and_deletes_caches(managed: Managed, tmp_path: Path) -> None:
    with by_tls(managed.url, tmp_path) as (url, certificate):
        gh = gh_at(url, certificate, managed.repo, managed.admin)
        fields = "id,key,ref,sizeInBytes,version,createdAt,lastAccessedAt"
        listed = gh("cache", "list", "-R", "REPO", "--key", "npm-", "--json", fields, "--sort", "created_at")
        assert listed.returncode == 0, listed.stderr
        caches = json.loads(listed.stdout)
        assert [(it["key"], it["ref"], it["sizeInBytes"]) for it in caches] == [
            ("npm-2", BRANCH, 5),
            ("npm-1", BRANCH, 5),
        ]

        by_key = gh("cache", "delete", "npm-1", "-R", "REPO")
        by_id = gh("cache", "delete", str(caches[0]["id"]), "-R", "REPO")
        assert (by_key.returncode, by_id.returncode) == (0, 0), (by_key.stderr, by_id.stderr)
        again = gh("cache", "delete", "npm-1", "-R", "REPO")
        assert (again.returncode, "Could not find a cache matching npm-1" in again.stderr) == (1, True), again.stderr

        usage = gh("api", f"repos/example/{managed.repo}/actions/cache/usage", "--jq", ".active_caches_count")
        assert usage.stdout.strip() == "1", usage.stderr
        assert gh("cache", "delete", "--all", "-R", "REPO").returncode == 0
        assert gh("cache", "list", "-R", "REPO", "--json", "key").stdout.strip() in ("", "[]")


def test_documented_curl_commands_work(managed: Managed) -> None:
    blocks = re.findall(r"```console[^\n]*\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found = [it for block in blocks for it in re.findall(r"^\$ (curl (?:.*\\\n)*.*)$", block, re.MULTILINE)]
    commands = [it for it in found if "$URL" in it]
    assert len(commands) == 5
    tokens = {"ADMIN_TOKEN": managed.admin, "READ_ONLY_TOKEN": managed.read_only}
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command.replace("example/tools", f"example/{managed.repo}")],
            env={"PATH": os.environ["PATH"], "URL": managed.url, **tokens},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "message" not in json.loads(done.stdout), (command, done.stdout)


def test_admin_token_works_only_for_management(managed: Managed) -> None:
    """Isolation: where it could be taken for a path of the results service's, nothing is passed on."""
    admin = Job(managed.url, managed.admin)
    assert admin.call("GetCacheEntryDownloadURL", key="npm-1").status == 401
    assert admin.create("npm-3").status == 401
    headers = {"Authorization": f"Bearer {managed.admin}"}
    for path in (
        "/manage",
        "/manage/x",
        "/iam/x",
        "/orgs",
        "/orgs/x",
        "/repos",
        "/repositories",
        "/api/v3/user",
        "/api",
    ):
        reply = send("GET", f"{managed.url}{path}", headers=headers)
        assert (reply.status, b"RESULTS_SERVICE_URL" in reply.body) == (404, False), path

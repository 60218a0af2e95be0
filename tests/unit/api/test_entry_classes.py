"""An entry's class follows from the token of the job that saves it, for each event that starts jobs."""

import hashlib
from collections.abc import Callable, Iterator

import pytest

from actions_cache.domain.entry import EntryFamily, EntryName
from actions_cache.domain.entry_class import EntryClass, class_by_form, class_of
from dev.clients.driver import CacheDriver
from dev.clients.runtime_token import DEFAULT_BRANCH, READ, READ_WRITE, REPOSITORY, runtime_token
from dev.clients.wire import VERSION, Job, V1Job
from dev.emulation.asgi_server import served
from dev.services import AllServices
from functions.api.handler import create_app

MAIN, BRANCH, TRANSIENT = EntryClass.DEFAULT_BRANCH, EntryClass.BRANCH, EntryClass.TRANSIENT
GHES = "https://ghes.example/_services/token"

Scopes = tuple[tuple[str, int], ...]
BASE = ((DEFAULT_BRANCH, READ),)

EVENTS: dict[str, tuple[Scopes, EntryClass]] = {
    "push to the default branch": (((DEFAULT_BRANCH, READ_WRITE),), MAIN),
    "push to a default branch of another name": ((("refs/heads/trunk", READ_WRITE),), MAIN),
    "push to a branch": ((("refs/heads/feature", READ_WRITE), *BASE), BRANCH),
    "push to a branch named like a pull request": ((("refs/heads/refs/pull/7", READ_WRITE), *BASE), BRANCH),
    "push of a tag": ((("refs/tags/v1", READ_WRITE), *BASE), TRANSIENT),
    "push of a tag, and no other scope": ((("refs/tags/v1", READ_WRITE),), TRANSIENT),
    "schedule": (((DEFAULT_BRANCH, READ_WRITE),), MAIN),
    "dispatch on the default branch": (((DEFAULT_BRANCH, READ_WRITE),), MAIN),
    "dispatch on a branch": ((("refs/heads/release", READ_WRITE), *BASE), BRANCH),
    "pull request": ((("refs/pull/7/merge", READ_WRITE), *BASE), TRANSIENT),
    "pull request into a branch": ((("refs/pull/7/merge", READ_WRITE), ("refs/heads/next", READ), *BASE), TRANSIENT),
    "pull request of a fork": ((("refs/pull/8/merge", READ_WRITE), *BASE), TRANSIENT),
    "pull request, and no other scope": ((("refs/pull/7/merge", READ_WRITE),), TRANSIENT),
    "pull_request_target": (((DEFAULT_BRANCH, READ_WRITE),), MAIN),
    "pull_request_target of a branch": ((("refs/heads/next", READ_WRITE), *BASE), BRANCH),
    "merge group": ((("refs/heads/gh-readonly-queue/main/pr-7-0a1b", READ_WRITE), *BASE), TRANSIENT),
    "merge group by its short name": ((("gh-readonly-queue/main/pr-7-0a1b", READ_WRITE), *BASE), TRANSIENT),
    "scope named twice": (((DEFAULT_BRANCH, READ), (DEFAULT_BRANCH, READ_WRITE)), MAIN),
    "Gitea's empty scope": ((("", READ_WRITE),), MAIN),
}


@pytest.fixture(scope="module")
def services(module_driver: CacheDriver) -> AllServices:
    settings = module_driver.services.settings.model_copy(update={"verify_tokens": False})
    services = AllServices(settings, module_driver.clock)
    services.session = module_driver.services.session
    return services


@pytest.fixture(scope="module")
def url(services: AllServices) -> Iterator[str]:
    with served(create_app(services)) as url:
        yield url


CREATES: dict[str, Callable[[str, str, str], int]] = {
    "v2": lambda url, token, key: Job(url, token).create(key).status,
    "v1": lambda url, token, key: V1Job(url, token).post("caches", key=key, version=VERSION).status,
}


@pytest.mark.parametrize("create", CREATES.values(), ids=CREATES)
@pytest.mark.parametrize("issuer", [None, GHES], ids=["github.com", "GHES"])
@pytest.mark.parametrize(("scopes", "expected"), EVENTS.values(), ids=EVENTS)
def test_saved_entry_has_class_of_its_token(services, url, scopes, expected, issuer, create, request):
    key = hashlib.sha256(request.node.name.encode()).hexdigest()
    assert create(url, runtime_token(scopes, **({"iss": issuer} if issuer else {})), key) in (200, 201)
    scope = next(name for name, permission in scopes if permission == READ_WRITE)
    repository = f"{REPOSITORY}@{issuer}" if issuer else REPOSITORY
    reservation = services.table.reservation(EntryName(EntryFamily(repository, scope, VERSION), key))
    archive = services.table.archive(reservation.archive_id)
    assert (archive.saved_as, archive.entry_class) == (expected, expected)


@pytest.mark.parametrize(
    ("permissions", "refused"), [((READ, READ), "a fork's since June 2026"), ((0, READ), "without any permission")]
)
def test_read_only_token_has_no_class(url, permissions, refused):
    scopes = zip(("refs/pull/7/merge", DEFAULT_BRANCH), permissions, strict=True)
    answer = Job(url, runtime_token([*scopes])).create("never")
    assert b"cache write denied" in answer.body, refused


def test_class_of_older_entries_follows_from_their_ref():
    assert class_by_form("refs/pull/7/merge") is class_by_form("refs/tags/v1") is TRANSIENT
    assert class_by_form("refs/heads/gh-readonly-queue/main/pr-1") is TRANSIENT
    assert class_by_form("refs/heads/feature") is class_by_form(DEFAULT_BRANCH) is class_by_form("") is MAIN


def test_ref_outweighs_the_number_of_scopes():
    assert class_of("refs/pull/7/merge", ["refs/pull/7/merge"]) is TRANSIENT
    assert class_of("refs/heads/a", ["refs/heads/a", "refs/heads/b"]) is BRANCH

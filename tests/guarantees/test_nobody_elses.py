"""Isolation: a token reads and writes in its own repository and scopes, and nothing else gets through.

Signed URLs: test_nobody_elses_urls.py.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from actions_cache.domain.timing import SECOND
from actions_cache.management_services import ManagementServices
from dev.local.emulators import Endpoints
from dev.local.template import Template
from functions.api.proto.cache_pb2 import CreateCacheEntryRequest, CreateCacheEntryResponse
from tests.guarantees.nobody_elses import (
    ELSEWHERE,
    FEATURE,
    MAIN,
    NOT_MEANT,
    OURS,
    PULL,
    REPOSITORIES,
    THEIRS,
    Stage,
    now,
    verified_stage,
)
from tests.support.clients.actions_cache import ActionsCache
from tests.support.clients.artifact_cache import V1
from tests.support.clients.protobuf import protobuf
from tests.support.clients.runtime_token import READ, READ_WRITE, WRITE
from tests.support.clients.wire import VERSION, Job, put_blob


@pytest.fixture(scope="module")
def world(template: Template, endpoints: Endpoints, engine_session: boto3.Session) -> Iterator[Stage]:
    with verified_stage(template, endpoints, engine_session) as stage:
        yield stage


@pytest.fixture
def stage(world: Stage) -> Stage:
    world.journey.clock.at = now()
    return world


SCOPES: Sequence[Sequence[tuple[str, int]]] = [
    [(FEATURE, READ_WRITE)],
    [(FEATURE, READ)],
    [(FEATURE, WRITE)],
    [(FEATURE, 0)],
    [(FEATURE, 4)],
    [(FEATURE, READ_WRITE), (MAIN, READ)],
    [(FEATURE, READ), (MAIN, READ_WRITE)],
    [(PULL, READ_WRITE), (FEATURE, READ), (MAIN, READ)],
    [(PULL, READ), (MAIN, READ)],
    [(MAIN, WRITE), (FEATURE, WRITE), (PULL, READ)],
    [(FEATURE + "/", READ_WRITE)],
    [(FEATURE.upper(), READ_WRITE)],
    [("", READ_WRITE)],
]

FORGED = generate_private_key(65537, 2048)
FLAWS: dict[str, Callable[[Stage], dict[str, object]]] = {
    "expired": lambda _: {"exp": int(time.time()) - 60},
    "never expires": lambda _: {"exp": None},
    "not valid yet": lambda _: {"nbf": int(time.time()) + 120},
    "another issuer": lambda _: {"iss": "https://token.actions.githubusercontent.com"},
    "an issuer that begins like ours": lambda stage: {"iss": f"{stage.issuer.url}.example"},
    "no issuer": lambda _: {"iss": None},
    "signed by another": lambda _: {"key": FORGED},
    "no repository": lambda _: {"repository_id": ""},
}


def test_a_good_token_does_exactly_what_its_claims_say(stage: Stage):
    saved = _saved_in_every_scope(stage)
    wrong = []
    for repository, scopes in product(REPOSITORIES, SCOPES):
        job = stage.job(repository, *scopes)
        readable = [scope for scope, permission in scopes if permission & READ]
        writable = [scope for scope, permission in scopes if permission & WRITE]
        for what, (done, allowed) in {
            "look up": _looks_up(job, saved, repository, readable),
            "create": _creates(stage, job, repository, writable),
            "finalize": _finalizes(stage, job, repository, writable),
            "v1": _does_by_v1(stage, job, repository, readable, writable),
            "list by v1": _lists_by_v1(stage, job, readable),
        }.items():
            if done != allowed:
                wrong.append((what, repository, scopes, done, allowed))
    assert wrong == []


def _saved_in_every_scope(stage: Stage) -> dict[tuple[str, str], str]:
    """The same key everywhere. Returns: the archives by repository and scope."""
    for repository, scope in product(REPOSITORIES, (FEATURE, MAIN, PULL)):
        stage.job(repository, (scope, READ_WRITE)).save("shared", f"{repository} {scope}".encode())
    return {
        (repository, scope): cast("str", stage.archive_of(repository, scope, "shared"))
        for repository, scope in product(REPOSITORIES, (FEATURE, MAIN, PULL))
    }


def _looks_up(
    job: Job, saved: dict[tuple[str, str], str], repository: str, readable: Sequence[str]
) -> tuple[object, object]:
    """The first of the readable scopes that has it; a prefix and a restore key lead nowhere else either."""
    expected = next((saved[repository, scope] for scope in readable if (repository, scope) in saved), None)
    answers: list[tuple[int, object]] = []
    for key, restore_keys in (("shared", []), ("sha", []), ("another", ["sh"])):
        reply = job.call("GetCacheEntryDownloadURL", key=key, restore_keys=restore_keys)
        if reply.status != 200:
            answers.append((reply.status, "cache read denied" in reply.json["msg"]))
        elif reply.json["ok"]:
            answers.append((200, urlsplit(reply.json["signed_download_url"]).path.split("/")[4]))
        else:
            answers.append((200, None))
    return answers, [(200, expected) if readable else (403, True)] * 3


def _creates(stage: Stage, job: Job, repository: str, writable: Sequence[str]) -> tuple[object, object]:
    """In the first writable scope of its own repository."""
    key = stage.new_key()
    reply = job.create(key)
    everywhere = {scope for scopes in SCOPES for scope, _ in scopes}
    held = [
        (owner, scope)
        for owner, scope in product(REPOSITORIES, sorted(everywhere))
        if stage.services.table.reservation(stage.entry_name(owner, scope, key))
    ]
    done = (reply.status, reply.json["ok"], reply.json["message"].startswith("cache write denied"), held)
    return done, (200, True, False, [(repository, writable[0])]) if writable else (200, False, True, [])


def _finalizes(stage: Stage, job: Job, repository: str, writable: Sequence[str]) -> tuple[object, object]:
    """An upload of our feature branch's own job, which only another token of the same scope may finish."""
    key = stage.new_key()
    url = stage.job(OURS, (FEATURE, READ_WRITE)).reserve(key)
    assert put_blob(url, b"abc").status == 201
    reply = job.finalize(key, 3)
    visible = stage.archive_of(OURS, FEATURE, key) is not None
    may = repository == OURS and writable[:1] == [FEATURE]
    if not writable:
        return (reply.status, reply.json.get("ok"), visible), (200, False, False)
    return (reply.status, reply.json.get("ok"), visible), (200, True, True) if may else (404, None, False)


def _does_by_v1(
    stage: Stage, job: Job, repository: str, readable: Sequence[str], writable: Sequence[str]
) -> tuple[object, object]:
    """Where it finds what every scope has, and whether it may take part in an upload of our feature branch's own."""
    key, v1 = stage.new_key(), V1(stage.url, job.token)
    number = V1(stage.url, stage.job(OURS, (FEATURE, READ_WRITE)).token).reserve(key)
    found = v1.look_up("shared")
    where = found.json["scope"] if found.status == 200 else found.status
    uploads = (v1.chunk(number, "bytes 0-2/*", b"abc").status, v1.commit(number, 3).status)
    done = (where, *uploads, stage.archive_of(OURS, FEATURE, key) is not None)
    everywhere = next((scope for scope in readable if scope in (FEATURE, MAIN, PULL)), 204 if readable else 403)
    if repository == OURS and writable[:1] == [FEATURE]:
        return done, (everywhere, 204, 204, True)
    return done, (everywhere, *[404 if writable else 403] * 2, False)


def _lists_by_v1(stage: Stage, job: Job, readable: Sequence[str]) -> tuple[object, object]:
    """Which of the entries that every repository has in three scopes."""
    reply = V1(stage.url, job.token).list_similar("sha")
    if reply.status != 200:
        return reply.status, 200 if readable else 403
    found = sorted((entry["cacheKey"], entry["scope"]) for entry in reply.json["artifactCaches"])
    return found, sorted(("shared", scope) for scope in {FEATURE, MAIN, PULL} & set(readable))


def test_by_v1_an_upload_takes_pieces_as_long_as_its_url_would_be_good(stage: Stage):
    v1 = V1(stage.url, stage.job(OURS, (FEATURE, READ_WRITE)).token)
    number = v1.reserve(stage.new_key())
    stage.journey.clock.at += stage.services.settings.upload_url_seconds * SECOND - 1
    assert v1.chunk(number, "bytes 0-2/*", b"abc").status == 204
    before = stage.everything()
    stage.journey.clock.at += 1
    late = v1.chunk(number, "bytes 3-5/*", b"def")
    assert (late.status, "over" in late.json["message"]) == (404, True)
    assert stage.everything() == before


def test_a_job_that_is_not_meant_changes_nothing_and_is_told_why(stage: Stage, tmp_path: Path):
    """Each client is shown a warning with the very value to set, and the operator sees the job too."""
    stage.job(ELSEWHERE, (FEATURE, READ_WRITE)).save("ours", b"ours")
    number = V1(stage.url, stage.job(ELSEWHERE, (FEATURE, READ_WRITE)).token).reserve("pending by v1")
    before = stage.everything()
    extra = '{"repository":"octo/app","repository_owner":"octo"}'
    job = stage.job(ELSEWHERE, (FEATURE, READ_WRITE), repository_id=NOT_MEANT, repository_owner_id=7, oidc_extra=extra)
    value = f"repository_id={NOT_MEANT}@{stage.other.url}"

    def says(text: str, action: str) -> bool:
        return text.startswith(f"cache {action} denied: this cache isn't for jobs of octo/app: ") and value in text

    look_up = job.call("GetCacheEntryDownloadURL", key="ours")
    assert (look_up.status, look_up.json["code"]) == (403, "permission_denied")
    assert says(look_up.json["msg"], "read")
    for reply in (job.create("new"), job.finalize("new", 3)):
        assert (reply.status, reply.json["ok"]) == (200, False)
        assert says(reply.json["message"], "write")
    created = protobuf(job, "CreateCacheEntry", CreateCacheEntryRequest(), CreateCacheEntryResponse())
    assert not created.ok
    assert says(created.message, "write")
    by_v1 = V1(stage.url, job.token)
    for reply in (by_v1.look_up("ours"), by_v1.list_similar("ours")):
        assert (reply.status, says(reply.json["message"], "read")) == (403, True)
    for reply in (
        by_v1.post("caches", key="new", version=VERSION),
        by_v1.chunk(number, "bytes 0-2/*", b"abc"),
        by_v1.commit(number, 0),
    ):
        assert (reply.status, says(reply.json["message"], "write")) == (403, True)
    (tmp_path / "file").write_bytes(b"of a stranger")
    client = ActionsCache(stage.url, tmp_path, job.token)
    for outcome, action in ((client.save(["file"], "new"), "write"), (client.restore(["file"], "ours"), "read")):
        assert outcome.result in (-1, None)
        warnings = [line for line in outcome.log if "::warning::" in line]
        assert any(f"cache {action} denied: " in line and value in line for line in warnings)
    assert stage.everything() == before
    deadline = time.monotonic() + 10
    while not (found := ManagementServices(stage.services).list_refused()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    [seen] = found
    assert (seen.job.repository, seen.job.owner, seen.job.owner_id) == ("octo/app", "octo", "7")
    assert seen.job.to_admit == (value,)


def test_a_flawed_token_opens_no_route_and_changes_nothing(stage: Stage):
    stage.job(OURS, (FEATURE, READ_WRITE)).save("ours", b"ours")
    url = stage.job(OURS, (FEATURE, READ_WRITE)).reserve("pending")
    assert put_blob(url, b"abc").status == 201
    number = V1(stage.url, stage.job(OURS, (FEATURE, READ_WRITE)).token).reserve("pending by v1")
    before = stage.everything()
    let_in = []
    for flaw, repository, scopes in product(FLAWS, (OURS, THEIRS), SCOPES[:3]):
        job = stage.job(repository, *scopes, **FLAWS[flaw](stage))
        look_up = job.call("GetCacheEntryDownloadURL", key="ours")
        replies = (job.create("new"), job.finalize("pending", 3), look_up)
        by_v1 = V1(stage.url, job.token)
        v1_replies = (
            by_v1.look_up("ours"),
            by_v1.list_similar("ours"),
            by_v1.post("caches", key="new", version=VERSION),
            by_v1.chunk(number, "bytes 0-2/*", b"abc"),
            by_v1.commit(number, 0),
        )
        if not all((reply.status, reply.json["typeKey"]) == (401, "Unauthenticated") for reply in v1_replies):
            let_in.append((flaw, repository, scopes, [reply.body for reply in v1_replies]))
        if not all((reply.status, reply.json["code"]) == (401, "unauthenticated") for reply in replies):
            let_in.append((flaw, repository, scopes, [reply.body for reply in replies]))
    assert let_in == []
    assert stage.everything() == before

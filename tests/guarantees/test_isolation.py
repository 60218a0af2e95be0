"""Isolation: a token reads and writes in its own repository and scopes, and nothing else gets through.

Signed URLs have tests of their own: test_isolation_urls.py.
"""

import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from actions_cache.domain.timing import SECOND
from dev.clients.actions_cache import ActionsCache
from dev.clients.runtime_token import READ, READ_WRITE, WRITE
from dev.clients.wire import VERSION, Job, Reply, V1Job, protobuf, put_blob
from functions.api.proto.cache_pb2 import CreateCacheEntryRequest, CreateCacheEntryResponse
from tests.guarantees.isolation import (
    ELSEWHERE,
    FEATURE,
    MAIN,
    NOT_ADMITTED,
    OURS,
    PULL,
    REPOSITORIES,
    THEIRS,
    VerifiedServer,
)

SCOPES: Sequence[Sequence[tuple[str, int]]] = [
    [(FEATURE, READ_WRITE)],
    [(FEATURE, READ)],
    [(FEATURE, WRITE)],
    [(FEATURE, 4)],
    [(FEATURE, READ_WRITE), (MAIN, READ)],
    [(FEATURE, READ), (MAIN, READ_WRITE)],
    [(PULL, READ_WRITE), (FEATURE, READ), (MAIN, READ)],
    [(MAIN, WRITE), (FEATURE, WRITE), (PULL, READ)],
    [(FEATURE + "/", READ_WRITE)],
    [(FEATURE.upper(), READ_WRITE)],
    [("", READ_WRITE)],
]

FORGED = generate_private_key(65537, 2048)
FLAWS: dict[str, Callable[[VerifiedServer], dict[str, object]]] = {
    "expired": lambda _: {"exp": int(time.time()) - 60},
    "never expires": lambda _: {"exp": None},
    "not valid yet": lambda _: {"nbf": int(time.time()) + 120},
    "another issuer": lambda _: {"iss": "https://token.actions.githubusercontent.com"},
    "an issuer that begins like ours": lambda server: {"iss": f"{server.issuer.url}.example"},
    "no issuer": lambda _: {"iss": None},
    "signed by another": lambda _: {"key": FORGED},
    "no repository": lambda _: {"repository_id": ""},
}


@pytest.mark.slow
def test_good_token_does_exactly_what_its_claims_say(server: VerifiedServer):
    saved = _saved_in_every_scope(server)
    wrong = []
    for repository, scopes in product(REPOSITORIES, SCOPES):
        job = server.job(repository, *scopes)
        readable = [scope for scope, permission in scopes if permission & READ]
        writable = [scope for scope, permission in scopes if permission & WRITE]
        for attempt, (done, allowed) in {
            "look up": _looks_up(job, saved, repository, readable),
            "create": _creates(server, job, repository, writable),
            "finalize": _finalizes(server, job, repository, writable),
            "v1": _does_by_v1(server, job, repository, readable, writable),
            "list by v1": _lists_by_v1(server, job, readable),
        }.items():
            if done != allowed:
                wrong.append((attempt, repository, scopes, done, allowed))
    assert wrong == []


def _saved_in_every_scope(server: VerifiedServer) -> dict[tuple[str, str], str]:
    """Save the same key everywhere, and return the archives by repository and scope."""
    for repository, scope in product(REPOSITORIES, (FEATURE, MAIN, PULL)):
        server.job(repository, (scope, READ_WRITE)).save("shared", f"{repository} {scope}".encode())
    return {
        (repository, scope): cast("str", server.archive_of(repository, scope, "shared"))
        for repository, scope in product(REPOSITORIES, (FEATURE, MAIN, PULL))
    }


def _looks_up(
    job: Job, saved: dict[tuple[str, str], str], repository: str, readable: Sequence[str]
) -> tuple[object, object]:
    """Look up in the first readable scope that has the key; a prefix and a restore key lead nowhere else either."""
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


def _creates(server: VerifiedServer, job: Job, repository: str, writable: Sequence[str]) -> tuple[object, object]:
    """Create in the first writable scope of the job's own repository."""
    key = server.new_key()
    reply = job.create(key)
    everywhere = {scope for scopes in SCOPES for scope, _ in scopes}
    held = [
        (owner, scope)
        for owner, scope in product(REPOSITORIES, sorted(everywhere))
        if server.services.table.reservation(server.entry_name(owner, scope, key))
    ]
    done = (reply.status, reply.json["ok"], reply.json["message"].startswith("cache write denied"), held)
    return done, (200, True, False, [(repository, writable[0])]) if writable else (200, False, True, [])


def _finalizes(server: VerifiedServer, job: Job, repository: str, writable: Sequence[str]) -> tuple[object, object]:
    """Finalize an upload of our feature branch's job, which only another token of the same scope may finish."""
    key = server.new_key()
    url = server.job(OURS, (FEATURE, READ_WRITE)).reserve(key)
    assert put_blob(url, b"abc").status == 201
    reply = job.finalize(key, 3)
    visible = server.archive_of(OURS, FEATURE, key) is not None
    may = repository == OURS and writable[:1] == [FEATURE]
    if not writable:
        return (reply.status, reply.json.get("ok"), visible), (200, False, False)
    return (reply.status, reply.json.get("ok"), visible), (200, True, True) if may else (404, None, False)


def _does_by_v1(
    server: VerifiedServer, job: Job, repository: str, readable: Sequence[str], writable: Sequence[str]
) -> tuple[object, object]:
    """Look up what every scope has, and take part in an upload of our feature branch's job."""
    key, v1 = server.new_key(), V1Job(server.url, job.token)
    number = V1Job(server.url, server.job(OURS, (FEATURE, READ_WRITE)).token).reserve(key)
    found = v1.look_up("shared")
    where = found.json["scope"] if found.status == 200 else found.status
    uploads = (v1.chunk(number, "bytes 0-2/*", b"abc").status, v1.commit(number, 3).status)
    done = (where, *uploads, server.archive_of(OURS, FEATURE, key) is not None)
    everywhere = next((scope for scope in readable if scope in (FEATURE, MAIN, PULL)), 204 if readable else 403)
    if repository == OURS and writable[:1] == [FEATURE]:
        return done, (everywhere, 204, 204, True)
    return done, (everywhere, *[404 if writable else 403] * 2, False)


def _lists_by_v1(server: VerifiedServer, job: Job, readable: Sequence[str]) -> tuple[object, object]:
    """List the entries that every repository has in three scopes."""
    reply = V1Job(server.url, job.token).list_similar("sha")
    if reply.status != 200:
        return reply.status, 200 if readable else 403
    found = sorted((entry["cacheKey"], entry["scope"]) for entry in reply.json["artifactCaches"])
    return found, sorted(("shared", scope) for scope in {FEATURE, MAIN, PULL} & set(readable))


def test_v1_upload_takes_chunks_as_long_as_a_url_lives(server: VerifiedServer):
    v1 = V1Job(server.url, server.job(OURS, (FEATURE, READ_WRITE)).token)
    number = v1.reserve(server.new_key())
    server.driver.clock.at += server.services.settings.upload_url_seconds * SECOND - 1
    assert v1.chunk(number, "bytes 0-2/*", b"abc").status == 204
    before = server.everything()
    server.driver.clock.at += 1
    late = v1.chunk(number, "bytes 3-5/*", b"def")
    assert (late.status, "over" in late.json["message"]) == (404, True)
    assert server.everything() == before


def by_v1(job: Job, number: int) -> tuple[Reply, ...]:
    """Try every route of v1, with the number of a pending upload."""
    v1 = V1Job(job.server, job.token)
    return (
        v1.look_up("ours"),
        v1.list_similar("ours"),
        v1.post("caches", key="new", version=VERSION),
        v1.chunk(number, "bytes 0-2/*", b"abc"),
        v1.commit(number, 0),
    )


def test_job_that_is_not_admitted_learns_why(server: VerifiedServer, tmp_path: Path):
    """It changes nothing, and each client shows a warning with the very value to set."""
    known = server.job(ELSEWHERE, (FEATURE, READ_WRITE))
    known.save("ours", b"ours")
    number = V1Job(server.url, known.token).reserve("pending by v1")
    before = server.everything()
    extra = '{"repository":"octo/app","repository_owner":"octo"}'
    claims = {"repository_id": NOT_ADMITTED, "repository_owner_id": 7, "oidc_extra": extra}
    job = server.job(ELSEWHERE, (FEATURE, READ_WRITE), **claims)
    value = f"repository_id={NOT_ADMITTED}@{server.other.url}"

    def says(text: str, action: str) -> bool:
        return text.startswith(f"cache {action} denied: this cache isn't for jobs of octo/app: ") and value in text

    look_up = job.call("GetCacheEntryDownloadURL", key="ours")
    assert (look_up.status, says(look_up.json["msg"], "read")) == (403, True)
    for reply in (job.create("new"), job.finalize("new", 3)):
        assert (reply.status, reply.json["ok"], says(reply.json["message"], "write")) == (200, False, True)
    created = protobuf(job, "CreateCacheEntry", CreateCacheEntryRequest(), CreateCacheEntryResponse())
    assert (created.ok, says(created.message, "write")) == (False, True)
    for reply, action in zip(by_v1(job, number), ["read"] * 2 + ["write"] * 3, strict=True):
        assert (reply.status, says(reply.json["message"], action)) == (403, True)
    (tmp_path / "file").write_bytes(b"of a stranger")
    client = ActionsCache(server.url, tmp_path, job.token)
    for outcome, action in ((client.save(["file"], "new"), "write"), (client.restore(["file"], "ours"), "read")):
        assert outcome.result in (-1, None)
        warnings = [line for line in outcome.log if "::warning::" in line]
        assert any(f"cache {action} denied: " in line and value in line for line in warnings)
    assert server.everything() == before


def test_flawed_token_opens_no_route_and_changes_nothing(server: VerifiedServer):
    good = server.job(OURS, (FEATURE, READ_WRITE))
    good.save("ours", b"ours")
    assert put_blob(good.reserve("pending"), b"abc").status == 201
    number = V1Job(server.url, good.token).reserve("pending by v1")
    before = server.everything()
    let_in = []
    for flaw, repository, scopes in product(FLAWS, (OURS, THEIRS), SCOPES[:3]):
        job = server.job(repository, *scopes, **FLAWS[flaw](server))
        look_up = job.call("GetCacheEntryDownloadURL", key="ours")
        answers = [
            (reply, "code", "unauthenticated") for reply in (job.create("new"), job.finalize("pending", 3), look_up)
        ]
        answers += [(reply, "typeKey", "Unauthenticated") for reply in by_v1(job, number)]
        let_in += [
            (flaw, repository, scopes, reply.body)
            for reply, field, code in answers
            if (reply.status, reply.json[field]) != (401, code)
        ]
    assert let_in == []
    assert server.everything() == before

"""Steps of the functions that answer requests: api, download and manage."""

import json
from dataclasses import replace
from functools import partial
from typing import Any
from zlib import crc32

from actions_cache.domain.archive import Merge
from actions_cache.domain.signing import Direction
from actions_cache.domain.timing import SECOND
from actions_cache.http.errors import V1_ROOT as V1
from actions_cache.http.part_lists import MEDIA_TYPE
from dev.clients.driver import block_ids
from dev.clients.wire import VERSION, block_list_xml
from tests.guarantees.aws_calls.environment import (
    LONG,
    REPOSITORY,
    SHORT,
    Environment,
    Outcome,
    http,
    job_headers,
    manage_request,
    twirp,
)
from tests.guarantees.aws_calls.step import CONTENT, Step, answered, cold_start

IDS = block_ids(2)

_api = partial(Step, function="api")
_download = partial(Step, function="download")
_manage = partial(Step, function="manage")

# ---------------------------------------------------------------- api


def _ok(_: Environment, __: Any, outcome: Outcome) -> bool:
    return outcome.status == 200 and outcome.json["ok"] is True


def _reserved(environment: Environment, key: str) -> str:
    """Reserve a key and return the upload URL."""
    return environment.services.reserve(environment.name(key))


def archive_id_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def uploaded(environment: Environment, key: str) -> tuple[str, str]:
    url = _reserved(environment, key)
    for block_id, body in zip(IDS, (LONG, SHORT), strict=True):
        environment.driver.put_block(archive_id_of(url), block_id, body)
    return key, url


def _committed(environment: Environment, key: str) -> tuple[str, str]:
    _, url = uploaded(environment, key)
    environment.services.commit.block_list(archive_id_of(url), IDS)
    return key, url


def _of_one_put(environment: Environment, key: str) -> tuple[str, str]:
    url = _reserved(environment, key)
    environment.driver.put_blob(archive_id_of(url), CONTENT)
    return key, url


def _appended(environment: Environment, key: str) -> tuple[str, str]:
    url = _reserved(environment, key)
    environment.driver.append(archive_id_of(url), CONTENT)
    return key, url


def _finalizing(environment: Environment, given: tuple[str, str]) -> dict[str, Any]:
    return twirp("FinalizeCacheEntryUpload", key=given[0], size_bytes=str(len(CONTENT)))


def _is_finalized(environment: Environment, given: tuple[str, str], outcome: Outcome) -> bool:
    if not _ok(environment, given, outcome):
        return False
    environment.saved[environment.name(given[0])] = CONTENT
    return True


def _new_repository(environment: Environment, key: str) -> str:
    """Save in a repository that is new to this process too."""
    environment.requests.note_repository._names.clear()
    return key


def _v1_reserving(_: Environment, key: str) -> dict[str, Any]:
    return http("POST", f"{V1}/caches", json.dumps({"key": key, "version": VERSION}).encode(), job_headers())


def _v1_number(environment: Environment, key: str) -> int:
    return environment.services.reserve.numbered(environment.name(key))


def _v1_pieces(environment: Environment, key: str) -> tuple[str, int]:
    number = _v1_number(environment, key)
    put = environment.invoke("api", _v1_piece(number))
    assert put.status == 204, put
    return key, number


def _v1_piece(number: int) -> dict[str, Any]:
    place = {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/*", "Content-Type": "application/octet-stream"}
    return http("PATCH", f"{V1}/caches/{number}", CONTENT, job_headers() | place)


def _v1_commit(number: int) -> dict[str, Any]:
    return http("POST", f"{V1}/caches/{number}", json.dumps({"size": len(CONTENT)}).encode(), job_headers())


def _is_committed_v1(environment: Environment, given: tuple[str, int], outcome: Outcome) -> bool:
    if outcome.status == 204:
        environment.saved[environment.name(given[0])] = CONTENT
    return outcome.status == 204


def _found(environment: Environment, given: str, outcome: Outcome) -> bool:
    return _ok(environment, given, outcome) and bool(outcome.json["signed_download_url"])


def _saved_merged(environment: Environment, key: str) -> str:
    environment.save_merged(key)
    return key


def _saved(environment: Environment, key: str) -> str:
    environment.save(key, LONG, SHORT)
    return key


def _url(environment: Environment, archive_id: str) -> str:
    return environment.services.urls.sign(Direction.DOWNLOAD, archive_id, environment.clock.now() + 600 * SECOND)


OF_API = (
    _api("health", lambda _, key: key, lambda _, __: http("GET", "/health"), _ok),
    _api(
        "reserve",
        _new_repository,
        lambda _, key: twirp("CreateCacheEntry", key=key, repository=f"9{crc32(key.encode())}"),
        _ok,
        may_be_taken=True,
    ),
    _api("a block", _reserved, lambda _, url: http("PUT", url, LONG, comp="block", blockid=IDS[0]), answered(201)),
    _api(
        "the block list",
        uploaded,
        lambda _, given: http("PUT", given[1], block_list_xml(IDS), comp="blocklist"),
        answered(201),
    ),
    _api(
        "the blocks that arrived",
        uploaded,
        lambda _, given: http("GET", given[1], comp="blocklist", blocklisttype="all"),
        lambda _, __, outcome: outcome.status == 200 and outcome.body.count(b"<Block>") == 2,
    ),
    _api(
        "the blocks that were committed",
        _committed,
        lambda _, given: http("GET", given[1], comp="blocklist", blocklisttype="committed"),
        lambda _, __, outcome: outcome.status == 200 and outcome.body.count(b"<Block>") == 2,
    ),
    _api("finalize blocks", _committed, _finalizing, _is_finalized),
    _api("finalize a blob", _of_one_put, _finalizing, _is_finalized),
    _api("seal an append blob", _appended, lambda _, given: http("PUT", given[1], b"", comp="seal"), answered(200)),
    _api(
        "look up",
        _saved_merged,
        lambda _, key: twirp("GetCacheEntryDownloadURL", key=key, restore_keys=["nothing-"]),
        _found,
    ),
    _api(
        "look up by its beginning",
        _saved,
        lambda _, key: twirp("GetCacheEntryDownloadURL", key="nothing", restore_keys=[key[:-1]]),
        _found,
    ),
    _api(
        "look up what isn't there",
        lambda _, key: key,
        lambda _, key: twirp("GetCacheEntryDownloadURL", key=key, restore_keys=[]),
        lambda _, __, outcome: outcome.status == 200 and outcome.json["ok"] is False,
    ),
    _api("v1: reserve", lambda _, key: key, _v1_reserving, answered(201), may_be_taken=True),
    _api("v1: a piece", _v1_number, lambda _, number: _v1_piece(number), answered(204)),
    _api("v1: commit", _v1_pieces, lambda _, given: _v1_commit(given[1]), _is_committed_v1),
    _api(
        "v1: look up",
        _saved,
        lambda _, key: http("GET", f"{V1}/cache", None, job_headers(), keys=key, version=VERSION),
        answered(200),
    ),
    _api(
        "look up, at a cold start",
        cold_start("api", _saved),
        lambda _, key: twirp("GetCacheEntryDownloadURL", key=key, restore_keys=[]),
        _found,
        is_slow=True,
    ),
    _api(
        "v1: list what is similar",
        _saved,
        lambda _, key: http("GET", f"{V1}/caches", None, job_headers(), key=key),
        lambda _, __, outcome: outcome.status == 200 and outcome.json["totalCount"] >= 1,
    ),
    _api(
        "what a download is",
        lambda environment, key: environment.save(key, LONG, SHORT),
        lambda environment, archive_id: http("HEAD", _url(environment, archive_id)),
        answered(200),
    ),
)

# ---------------------------------------------------------------- download


def _is_streamed(_: Environment, __: Any, outcome: Outcome) -> bool:
    return outcome.status == 200 and outcome.body == CONTENT


def _unclaimed(environment: Environment, key: str) -> str:
    """Save without claiming the merge, as after a Finalize whose message couldn't be sent."""
    archive_id = environment.save(key, LONG, SHORT)
    archive = environment.driver.archive(archive_id)
    environment.services.table.replace_archive(archive, replace(archive, merge=Merge()))
    return archive_id


def _is_listed(environment: Environment, given: str, outcome: Outcome) -> bool:
    """Return whether the answer is the part list, or the plain one."""
    if not outcome.body.startswith(b"{"):
        return _is_streamed(environment, given, outcome)
    return outcome.status == 200 and [part[1] for part in outcome.json["parts"]] == [len(LONG), len(SHORT)]


OF_DOWNLOAD = (
    _download(
        "parts",
        lambda environment, key: environment.save(key, LONG, SHORT),
        lambda environment, archive_id: http("GET", _url(environment, archive_id)),
        _is_streamed,
    ),
    _download(
        "parts that nobody merges",
        _unclaimed,
        lambda environment, archive_id: http("GET", _url(environment, archive_id)),
        _is_streamed,
    ),
    _download(
        "the list of parts that nobody merges",
        _unclaimed,
        lambda environment, archive_id: http("GET", _url(environment, archive_id), None, {"Accept": MEDIA_TYPE}),
        _is_listed,
    ),
    _download(
        "parts, at a cold start",
        cold_start("download", lambda environment, key: environment.save(key, LONG, SHORT)),
        lambda environment, archive_id: http("GET", _url(environment, archive_id)),
        _is_streamed,
        is_slow=True,
    ),
    _download(
        "a merged object",
        lambda environment, key: environment.save_merged(key),
        lambda environment, archive_id: http("GET", _url(environment, archive_id)),
        answered(302),
    ),
    _download(
        "a merged object, by x-ms-range",
        lambda environment, key: environment.save_merged(key),
        lambda environment, archive_id: http("GET", _url(environment, archive_id), None, {"x-ms-range": "bytes=0-9"}),
        lambda _, __, outcome: outcome.status == 206 and outcome.body == CONTENT[:10],
    ),
)

# ---------------------------------------------------------------- manage


def _noted(environment: Environment, key: str) -> str:
    """Save an entry in a repository that is known by name."""
    found = environment.invoke("api", twirp("CreateCacheEntry", key=f"{key}-reserved"))
    assert found.status == 200
    environment.save(key, CONTENT)
    return key


def _deleting(_: Environment, key: str) -> dict[str, Any]:
    return manage_request("DELETE", f"/manage/repositories/{REPOSITORY}/entries", key=key, dry_run="false")


def _is_deleted(environment: Environment, key: str, outcome: Outcome) -> bool:
    """Return whether nothing is left to delete when asked again."""
    if outcome.status == 200:
        environment.saved.pop(environment.name(key), None)
    return outcome.status == 200 and environment.services.table.entry(environment.name(key)) is None


def _looks(name: str, path: str, **query: str) -> Step:
    return _manage(name, _noted, lambda _, __: manage_request("GET", path, **query), answered(200))


OF_MANAGE = (
    _looks("role", "/manage/role"),
    _looks("repositories", "/manage/repositories"),
    _looks("one repository", f"/manage/repositories/{REPOSITORY}"),
    _looks("entries", f"/manage/repositories/{REPOSITORY}/entries"),
    _looks("match", "/manage/match", repository=REPOSITORY, ref="refs/heads/main", version=VERSION, key="npm"),
    _looks("activity", "/manage/activity", repository=REPOSITORY),
    _looks("failures", "/manage/failures"),
    _looks("cost", "/manage/cost"),
    _looks("GitHub's list", f"/repos/octo/{REPOSITORY}/actions/caches"),
    _looks("an organization's usage", "/orgs/octo/actions/cache/usage"),
    _looks("an organization's usage by repository", "/orgs/octo/actions/cache/usage-by-repository"),
    _manage("delete", _noted, _deleting, _is_deleted),
)

"""Lists what each function is asked in the life of an entry, and checks that it was done."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

from actions_cache.domain.archive import ArchiveState, Merge, MergeState
from actions_cache.domain.budgets import Usage
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.signing import Direction
from actions_cache.domain.timing import SECOND
from actions_cache.http.artifact_cache import ROOT as V1
from actions_cache.merge import DEADLINE_MARGIN
from tests.guarantees.aws_calls.world import (
    DAY,
    HOUR,
    LONG,
    REPOSITORY,
    SHORT,
    Asked,
    World,
    http,
    is_an_outage,
    managing,
    of_a_job,
    twirp,
)
from tests.support.clients.wire import VERSION, block_list_xml
from tests.support.events import load
from tests.support.journey import block_ids

CONTENT = LONG + SHORT
IDS = block_ids(2)
TRY_AGAIN = 503


@dataclass(frozen=True)
class Step:
    name: str
    function: str
    begin: Callable[[World, str], Any]
    """Prepares the step before the fault, with a key of its own."""
    event: Callable[[World, Any], dict[str, Any]]
    is_done: Callable[[World, Any, Asked], bool]
    timeout: float = 1
    """Seconds until it is asked again."""
    is_slow: bool = False
    """True if only the full matrix strikes it with faults; `make test` runs it once, without any."""
    seconds: float = 600
    """Timeout of the function in seconds."""
    may_be_taken: bool = False
    """True if the key may stay taken for its own client: a call that reserved it lost its answer."""

    def __str__(self) -> str:
        return f"{self.function}: {self.name}"

    def judge(self, world: World, given: Any, asked: Asked) -> None:
        """Check the answer while the fault lasts."""
        assert world.unexpected == []
        if self.function in ("cleanup", "rotate"):
            assert asked.fault is None or is_an_outage(asked.fault), repr(asked.fault)
        elif self.function == "merge":
            assert asked.fault is None, repr(asked.fault)
            [record] = self.event(world, given)["Records"]
            failed = asked.answer["batchItemFailures"]
            assert failed in ([], [{"itemIdentifier": record["messageId"]}])
        else:
            assert asked.fault is None, repr(asked.fault)
            is_refused = asked.status == TRY_AGAIN or (self.may_be_taken and asked.status == 409)
            assert is_refused or is_broken_off(asked) or self.is_done(world, given, asked), (
                f"{asked.status} {asked.body[:300]!r}"
            )


def is_broken_off(asked: Asked) -> bool:
    """Return whether Mangum reported an answer that ended before its last byte; our refusals have a dialect."""
    return asked.status == 500 and asked.body == b"Internal Server Error"


def answered(status: int) -> Callable[[World, Any, Asked], bool]:
    return lambda _, __, asked: asked.status == status


# ---------------------------------------------------------------- api


def _ok(_: World, __: Any, asked: Asked) -> bool:
    return asked.status == 200 and asked.json["ok"] is True


def _reserved(world: World, key: str) -> str:
    """Reserve a key and return the upload URL."""
    return world.services.reserve(world.name(key))


def _archive_id(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def _uploaded(world: World, key: str) -> tuple[str, str]:
    url = _reserved(world, key)
    for block_id, body in zip(IDS, (LONG, SHORT), strict=True):
        world.journey.put_block(_archive_id(url), block_id, body)
    return key, url


def _committed(world: World, key: str) -> tuple[str, str]:
    _, url = _uploaded(world, key)
    world.services.commit_blocks(_archive_id(url), IDS)
    return key, url


def _of_one_put(world: World, key: str) -> tuple[str, str]:
    url = _reserved(world, key)
    world.journey.put_blob(_archive_id(url), CONTENT)
    return key, url


def _appended(world: World, key: str) -> tuple[str, str]:
    url = _reserved(world, key)
    world.journey.append(_archive_id(url), CONTENT)
    return key, url


def _finalizing(world: World, given: tuple[str, str]) -> dict[str, Any]:
    return twirp("FinalizeCacheEntryUpload", key=given[0], size_bytes=str(len(CONTENT)))


def _is_finalized(world: World, given: tuple[str, str], asked: Asked) -> bool:
    if not _ok(world, given, asked):
        return False
    world.saved[world.name(given[0])] = CONTENT
    return True


def _new_repository(world: World, key: str) -> str:
    """Save in a repository that is new to this process too."""
    world.requests.admit._noted.clear()
    return key


def _v1_number(world: World, key: str) -> int:
    return world.services.reserve.numbered(world.name(key))


def _v1_pieces(world: World, key: str) -> tuple[str, int]:
    number = _v1_number(world, key)
    put = world.invoke("api", _v1_piece(number))
    assert put.status == 204, put
    return key, number


def _v1_piece(number: int) -> dict[str, Any]:
    place = {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/*", "Content-Type": "application/octet-stream"}
    return http("PATCH", f"{V1}/caches/{number}", CONTENT, of_a_job() | place)


def _v1_commit(number: int) -> dict[str, Any]:
    return http("POST", f"{V1}/caches/{number}", json.dumps({"size": len(CONTENT)}).encode(), of_a_job())


def _is_committed_v1(world: World, given: tuple[str, int], asked: Asked) -> bool:
    if asked.status == 204:
        world.saved[world.name(given[0])] = CONTENT
    return asked.status == 204


def _found(world: World, given: str, asked: Asked) -> bool:
    return _ok(world, given, asked) and bool(asked.json["signed_download_url"])


def _saved_merged(world: World, key: str) -> str:
    world.save_merged(key)
    return key


def _saved(world: World, key: str) -> str:
    world.save(key, LONG, SHORT)
    return key


def _cold(function: str, begin: Callable[[World, str], Any]) -> Callable[[World, str], Any]:
    """Start a process that first asks for the tables' schema; an error in that must not stay."""

    def start(world: World, key: str) -> Any:
        given = begin(world, key)
        # No release has noted it yet.
        world.clients.dynamodb.delete_item(
            TableName=world.resources.refs["ArchivesTable"], Key={"archive_id": {"S": "schema"}}
        )
        world.start_anew(function)
        return given

    return start


def _url(world: World, archive_id: str) -> str:
    return world.services.urls.sign(Direction.DOWNLOAD, archive_id, world.clock.now() + 600 * SECOND)


OF_API = (
    Step("health", "api", lambda _, key: key, lambda _, __: http("GET", "/health"), _ok),
    Step(
        "reserve",
        "api",
        _new_repository,
        lambda _, key: twirp("CreateCacheEntry", key=key, repository=f"9{crc32(key.encode())}"),
        _ok,
        may_be_taken=True,
    ),
    Step(
        "a block",
        "api",
        _reserved,
        lambda _, url: http("PUT", url, LONG, comp="block", blockid=IDS[0]),
        answered(201),
    ),
    Step(
        "the block list",
        "api",
        _uploaded,
        lambda _, given: http("PUT", given[1], block_list_xml(IDS), comp="blocklist"),
        answered(201),
    ),
    Step(
        "the blocks that arrived",
        "api",
        _uploaded,
        lambda _, given: http("GET", given[1], comp="blocklist", blocklisttype="all"),
        lambda _, __, asked: asked.status == 200 and asked.body.count(b"<Block>") == 2,
    ),
    Step(
        "the blocks that were committed",
        "api",
        _committed,
        lambda _, given: http("GET", given[1], comp="blocklist", blocklisttype="committed"),
        lambda _, __, asked: asked.status == 200 and asked.body.count(b"<Block>") == 2,
    ),
    Step("finalize blocks", "api", _committed, _finalizing, _is_finalized),
    Step("finalize a blob", "api", _of_one_put, _finalizing, _is_finalized),
    Step(
        "seal an append blob",
        "api",
        _appended,
        lambda _, given: http("PUT", given[1], b"", comp="seal"),
        answered(200),
    ),
    Step(
        "look up",
        "api",
        _saved_merged,
        lambda _, key: twirp("GetCacheEntryDownloadURL", key=key, restore_keys=["nothing-"]),
        _found,
    ),
    Step(
        "look up by its beginning",
        "api",
        _saved,
        lambda _, key: twirp("GetCacheEntryDownloadURL", key="nothing", restore_keys=[key[:-1]]),
        _found,
    ),
    Step(
        "look up what isn't there",
        "api",
        lambda _, key: key,
        lambda _, key: twirp("GetCacheEntryDownloadURL", key=key, restore_keys=[]),
        lambda _, __, asked: asked.status == 200 and asked.json["ok"] is False,
    ),
    Step(
        "v1: reserve",
        "api",
        lambda _, key: key,
        lambda _, key: http("POST", f"{V1}/caches", json.dumps({"key": key, "version": VERSION}).encode(), of_a_job()),
        answered(201),
        may_be_taken=True,
    ),
    Step("v1: a piece", "api", _v1_number, lambda _, number: _v1_piece(number), answered(204)),
    Step("v1: commit", "api", _v1_pieces, lambda _, given: _v1_commit(given[1]), _is_committed_v1),
    Step(
        "v1: look up",
        "api",
        _saved,
        lambda _, key: http("GET", f"{V1}/cache", None, of_a_job(), keys=key, version=VERSION),
        answered(200),
    ),
    Step(
        "look up, at a cold start",
        "api",
        _cold("api", _saved),
        lambda _, key: twirp("GetCacheEntryDownloadURL", key=key, restore_keys=[]),
        _found,
        is_slow=True,
    ),
    Step(
        "v1: list what is similar",
        "api",
        _saved,
        lambda _, key: http("GET", f"{V1}/caches", None, of_a_job(), key=key),
        lambda _, __, asked: asked.status == 200 and asked.json["totalCount"] >= 1,
    ),
    Step(
        "what a download is",
        "api",
        lambda world, key: world.save(key, LONG, SHORT),
        lambda world, archive_id: http("HEAD", _url(world, archive_id)),
        answered(200),
    ),
)

# ---------------------------------------------------------------- download


def _is_streamed(_: World, __: Any, asked: Asked) -> bool:
    return asked.status == 200 and asked.body == CONTENT


def _unclaimed(world: World, key: str) -> str:
    """Save without claiming the merge, as after a Finalize whose message couldn't be sent."""
    archive_id = world.save(key, LONG, SHORT)
    archive = world.journey.archive(archive_id)
    world.services.table.replace_archive(archive, replace(archive, merge=Merge()))
    return archive_id


OF_DOWNLOAD = (
    Step(
        "parts",
        "download",
        lambda world, key: world.save(key, LONG, SHORT),
        lambda world, archive_id: http("GET", _url(world, archive_id)),
        _is_streamed,
    ),
    Step(
        "parts that nobody merges",
        "download",
        _unclaimed,
        lambda world, archive_id: http("GET", _url(world, archive_id)),
        _is_streamed,
    ),
    Step(
        "parts, at a cold start",
        "download",
        _cold("download", lambda world, key: world.save(key, LONG, SHORT)),
        lambda world, archive_id: http("GET", _url(world, archive_id)),
        _is_streamed,
        is_slow=True,
    ),
    Step(
        "a merged object",
        "download",
        lambda world, key: world.save_merged(key),
        lambda world, archive_id: http("GET", _url(world, archive_id)),
        answered(302),
    ),
    Step(
        "a merged object, by x-ms-range",
        "download",
        lambda world, key: world.save_merged(key),
        lambda world, archive_id: http("GET", _url(world, archive_id), None, {"x-ms-range": "bytes=0-9"}),
        lambda _, __, asked: asked.status == 206 and asked.body == CONTENT[:10],
    ),
)

# ---------------------------------------------------------------- merge


def _message(world: World, key: str) -> tuple[str, dict[str, Any]]:
    archive_id = world.save(key, LONG, SHORT, SHORT)
    return archive_id, world.take_message(archive_id)


def _is_merged(world: World, given: tuple[str, Any], asked: Asked) -> bool:
    return world.journey.archive(given[0]).merge.state is MergeState.MERGED


def _message_of_a_broken_one(world: World, key: str) -> tuple[str, dict[str, Any]]:
    """Return the message of an archive without one of its parts, which only the bucket can confirm."""
    archive_id = world.save(key, LONG, SHORT, SHORT)
    del world.saved[world.name(key)]
    lost = next(it for it in world.journey.keys(archive_id) if it.startswith("parts/"))
    world.services.bucket.delete([ArchiveKeys(archive_id).prefix + lost])
    return archive_id, world.take_message(archive_id)


def _is_removed(world: World, given: tuple[str, Any], asked: Asked) -> bool:
    archive = world.services.table.archive(given[0])
    return archive is None or archive.state is ArchiveState.DELETED


def _no_message(_: World, key: str) -> dict[str, Any]:
    """Return a message that will never be one of merges, so that it becomes a dead letter at once."""
    event = load("sqs-merge")
    event["Records"][0]["body"] = f"no message {key}"
    return event


def _is_a_letter(world: World, event: dict[str, Any], asked: Asked) -> bool:
    [record] = event["Records"]
    return asked.answer["batchItemFailures"] == [] and record["body"] in world.take_letters()


def _is_to_come_again(_: World, given: tuple[str, Any], asked: Asked) -> bool:
    [record] = given[1]["Records"]
    return bool(asked.answer["batchItemFailures"] == [{"itemIdentifier": record["messageId"]}])


OF_MERGE = (
    Step("copies and uploads", "merge", _message, lambda _, given: given[1], _is_merged, timeout=90),
    Step(
        "a cold start",
        "merge",
        _cold("merge", _message),
        lambda _, given: given[1],
        _is_merged,
        timeout=90,
        is_slow=True,
    ),
    Step("what is no message", "merge", _no_message, lambda _, event: event, _is_a_letter),
    Step(
        "too little time",
        "merge",
        _message,
        lambda _, given: given[1],
        _is_to_come_again,
        timeout=90,
        seconds=DEADLINE_MARGIN / SECOND,
    ),
    Step("a lost part", "merge", _message_of_a_broken_one, lambda _, given: given[1], _is_removed, timeout=90),
)

# ---------------------------------------------------------------- cleanup


def _abandoned(world: World, key: str) -> list[str]:
    ids = [_archive_id(_uploaded(world, f"{key}{it}")[1]) for it in "ab"]
    world.clock.advance(HOUR + 60)
    return ids


def _are_gone(world: World, ids: list[str], _: Asked) -> bool:
    """Return whether readers and writers find none of them; the tombstones stay for a while."""
    archives = [world.services.table.archive(it) for it in ids]
    return all(archive is None or archive.state is ArchiveState.DELETED for archive in archives)


def _swept(world: World, key: str) -> list[str]:
    ids = [world.save_merged(f"{key}{it}") for it in "ab"]
    world.clock.advance(3 * HOUR)
    return ids


def _hold_one_object(world: World, ids: list[str], _: Asked) -> bool:
    return all(len(world.journey.keys(it)) == 1 for it in ids)


def _left_by_the_dead(world: World, key: str) -> list[str]:
    """Return archives whose claimers died before the messages were sent."""
    world.journey.merge_all()
    ids = [world.save(f"{key}{it}", LONG, SHORT) for it in "ab"]
    world.journey.messages()
    for archive in map(world.journey.archive, ids):
        unsent = replace(archive, merge=replace(archive.merge, sent_at=None))
        world.services.table.replace_archive(archive, unsent)
    world.clock.advance(5 * HOUR)
    return ids


def _are_claimed_anew(world: World, ids: list[str], _: Asked) -> bool:
    now = world.clock.now()
    return all(world.journey.archive(it).merge.claimed_at > now - 2 * HOUR * SECOND for it in ids)


def _unused(world: World, key: str) -> list[str]:
    ids = [world.save(f"{key}{it}", CONTENT) for it in "ab"]
    # Days pass here, which expires whatever else was saved.
    world.check_saved()
    world.saved.clear()
    world.clock.advance(8 * DAY)
    return ids


def _removed(world: World, key: str) -> list[str]:
    ids = [world.save(f"{key}{it}", CONTENT) for it in "ab"]
    for it in "ab":
        del world.saved[world.name(f"{key}{it}")]
    for archive_id in ids:
        assert world.services.remove_entry(archive_id, lambda _: True)
    world.clock.advance(4 * HOUR)
    return ids


def _left_no_object(world: World, ids: list[str], _: Asked) -> bool:
    return all(world.journey.keys(it) == [] for it in ids)


def _orphaned(world: World, key: str) -> list[str]:
    ids = [world.services.tokens.new() for _ in "ab"]
    for archive_id in ids:
        world.journey.put_blob(archive_id, SHORT)
    # The usage is wrong too, as after a restore of some tables.
    world.save(key, CONTENT)
    world.services.repositories.correct_usage(REPOSITORY, Usage(1, 0))
    world.services.repositories.correct_store_usage(Usage(5, 0))
    return ids


def _outdated(world: World, key: str) -> list[str]:
    """Return archives whose due times belong to other settings."""
    ids = [world.save(f"{key}{it}", CONTENT) for it in "ab"]
    table = world.services.table
    for archive_id in ids:
        item = table._archives.get(archive_id)
        item.due_at = int(item.due_at) + 1
        item.save()
    return ids


def _are_up_to_date(world: World, ids: list[str], _: Asked) -> bool:
    outdated = dict(world.services.table.all_archives(""))
    return not any(outdated[it] for it in ids)


def _cleaning(_: World, __: Any) -> dict[str, Any]:
    return {}


OF_CLEANUP = (
    Step("abandoned uploads", "cleanup", _abandoned, _cleaning, _are_gone, timeout=660),
    Step("a cold start", "cleanup", _cold("cleanup", _abandoned), _cleaning, _are_gone, timeout=660, is_slow=True),
    Step("merged parts", "cleanup", _swept, _cleaning, _hold_one_object, timeout=660),
    Step("lost messages", "cleanup", _left_by_the_dead, _cleaning, _are_claimed_anew, timeout=660),
    Step("unused entries", "cleanup", _unused, _cleaning, _are_gone, timeout=660),
    Step("removed entries", "cleanup", _removed, _cleaning, _left_no_object, timeout=660),
    Step("orphans", "cleanup", _orphaned, lambda _, __: {"find": "orphans"}, _left_no_object, timeout=660),
    Step("outdated items", "cleanup", _outdated, lambda _, __: {"find": "outdated"}, _are_up_to_date, timeout=DAY),
)

# ---------------------------------------------------------------- manage


def _noted(world: World, key: str) -> str:
    """Save an entry in a repository that is known by name."""
    found = world.invoke("api", twirp("CreateCacheEntry", key=f"{key}-reserved"))
    assert found.status == 200
    world.save(key, CONTENT)
    return key


def _deleting(_: World, key: str) -> dict[str, Any]:
    return managing("DELETE", f"/manage/repositories/{REPOSITORY}/entries", key=key)


def _is_deleted(world: World, key: str, asked: Asked) -> bool:
    """Return whether nothing is left to delete when asked again."""
    if asked.status == 200:
        world.saved.pop(world.name(key), None)
    return asked.status == 200 and world.services.table.entry(world.name(key)) is None


def _looks(name: str, path: str, **query: str) -> Step:
    return Step(name, "manage", _noted, lambda _, __: managing("GET", path, **query), answered(200))


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
    Step("delete", "manage", _noted, _deleting, _is_deleted),
)

# ---------------------------------------------------------------- rotate


def _due(world: World, _: str) -> list[str]:
    """Make the next step of the rotation due."""
    world.saved.clear()
    world.clock.advance(31 * DAY)
    arn = world.resources.refs["UrlSigningSecret"]
    ring = json.loads(world.clients.secretsmanager.get_secret_value(SecretId=arn)["SecretString"])
    return [value for slot, value in ring.items() if slot in ("current", "next", "previous")]


def _edge_agrees(world: World, before: list[str], asked: Asked) -> bool:
    """Check that edge and functions have the same secrets, and that no secret goes before its URLs expire."""
    if asked.fault is not None:
        return False
    arn = world.resources.refs["UrlSigningSecret"]
    ring = json.loads(world.clients.secretsmanager.get_secret_value(SecretId=arn)["SecretString"])
    verifying = [ring[slot] for slot in ("current", "next", "previous") if slot in ring]
    assert before[0] in verifying
    return world.aws.edge.values["url-signing-secrets"].split() == verifying


OF_ROTATE = (Step("a step", "rotate", _due, lambda _, __: {"source": "aws.scheduler"}, _edge_agrees, timeout=HOUR),)

STEPS = (*OF_API, *OF_DOWNLOAD, *OF_MERGE, *OF_CLEANUP, *OF_MANAGE, *OF_ROTATE)

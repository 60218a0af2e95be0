"""Steps of the functions that no client asks: merge, cleanup and rotate."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

from actions_cache.domain.archive import ArchiveState, MergeState
from actions_cache.domain.budgets import Usage
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.timing import SECOND
from actions_cache.merge import DEADLINE_MARGIN
from tests.guarantees.aws_calls.environment import DAY, HOUR, LONG, REPOSITORY, SHORT, Environment, Outcome
from tests.guarantees.aws_calls.request_steps import archive_id_of, uploaded, uploaded_directly
from tests.guarantees.aws_calls.step import CONTENT, Step, cold_start
from tests.support.lambda_events import load

_merge = partial(Step, function="merge", retry_seconds=90)
_cleanup = partial(Step, function="cleanup", retry_seconds=660)

# ---------------------------------------------------------------- merge


def _message(environment: Environment, key: str) -> tuple[str, dict[str, Any]]:
    archive_id = environment.save(key, LONG, SHORT, SHORT)
    return archive_id, environment.take_message(archive_id)


def _is_merged(environment: Environment, given: tuple[str, Any], outcome: Outcome) -> bool:
    return environment.driver.archive(given[0]).merge.state is MergeState.MERGED


def _message_of_a_broken_one(environment: Environment, key: str) -> tuple[str, dict[str, Any]]:
    """Return the message of an archive without one of its parts, which only the bucket can confirm."""
    archive_id = environment.save(key, LONG, SHORT, SHORT)
    del environment.saved[environment.name(key)]
    lost = next(stored for stored in environment.driver.keys(archive_id) if stored.startswith("parts/"))
    environment.services.bucket.delete([ArchiveKeys(archive_id).prefix + lost])
    return archive_id, environment.take_message(archive_id)


def _message_after_a_dead_run(environment: Environment, key: str) -> tuple[str, dict[str, Any]]:
    """Return a message whose first run died, and left a multipart upload."""
    archive_id, message = _message(environment, key)
    archive = environment.driver.archive(archive_id)
    _leave_upload(environment, archive_id)
    died = replace(archive.merge, state=MergeState.RUNNING, run_token="dead", attempts=1)
    environment.services.table.replace_archive(archive, replace(archive, merge=died))
    return archive_id, message


def _leave_upload(environment: Environment, archive_id: str) -> None:
    environment.services.bucket.start_upload(ArchiveKeys(archive_id).merged("dead"))


def _is_removed(environment: Environment, given: tuple[str, Any], outcome: Outcome) -> bool:
    archive = environment.services.table.archive(given[0])
    return archive is None or archive.state is ArchiveState.DELETED


def _no_message(_: Environment, key: str) -> dict[str, Any]:
    """Return a message that will never be one of merges, so that it becomes a dead letter at once."""
    event = load("sqs-merge")
    event["Records"][0]["body"] = f"no message {key}"
    return event


def _is_a_letter(environment: Environment, event: dict[str, Any], outcome: Outcome) -> bool:
    [record] = event["Records"]
    return outcome.answer["batchItemFailures"] == [] and record["body"] in environment.take_dead_letters()


def _is_to_come_again(_: Environment, given: tuple[str, Any], outcome: Outcome) -> bool:
    [record] = given[1]["Records"]
    return bool(outcome.answer["batchItemFailures"] == [{"itemIdentifier": record["messageId"]}])


OF_MERGE = (
    _merge("copies and uploads", _message, lambda _, given: given[1], _is_merged),
    _merge("a cold start", cold_start("merge", _message), lambda _, given: given[1], _is_merged, is_slow=True),
    _merge("after a dead run", _message_after_a_dead_run, lambda _, given: given[1], _is_merged),
    _merge("what is no message", _no_message, lambda _, event: event, _is_a_letter),
    _merge("too little time", _message, lambda _, given: given[1], _is_to_come_again, seconds=DEADLINE_MARGIN / SECOND),
    _merge("a lost part", _message_of_a_broken_one, lambda _, given: given[1], _is_removed),
)

# ---------------------------------------------------------------- cleanup


def _abandoned(environment: Environment, key: str) -> list[str]:
    ids = [archive_id_of(begun(environment, key + begun.__name__)[1]) for begun in (uploaded, uploaded_directly)]
    environment.clock.advance(HOUR + 60)
    return ids


def _are_gone(environment: Environment, ids: list[str], _: Outcome) -> bool:
    """Return whether readers and writers find none of them; the tombstones stay for a while."""
    archives = [environment.services.table.archive(archive_id) for archive_id in ids]
    return all(archive is None or archive.state is ArchiveState.DELETED for archive in archives)


def _swept(environment: Environment, key: str) -> list[str]:
    ids = [environment.save_merged(f"{key}{suffix}") for suffix in "ab"]
    environment.clock.advance(3 * HOUR)
    return ids


def _hold_one_object(environment: Environment, ids: list[str], _: Outcome) -> bool:
    return all(len(environment.driver.keys(archive_id)) == 1 for archive_id in ids)


def _left_by_the_dead(environment: Environment, key: str) -> list[str]:
    """Return archives whose claimers died before the messages were sent."""
    environment.driver.merge_all()
    ids = [environment.save(f"{key}{suffix}", LONG, SHORT) for suffix in "ab"]
    environment.driver.messages()
    for archive in map(environment.driver.archive, ids):
        unsent = replace(archive, merge=replace(archive.merge, sent_at=None))
        environment.services.table.replace_archive(archive, unsent)
    environment.clock.advance(5 * HOUR)
    return ids


def _are_claimed_anew(environment: Environment, ids: list[str], _: Outcome) -> bool:
    now = environment.clock.now()
    return all(environment.driver.archive(archive_id).merge.claimed_at > now - 2 * HOUR * SECOND for archive_id in ids)


def _unused(environment: Environment, key: str) -> list[str]:
    ids = [environment.save(f"{key}{suffix}", CONTENT) for suffix in "ab"]
    # Days pass here, which expires whatever else was saved.
    environment.check_saved()
    environment.saved.clear()
    environment.clock.advance(8 * DAY)
    return ids


def _removed(environment: Environment, key: str) -> list[str]:
    ids = [environment.save(f"{key}{suffix}", CONTENT) for suffix in "ab"]
    # A run of the first one's merge died.
    archive = environment.driver.archive(ids[0])
    environment.services.table.replace_archive(archive, replace(archive, merge=replace(archive.merge, attempts=1)))
    _leave_upload(environment, ids[0])
    for suffix in "ab":
        del environment.saved[environment.name(f"{key}{suffix}")]
    for archive_id in ids:
        assert environment.services.remove_entry(archive_id, lambda _: True)
    environment.clock.advance(4 * HOUR)
    return ids


def _left_no_object(environment: Environment, ids: list[str], _: Outcome) -> bool:
    prefixes = [ArchiveKeys(archive_id).prefix for archive_id in ids]
    return not any(next(environment.services.bucket.uploads(prefix), None) for prefix in prefixes) and all(
        environment.driver.keys(archive_id) == [] for archive_id in ids
    )


def _orphaned(environment: Environment, key: str) -> list[str]:
    ids = [environment.services.tokens.new() for _ in "ab"]
    for archive_id in ids:
        environment.driver.put_blob(archive_id, SHORT)
    _leave_upload(environment, ids[0])
    # The usage is wrong too, as after a restore of some tables.
    environment.save(key, CONTENT)
    environment.services.repositories.correct_usage(REPOSITORY, Usage(1, 0))
    environment.services.repositories.correct_store_usage(Usage(5, 0))
    return ids


def _outdated(environment: Environment, key: str) -> list[str]:
    """Return archives whose due times belong to other settings."""
    ids = [environment.save(f"{key}{suffix}", CONTENT) for suffix in "ab"]
    table = environment.services.table
    for archive_id in ids:
        item = table._archives.get(archive_id)
        item.due_at = int(item.due_at) + 1
        item.save()
    return ids


def _are_up_to_date(environment: Environment, ids: list[str], _: Outcome) -> bool:
    outdated = dict(environment.services.table.all_archives(""))
    return not any(outdated[archive_id] for archive_id in ids)


def _cleaning(_: Environment, __: Any) -> dict[str, Any]:
    return {}


OF_CLEANUP = (
    _cleanup("abandoned uploads", _abandoned, _cleaning, _are_gone),
    _cleanup("a cold start", cold_start("cleanup", _abandoned), _cleaning, _are_gone, is_slow=True),
    _cleanup("merged parts", _swept, _cleaning, _hold_one_object),
    _cleanup("lost messages", _left_by_the_dead, _cleaning, _are_claimed_anew),
    _cleanup("unused entries", _unused, _cleaning, _are_gone),
    _cleanup("removed entries", _removed, _cleaning, _left_no_object),
    _cleanup("orphans", _orphaned, lambda _, __: {"find": "orphans"}, _left_no_object),
    _cleanup("outdated items", _outdated, lambda _, __: {"find": "outdated"}, _are_up_to_date, retry_seconds=DAY),
)

# ---------------------------------------------------------------- rotate


def _due(environment: Environment, _: str) -> list[str]:
    """Make the next step of the rotation due."""
    environment.saved.clear()
    environment.clock.advance(31 * DAY)
    arn = environment.resources.refs["UrlSigningSecret"]
    ring = json.loads(environment.clients.secretsmanager.get_secret_value(SecretId=arn)["SecretString"])
    return [value for slot, value in ring.items() if slot in ("current", "next", "previous")]


def _edge_agrees(environment: Environment, before: list[str], outcome: Outcome) -> bool:
    """Check that edge and functions have the same secrets, and that no secret goes before its URLs expire."""
    if outcome.error is not None:
        return False
    arn = environment.resources.refs["UrlSigningSecret"]
    ring = json.loads(environment.clients.secretsmanager.get_secret_value(SecretId=arn)["SecretString"])
    verifying = [ring[slot] for slot in ("current", "next", "previous") if slot in ring]
    assert before[0] in verifying
    return environment.aws.edge.values["url-signing-secrets"].split() == verifying


OF_ROTATE = (
    Step("a step", _due, lambda _, __: {"source": "aws.scheduler"}, _edge_agrees, "rotate", retry_seconds=HOUR),
)

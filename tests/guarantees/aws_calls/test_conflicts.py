"""Conflicting writes to DynamoDB are tried again, or decided anew if what they were decided on has changed."""

import json
import time
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from actions_cache.aws.dynamodb_items import ROUNDS
from actions_cache.domain.archive import ArchiveState, MergeState, postponed
from actions_cache.domain.budgets import NO_USAGE, Repository, Tally, Usage
from actions_cache.domain.errors import AlreadyExists
from actions_cache.ports import Unavailable, WriteConflict
from dev.clients.driver import REPOSITORY, CacheDriver, name
from tests.guarantees.aws_calls.answers import Effect, body_of, respond
from tests.guarantees.aws_calls.answers import canceled as canceled_with
from tests.guarantees.aws_calls.faulty_aws import Call, FaultyAws, faulty_aws
from tests.guarantees.aws_calls.kinds import OF_DYNAMODB, Kind

CONFLICT = next(kind for kind in OF_DYNAMODB if kind.name == "TransactionConflictException")
UNREAD = next(kind for kind in OF_DYNAMODB if kind.name == "UnprocessedKeys")
PUT, UPDATE, DELETE = (Call("dynamodb", f"{verb}Item", 1) for verb in ("Put", "Update", "Delete"))
TRANSACTION, BATCH = (Call("dynamodb", operation, 1) for operation in ("TransactWriteItems", "BatchGetItem"))


@pytest.fixture
def aws(emptied_driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyAws]:
    with faulty_aws() as aws:
        emptied_driver.services.check_schema()
        yield aws


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def canceled(*reasons: str) -> Kind:
    return Kind(" and ".join(reasons), "dynamodb", frozenset({"TransactWriteItems"}), "", canceled_with(*reasons))


def saved(driver: CacheDriver) -> str:
    return driver.save(name("npm-1"), b"one", b"two").archive_id


# ---------------------------------------------------------------- single writes


@pytest.mark.parametrize("times", [1, ROUNDS - 1])
def test_write_in_conflict_is_tried_again(emptied_driver: CacheDriver, aws: FaultyAws, waits, times):
    seen = emptied_driver.archive(saved(emptied_driver))
    updated = postponed(seen, emptied_driver.clock.now() + 1)
    assert updated is not None
    with aws.answering(PUT, CONFLICT, times):
        written = emptied_driver.services.table.replace_archive(seen, updated)
    assert emptied_driver.archive(seen.id) == written
    assert len(waits) == times, "with a pause before each"


def test_write_on_outdated_state_is_decided_anew(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    """The transaction in conflict wrote the same archive, and has won."""
    seen = emptied_driver.archive(saved(emptied_driver))
    mine, others = (postponed(seen, emptied_driver.clock.now() + later) for later in (1, 2))
    assert mine is not None
    assert others is not None
    emptied_driver.services.table.replace_archive(seen, others)
    with aws.answering(PUT, CONFLICT, 1), pytest.raises(WriteConflict):
        emptied_driver.services.table.replace_archive(seen, mine)


def test_lasting_conflict_is_an_outage_and_no_lost_write(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    """The refusal isn't a lost write: else a free key would look taken, and a merge another worker's."""
    seen = emptied_driver.archive(saved(emptied_driver))
    with aws.answering(PUT, CONFLICT, inf), pytest.raises(Unavailable, match="TransactionConflict"):
        emptied_driver.services.table.replace_archive(seen, seen)
    assert aws.met == ROUNDS
    assert sum(waits) < 3


def test_counts_in_conflict_are_counted_once(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    repositories = emptied_driver.services.repositories
    with aws.answering(UPDATE, CONFLICT, 2):
        assert repositories.count_create(REPOSITORY, 1) == 1
    with aws.answering(UPDATE, CONFLICT, 2):
        repositories.add_tally(REPOSITORY, 0, Tally(hits=1))
    with aws.answering(UPDATE, CONFLICT, 2):
        repositories.add_hit(REPOSITORY, "a" * 32, 1, 2)
    assert repositories.tallies(REPOSITORY, 0) == {0: Tally(hits=1)}
    assert repositories.hits_of(REPOSITORY, "a" * 32).count == 1


@pytest.mark.parametrize("bookkeeping", [PUT, UPDATE], ids=["its last use", "activity"])
def test_failed_bookkeeping_costs_no_hit(emptied_driver: CacheDriver, aws: FaultyAws, waits, bookkeeping):
    emptied_driver.save(name("npm-1"), b"content")
    emptied_driver.clock.advance(3 * 3600)
    with aws.answering(bookkeeping, CONFLICT, inf):
        assert emptied_driver.look_up("npm-1") is not None
        assert aws.met


def test_repository_in_conflict_is_noted(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    wanted = Repository("77", "octo/noted", 1)
    with aws.answering(PUT, CONFLICT, 3):
        emptied_driver.services.repositories.note(wanted)
    assert emptied_driver.services.repositories.repository("77") == wanted
    assert emptied_driver.services.repositories.ids_named("octo/noted") == ["77"]


def test_reservation_in_conflict_is_dropped_later(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    reservation = emptied_driver.archive(emptied_driver.reserve(name("npm-1"))).reservation
    with aws.answering(DELETE, CONFLICT, 2):
        emptied_driver.services.table.drop_reservation(reservation)
    assert emptied_driver.services.table.reservation(name("npm-1")) is None
    emptied_driver.reserve(name("npm-1"))
    with aws.answering(DELETE, CONFLICT, inf), pytest.raises(Unavailable):
        emptied_driver.services.table.drop_reservation(reservation)


def test_archive_in_conflict_is_forgotten_later(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    seen = emptied_driver.archive(saved(emptied_driver))
    with aws.answering(DELETE, CONFLICT, 2):
        emptied_driver.services.table.forget_archive(seen)
    assert emptied_driver.services.table.archive(seen.id) is None


def test_schema_in_conflict_is_written_later(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    schema = emptied_driver.services.schema
    seen = schema.read()
    assert seen is not None
    with aws.answering(PUT, CONFLICT, 2):
        schema.write(seen, seen)


def test_merge_goes_on_after_conflicts(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    archive_id = saved(emptied_driver)
    with aws.answering(PUT, CONFLICT, 5):
        emptied_driver.merge_all()
    assert emptied_driver.archive(archive_id).merge.state is MergeState.MERGED


def test_unwritable_archive_takes_no_other_ones_turn(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    stuck, free = (emptied_driver.upload(name(key), b"one", b"two") for key in ("npm-1", "npm-2"))
    emptied_driver.clock.advance(2 * 3600)

    def refuses_one(request: AWSPreparedRequest, operation: str, effect: Effect) -> AWSResponse:
        is_stuck = stuck in json.dumps(body_of(request))
        return CONFLICT.answer(request, operation, effect) if is_stuck else effect()

    with aws.answering(PUT, Kind("one", "dynamodb", frozenset(), "", refuses_one), inf):
        done = emptied_driver.clean_up()
    assert done["failed"] == 1
    assert emptied_driver.services.table.archive(free) is None
    assert emptied_driver.archive(stuck).state is ArchiveState.RESERVED
    emptied_driver.clock.advance(700)
    assert "failed" not in emptied_driver.clean_up()
    assert emptied_driver.services.table.archive(stuck) is None


# ---------------------------------------------------------------- transactions

PASSING = [
    ("TransactionConflict",),
    ("None", "ThrottlingError"),
    ("ProvisionedThroughputExceeded",),
    ("ThrottlingError", "TransactionConflict", "None", "TransactionConflict"),
]
"""Reasons that botocore doesn't try again."""


@pytest.mark.parametrize("reasons", PASSING, ids=" ".join)
def test_canceled_transaction_is_tried_again(emptied_driver: CacheDriver, aws: FaultyAws, waits, reasons):
    with aws.answering(TRANSACTION, canceled(*reasons), ROUNDS - 1):
        emptied_driver.reserve(name("npm-1"))
    assert len(waits) == ROUNDS - 1
    emptied_driver.put_blob(emptied_driver.services.table.reservation(name("npm-1")).archive_id, b"content")
    with aws.answering(TRANSACTION, canceled(*reasons), 3):
        entry = emptied_driver.services.finalize(name("npm-1"), 7)
    with aws.answering(TRANSACTION, canceled(*reasons), 3):
        assert emptied_driver.services.remove_entry(entry.archive_id, lambda _: True)
    assert emptied_driver.services.repositories.usage(REPOSITORY) == NO_USAGE, "counted once each way"


@pytest.mark.parametrize("reasons", PASSING, ids=" ".join)
def test_free_key_in_conflict_is_never_called_taken(emptied_driver: CacheDriver, aws: FaultyAws, waits, reasons):
    with aws.answering(TRANSACTION, canceled(*reasons), inf), pytest.raises(Unavailable):
        emptied_driver.reserve(name("npm-1"))
    assert emptied_driver.reserve(name("npm-1"))


@pytest.mark.parametrize("others", ["TransactionConflict", "ThrottlingError", "ValidationError"])
def test_failed_condition_among_reasons_is_decided_anew(emptied_driver: CacheDriver, aws: FaultyAws, waits, others):
    """A retry would fail too, however often it is made."""
    with aws.answering(TRANSACTION, canceled(others, "ConditionalCheckFailed"), inf), pytest.raises(AlreadyExists):
        emptied_driver.reserve(name("npm-1"))
    assert (aws.met, waits) == (1, [])


def test_failed_condition_outranks_a_conflict_of_counts(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    archive_id = saved(emptied_driver)
    seen = emptied_driver.archive(archive_id)
    reasons = canceled("ConditionalCheckFailed", "None", "TransactionConflict")
    with aws.answering(TRANSACTION, reasons, inf), pytest.raises(WriteConflict):
        emptied_driver.services.table.remove_entry(seen, seen)
    assert aws.met == 1


@pytest.mark.parametrize("reason", ["ValidationError", "ItemCollectionSizeLimitExceeded"])
def test_hopeless_transaction_is_tried_once(emptied_driver: CacheDriver, aws: FaultyAws, waits, reason):
    with aws.answering(TRANSACTION, canceled("TransactionConflict", reason), inf), pytest.raises(Unavailable):
        emptied_driver.reserve(name("npm-1"))
    assert aws.met == 1


def test_each_try_of_a_transaction_has_its_own_token(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    """Each attempt counts in other shards, and DynamoDB refuses another payload under a known token."""
    tokens: list[str] = []

    def note(request: AWSPreparedRequest, operation: str, effect: Effect) -> AWSResponse:
        tokens.append(body_of(request)["ClientRequestToken"])
        return canceled_with("TransactionConflict")(request, operation, effect)

    with aws.answering(TRANSACTION, Kind("noted", "dynamodb", frozenset(), "", note), 3):
        emptied_driver.services.repositories.correct_usage(REPOSITORY, Usage(5, 1))
    assert len(set(tokens)) == 3
    assert emptied_driver.services.repositories.usage(REPOSITORY) == Usage(5, 1)


# ---------------------------------------------------------------- batches


def test_unread_keys_of_a_batch_are_read_after_a_wait(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    entry = emptied_driver.save(name("npm-1"), b"content")
    with aws.answering(BATCH, UNREAD, ROUNDS - 1):
        assert emptied_driver.services.table.entries([entry.name]) == {entry.name: entry}
    assert len(waits) == ROUNDS - 1
    with aws.answering(BATCH, UNREAD, 2):
        assert emptied_driver.services.table.known_archives([entry.archive_id, "f" * 32]) == {entry.archive_id}


def test_batch_that_stays_unread_is_an_outage(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    """pynamodb would ask again at once, and without end."""
    with aws.answering(BATCH, UNREAD, inf), pytest.raises(Unavailable, match="1 of 1"):
        emptied_driver.services.table.entries([name("npm-1")])
    assert aws.met == ROUNDS


def test_items_that_a_batch_read_first_are_kept(emptied_driver: CacheDriver, aws: FaultyAws, waits):
    entries = [emptied_driver.save(name(f"npm-{i}"), b"content") for i in range(3)]

    def leaves_one(request: AWSPreparedRequest, _: str, effect: Effect) -> AWSResponse:
        asked: Any = body_of(request)["RequestItems"]
        [(table, keys)] = asked.items()
        answer = effect()
        body = json.loads(answer.content)
        left = keys["Keys"][-1]
        body["Responses"][table] = [item for item in body["Responses"][table] if item["sort_key"] != left["sort_key"]]
        body["UnprocessedKeys"] = {table: {**keys, "Keys": [left]}}
        return respond(request, 200, json.dumps(body).encode())

    with aws.answering(BATCH, Kind("one left", "dynamodb", frozenset(), "", leaves_one), 1):
        found = emptied_driver.services.table.entries([entry.name for entry in entries])
    assert found == {entry.name: entry for entry in entries}

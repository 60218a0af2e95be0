"""Conflicting writes to DynamoDB are tried again or, if what they were decided on has changed, decided anew."""

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
from tests.guarantees.aws_calls.kinds import OF_DYNAMODB, Effect, Kind, _canceled, _respond, body_of
from tests.guarantees.aws_calls.meaner import Call, Meaner, meaner_aws
from tests.support.journey import REPOSITORY, Journey, name

CONFLICT = next(kind for kind in OF_DYNAMODB if kind.name == "TransactionConflictException")
UNREAD = next(kind for kind in OF_DYNAMODB if kind.name == "UnprocessedKeys")
PUT, UPDATE, DELETE = (Call("dynamodb", f"{it}Item", 1) for it in ("Put", "Update", "Delete"))
TRANSACTION, BATCH = (Call("dynamodb", it, 1) for it in ("TransactWriteItems", "BatchGetItem"))


@pytest.fixture
def aws(emptied: Journey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meaner]:
    with meaner_aws() as aws:
        emptied.services.check_schema()
        yield aws


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def canceled(*reasons: str) -> Kind:
    return Kind(" and ".join(reasons), "dynamodb", frozenset({"TransactWriteItems"}), "", _canceled(*reasons))


def saved(journey: Journey) -> str:
    return journey.save(name("npm-1"), b"one", b"two").archive_id


# ---------------------------------------------------------------- single writes


@pytest.mark.parametrize("times", [1, ROUNDS - 1])
def test_a_single_write_in_a_transactions_way_is_tried_again(emptied: Journey, aws: Meaner, waits, times):
    seen = emptied.archive(saved(emptied))
    by = postponed(seen, emptied.clock.now() + 1)
    assert by is not None
    with aws.answering(PUT, CONFLICT, times):
        written = emptied.services.table.replace_archive(seen, by)
    assert emptied.archive(seen.id) == written
    assert len(waits) == times, "with a pause before each"


def test_a_write_decided_on_outdated_state_is_decided_again(emptied: Journey, aws: Meaner, waits):
    """The transaction in the way wrote the same archive, and has won."""
    seen = emptied.archive(saved(emptied))
    mine, others = postponed(seen, emptied.clock.now() + 1), postponed(seen, emptied.clock.now() + 2)
    assert mine is not None
    assert others is not None
    emptied.services.table.replace_archive(seen, others)
    with aws.answering(PUT, CONFLICT, 1), pytest.raises(WriteConflict):
        emptied.services.table.replace_archive(seen, mine)


def test_an_item_that_stays_in_the_way_is_an_outage_and_no_lost_write(emptied: Journey, aws: Meaner, waits):
    """Taken for a lost write, it would make a free key look taken, and a merge look like another worker's."""
    seen = emptied.archive(saved(emptied))
    with aws.answering(PUT, CONFLICT, inf), pytest.raises(Unavailable, match="TransactionConflict"):
        emptied.services.table.replace_archive(seen, seen)
    assert aws.met == ROUNDS
    assert sum(waits) < 3


def test_counts_that_meet_others_are_counted_once(emptied: Journey, aws: Meaner, waits):
    repositories = emptied.services.repositories
    with aws.answering(UPDATE, CONFLICT, 2):
        assert repositories.count_create(REPOSITORY, 1) == 1
    with aws.answering(UPDATE, CONFLICT, 2):
        repositories.add_tally(REPOSITORY, 0, Tally(hits=1))
    with aws.answering(UPDATE, CONFLICT, 2):
        repositories.add_hit(REPOSITORY, "a" * 32, 1, 2)
    assert repositories.tallies(REPOSITORY, 0) == {0: Tally(hits=1)}
    assert repositories.hits_of(REPOSITORY, "a" * 32).count == 1


@pytest.mark.parametrize("bookkeeping", [PUT, UPDATE], ids=["its last use", "activity"])
def test_what_cannot_be_noted_of_a_hit_costs_no_hit(emptied: Journey, aws: Meaner, waits, bookkeeping):
    emptied.save(name("npm-1"), b"content")
    emptied.clock.advance(3 * 3600)
    with aws.answering(bookkeeping, CONFLICT, inf):
        assert emptied.look_up("npm-1") is not None
        assert aws.met


def test_a_repository_is_noted_though_its_items_are_in_others_hands(emptied: Journey, aws: Meaner, waits):
    wanted = Repository("77", "octo/noted", 1)
    with aws.answering(PUT, CONFLICT, 3):
        emptied.services.repositories.note(wanted)
    assert emptied.services.repositories.repository("77") == wanted
    assert emptied.services.repositories.ids_named("octo/noted") == ["77"]


def test_a_reservation_in_a_transactions_hands_is_dropped_after_it(emptied: Journey, aws: Meaner, waits):
    reservation = emptied.archive(emptied.reserve(name("npm-1"))).reservation
    with aws.answering(DELETE, CONFLICT, 2):
        emptied.services.table.drop_reservation(reservation)
    assert emptied.services.table.reservation(name("npm-1")) is None
    emptied.reserve(name("npm-1"))
    with aws.answering(DELETE, CONFLICT, inf), pytest.raises(Unavailable):
        emptied.services.table.drop_reservation(reservation)


def test_an_archive_in_a_transactions_hands_is_forgotten_after_it(emptied: Journey, aws: Meaner, waits):
    seen = emptied.archive(saved(emptied))
    with aws.answering(DELETE, CONFLICT, 2):
        emptied.services.table.forget_archive(seen)
    assert emptied.services.table.archive(seen.id) is None


def test_a_schema_note_in_the_way_of_another_is_written_after_it(emptied: Journey, aws: Meaner, waits):
    schema = emptied.services.schema
    seen = schema.read()
    assert seen is not None
    with aws.answering(PUT, CONFLICT, 2):
        schema.write(seen, seen)


def test_a_merge_goes_on_past_conflicts_with_single_writes(emptied: Journey, aws: Meaner, waits):
    archive_id = saved(emptied)
    with aws.answering(PUT, CONFLICT, 5):
        emptied.merge_all()
    assert emptied.archive(archive_id).merge.state is MergeState.MERGED


def test_an_unwritable_archive_takes_no_other_ones_turn(emptied: Journey, aws: Meaner, waits):
    stuck, free = (emptied.upload(name(key), b"one", b"two") for key in ("npm-1", "npm-2"))
    emptied.clock.advance(2 * 3600)

    def refuses_one(request: AWSPreparedRequest, operation: str, effect: Effect) -> AWSResponse:
        is_stuck = stuck in json.dumps(body_of(request))
        return CONFLICT.answer(request, operation, effect) if is_stuck else effect()

    with aws.answering(PUT, Kind("one", "dynamodb", frozenset(), "", refuses_one), inf):
        done = emptied.clean_up()
    assert done["failed"] == 1
    assert emptied.services.table.archive(free) is None
    assert emptied.archive(stuck).state is ArchiveState.RESERVED
    emptied.clock.advance(700)
    assert "failed" not in emptied.clean_up()
    assert emptied.services.table.archive(stuck) is None


# ---------------------------------------------------------------- transactions

PASSING = [
    ("TransactionConflict",),
    ("None", "ThrottlingError"),
    ("ProvisionedThroughputExceeded",),
    ("ThrottlingError", "TransactionConflict", "None", "TransactionConflict"),
]
"""Reasons that botocore doesn't try again."""


@pytest.mark.parametrize("reasons", PASSING, ids=" ".join)
def test_a_transaction_that_others_hold_up_is_tried_again(emptied: Journey, aws: Meaner, waits, reasons):
    with aws.answering(TRANSACTION, canceled(*reasons), ROUNDS - 1):
        emptied.reserve(name("npm-1"))
    assert len(waits) == ROUNDS - 1
    emptied.put_blob(emptied.services.table.reservation(name("npm-1")).archive_id, b"content")
    with aws.answering(TRANSACTION, canceled(*reasons), 3):
        entry = emptied.services.finalize(name("npm-1"), 7)
    with aws.answering(TRANSACTION, canceled(*reasons), 3):
        assert emptied.services.remove_entry(entry.archive_id, lambda _: True)
    assert emptied.services.repositories.usage(REPOSITORY) == NO_USAGE, "counted once each way"


@pytest.mark.parametrize("reasons", PASSING, ids=" ".join)
def test_a_free_key_in_a_transactions_hands_is_never_called_taken(emptied: Journey, aws: Meaner, waits, reasons):
    with aws.answering(TRANSACTION, canceled(*reasons), inf), pytest.raises(Unavailable):
        emptied.reserve(name("npm-1"))
    assert emptied.reserve(name("npm-1"))


@pytest.mark.parametrize("others", ["TransactionConflict", "ThrottlingError", "ValidationError"])
def test_a_failed_condition_among_other_reasons_is_decided_anew(emptied: Journey, aws: Meaner, waits, others):
    """A retry would fail too, however often it is made."""
    with aws.answering(TRANSACTION, canceled(others, "ConditionalCheckFailed"), inf), pytest.raises(AlreadyExists):
        emptied.reserve(name("npm-1"))
    assert (aws.met, waits) == (1, [])


def test_a_failed_condition_outranks_a_conflict_of_counts(emptied: Journey, aws: Meaner, waits):
    archive_id = saved(emptied)
    seen = emptied.archive(archive_id)
    reasons = canceled("ConditionalCheckFailed", "None", "TransactionConflict")
    with aws.answering(TRANSACTION, reasons, inf), pytest.raises(WriteConflict):
        emptied.services.table.remove_entry(seen, seen)
    assert aws.met == 1


@pytest.mark.parametrize("reason", ["ValidationError", "ItemCollectionSizeLimitExceeded"])
def test_what_no_other_try_mends_is_tried_once(emptied: Journey, aws: Meaner, waits, reason):
    with aws.answering(TRANSACTION, canceled("TransactionConflict", reason), inf), pytest.raises(Unavailable):
        emptied.reserve(name("npm-1"))
    assert aws.met == 1


def test_each_try_of_a_canceled_transaction_has_a_token_of_its_own(emptied: Journey, aws: Meaner, waits):
    """Each attempt counts in other shards, and DynamoDB refuses another payload under a known token."""
    tokens: list[str] = []

    def note(request: AWSPreparedRequest, operation: str, effect: Effect) -> AWSResponse:
        tokens.append(body_of(request)["ClientRequestToken"])
        return _canceled("TransactionConflict")(request, operation, effect)

    with aws.answering(TRANSACTION, Kind("noted", "dynamodb", frozenset(), "", note), 3):
        emptied.services.repositories.correct_usage(REPOSITORY, Usage(5, 1))
    assert len(set(tokens)) == 3
    assert emptied.services.repositories.usage(REPOSITORY) == Usage(5, 1)


# ---------------------------------------------------------------- batches


def test_keys_left_unread_by_a_batch_are_read_after_a_wait(emptied: Journey, aws: Meaner, waits):
    entry = emptied.save(name("npm-1"), b"content")
    with aws.answering(BATCH, UNREAD, ROUNDS - 1):
        assert emptied.services.table.entries([entry.name]) == {entry.name: entry}
    assert len(waits) == ROUNDS - 1
    with aws.answering(BATCH, UNREAD, 2):
        assert emptied.services.table.known_archives([entry.archive_id, "f" * 32]) == {entry.archive_id}


def test_a_batch_that_is_never_read_to_its_end_is_an_outage(emptied: Journey, aws: Meaner, waits):
    """pynamodb would ask at once, and without end."""
    with aws.answering(BATCH, UNREAD, inf), pytest.raises(Unavailable, match="1 of 1"):
        emptied.services.table.entries([name("npm-1")])
    assert aws.met == ROUNDS


def test_what_a_batch_read_at_first_is_kept(emptied: Journey, aws: Meaner, waits):
    entries = [emptied.save(name(f"npm-{it}"), b"content") for it in range(3)]

    def leaves_one(request: AWSPreparedRequest, _: str, effect: Effect) -> AWSResponse:
        asked: Any = body_of(request)["RequestItems"]
        [(table, keys)] = asked.items()
        answer = effect()
        body = json.loads(answer.content)
        left = keys["Keys"][-1]
        body["Responses"][table] = [it for it in body["Responses"][table] if it["sort_key"] != left["sort_key"]]
        body["UnprocessedKeys"] = {table: {**keys, "Keys": [left]}}
        return _respond(request, 200, json.dumps(body).encode())

    with aws.answering(BATCH, Kind("one left", "dynamodb", frozenset(), "", leaves_one), 1):
        found = emptied.services.table.entries([entry.name for entry in entries])
    assert found == {entry.name: entry for entry in entries}

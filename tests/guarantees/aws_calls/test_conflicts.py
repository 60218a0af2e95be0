"""Conflicting writes to DynamoDB are tried again, or decided anew if what they were decided on has changed."""

import json
import time
from collections.abc import Iterator
from math import inf

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from actions_cache.aws.dynamodb_items import ROUNDS
from actions_cache.domain.archive import ArchiveState, MergeState, postponed
from actions_cache.domain.budgets import NO_USAGE, Repository, Tally, Usage
from actions_cache.domain.errors import AlreadyExists
from actions_cache.ports import Unavailable, WriteConflict
from dev.clients.driver import REPOSITORY, CacheDriver, name
from tests.guarantees.aws_calls.answers import Answer, Effect, body_of, respond
from tests.guarantees.aws_calls.answers import canceled as canceled_with
from tests.guarantees.aws_calls.faulty_aws import Call, FaultyAws, faulty_aws
from tests.guarantees.aws_calls.kinds import OF_DYNAMODB, Kind

CONFLICT = next(kind for kind in OF_DYNAMODB if kind.name == "TransactionConflictException")
UNREAD = next(kind for kind in OF_DYNAMODB if kind.name == "UnprocessedKeys")
PUT, UPDATE, DELETE = (Call("dynamodb", f"{verb}Item", 1) for verb in ("Put", "Update", "Delete"))
TRANSACTION, BATCH = (Call("dynamodb", operation, 1) for operation in ("TransactWriteItems", "BatchGetItem"))
NPM = name("npm-1")


@pytest.fixture
def aws(driver: CacheDriver) -> Iterator[FaultyAws]:
    with faulty_aws() as aws:
        driver.services.check_schema()
        yield aws


@pytest.fixture(autouse=True)
def waits(aws: FaultyAws, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def made(answer: Answer) -> Kind:
    return Kind("made up", "dynamodb", frozenset(), "", answer)


def canceled(*reasons: str) -> Kind:
    return made(canceled_with(*reasons))


def saved(driver: CacheDriver) -> str:
    return driver.save(NPM, b"one", b"two").archive_id


# ---------------------------------------------------------------- single writes


def test_write_in_conflict_is_tried_again(driver: CacheDriver, aws: FaultyAws, waits):
    """Each waits before it is, and happens once."""
    table, repositories, schema = driver.services.table, driver.services.repositories, driver.services.schema
    seen, known, noted = driver.archive(saved(driver)), schema.read(), Repository("77", "octo/noted", 1)
    reservation = driver.archive(driver.reserve(name("other"))).reservation
    later = postponed(seen, driver.clock.now() + 1)
    assert later is not None
    assert known is not None
    for operation, write in (
        (PUT, lambda: table.replace_archive(seen, later)),
        (PUT, lambda: repositories.note(noted)),
        (PUT, lambda: schema.write(known, known)),
        (UPDATE, lambda: repositories.count_create("77", 1)),
        (UPDATE, lambda: repositories.add_hit("77", "a" * 32, 1, 2)),
        (UPDATE, lambda: repositories.add_tally("77", 0, Tally(hits=1))),
        (DELETE, lambda: table.drop_reservation(reservation)),
    ):
        waits.clear()
        with aws.answering(operation, CONFLICT, ROUNDS - 1):
            write()
        assert len(waits) == ROUNDS - 1
    assert driver.archive(seen.id).postponed_until == later.postponed_until
    with aws.answering(DELETE, CONFLICT, 2):
        table.forget_archive(driver.archive(seen.id))
    assert table.archive(seen.id) is None
    assert (repositories.repository("77"), repositories.ids_named("octo/noted")) == (noted, ["77"])
    assert (repositories.count_create("77", 1), repositories.hits_of("77", "a" * 32).count) == (2, 1)
    assert repositories.tallies("77", 0) == {0: Tally(hits=1)}
    assert table.reservation(name("other")) is None


def test_write_on_outdated_state_is_decided_anew(driver: CacheDriver, aws: FaultyAws):
    """The transaction in conflict wrote the same archive, and has won."""
    seen = driver.archive(saved(driver))
    mine, others = (postponed(seen, driver.clock.now() + later) for later in (1, 2))
    assert mine is not None
    assert others is not None
    driver.services.table.replace_archive(seen, others)
    with aws.answering(PUT, CONFLICT, 1), pytest.raises(WriteConflict):
        driver.services.table.replace_archive(seen, mine)


def test_lasting_conflict_is_an_outage_and_no_lost_write(driver: CacheDriver, aws: FaultyAws, waits):
    """The refusal isn't a lost write: else a free key would look taken, and a merge another worker's."""
    seen = driver.archive(saved(driver))
    with aws.answering(PUT, CONFLICT, inf), pytest.raises(Unavailable, match="TransactionConflict"):
        driver.services.table.replace_archive(seen, seen)
    assert (aws.met, sum(waits) < 3) == (ROUNDS, True)


@pytest.mark.parametrize("bookkeeping", [PUT, UPDATE], ids=["its last use", "activity"])
def test_failed_bookkeeping_costs_no_hit(driver: CacheDriver, aws: FaultyAws, bookkeeping):
    driver.save(NPM, b"content")
    driver.clock.advance(3 * 3600)
    with aws.answering(bookkeeping, CONFLICT, inf):
        assert driver.look_up("npm-1") is not None
        assert aws.met


def test_merge_goes_on_after_conflicts(driver: CacheDriver, aws: FaultyAws):
    archive_id = saved(driver)
    with aws.answering(PUT, CONFLICT, 5):
        driver.merge_all()
    assert driver.archive(archive_id).merge.state is MergeState.MERGED


def test_unwritable_archive_takes_no_other_ones_turn(driver: CacheDriver, aws: FaultyAws):
    stuck, free = (driver.upload(name(key), b"one", b"two") for key in ("npm-1", "npm-2"))
    driver.clock.advance(2 * 3600)

    def refuses_one(request: AWSPreparedRequest, operation: str, effect: Effect) -> AWSResponse:
        is_stuck = stuck in json.dumps(body_of(request))
        return CONFLICT.answer(request, operation, effect) if is_stuck else effect()

    with aws.answering(PUT, made(refuses_one), inf):
        assert driver.clean_up()["failed"] == 1
    assert driver.services.table.archive(free) is None
    assert driver.archive(stuck).state is ArchiveState.RESERVED
    driver.clock.advance(700)
    assert "failed" not in driver.clean_up()
    assert driver.services.table.archive(stuck) is None


# ---------------------------------------------------------------- transactions

PASSING = [
    ("TransactionConflict",),
    ("None", "ThrottlingError"),
    ("ProvisionedThroughputExceeded",),
    ("ThrottlingError", "TransactionConflict", "None", "TransactionConflict"),
]
"""Reasons that botocore doesn't try again."""


@pytest.mark.parametrize("reasons", PASSING, ids=" ".join)
def test_canceled_transaction_is_tried_again(driver: CacheDriver, aws: FaultyAws, waits, reasons):
    """A free key in conflict is never called taken."""
    with aws.answering(TRANSACTION, canceled(*reasons), inf), pytest.raises(Unavailable):
        driver.reserve(NPM)
    waits.clear()
    with aws.answering(TRANSACTION, canceled(*reasons), ROUNDS - 1):
        archive_id = driver.reserve(NPM)
    assert len(waits) == ROUNDS - 1
    driver.put_blob(archive_id, b"content")
    with aws.answering(TRANSACTION, canceled(*reasons), 3):
        driver.services.finalize(NPM, 7)
    with aws.answering(TRANSACTION, canceled(*reasons), 3):
        assert driver.services.remove_entry(archive_id, lambda _: True)
    assert driver.services.repositories.usage(REPOSITORY) == NO_USAGE, "counted once each way"


@pytest.mark.parametrize(
    ("reasons", "error"),
    [
        (("TransactionConflict", "ConditionalCheckFailed"), AlreadyExists),
        (("ThrottlingError", "ConditionalCheckFailed"), AlreadyExists),
        (("ValidationError", "ConditionalCheckFailed"), AlreadyExists),
        (("TransactionConflict", "ValidationError"), Unavailable),
        (("TransactionConflict", "ItemCollectionSizeLimitExceeded"), Unavailable),
    ],
)
def test_hopeless_transaction_is_tried_once(driver: CacheDriver, aws: FaultyAws, waits, reasons, error):
    """A retry would fail too, however often it is made; a failed condition among the reasons is decided anew."""
    with aws.answering(TRANSACTION, canceled(*reasons), inf), pytest.raises(error):
        driver.reserve(NPM)
    assert (aws.met, waits) == (1, [])


def test_failed_condition_outranks_a_conflict_of_counts(driver: CacheDriver, aws: FaultyAws):
    seen = driver.archive(saved(driver))
    reasons = canceled("ConditionalCheckFailed", "None", "TransactionConflict")
    with aws.answering(TRANSACTION, reasons, inf), pytest.raises(WriteConflict):
        driver.services.table.remove_entry(seen, seen)
    assert aws.met == 1


def test_each_try_of_a_transaction_has_its_own_token(driver: CacheDriver, aws: FaultyAws):
    """Each attempt counts in other shards, and DynamoDB refuses another payload under a known token."""
    tokens: list[str] = []

    def note(request: AWSPreparedRequest, operation: str, effect: Effect) -> AWSResponse:
        tokens.append(body_of(request)["ClientRequestToken"])
        return canceled_with("TransactionConflict")(request, operation, effect)

    with aws.answering(TRANSACTION, made(note), 3):
        driver.services.repositories.correct_usage(REPOSITORY, Usage(5, 1))
    assert len(set(tokens)) == 3
    assert driver.services.repositories.usage(REPOSITORY) == Usage(5, 1)


# ---------------------------------------------------------------- batches


def test_unread_keys_of_a_batch_are_read_after_a_wait(driver: CacheDriver, aws: FaultyAws, waits):
    """Without an end it is an outage; pynamodb would ask again at once, and for ever."""
    entry = driver.save(NPM, b"content")
    with aws.answering(BATCH, UNREAD, ROUNDS - 1):
        assert driver.services.table.entries([NPM]) == {NPM: entry}
    assert len(waits) == ROUNDS - 1
    with aws.answering(BATCH, UNREAD, 2):
        assert driver.services.table.known_archives([entry.archive_id, "f" * 32]) == {entry.archive_id}
    with aws.answering(BATCH, UNREAD, inf), pytest.raises(Unavailable, match="1 of 1"):
        driver.services.table.entries([NPM])
    assert aws.met == ROUNDS


def test_items_that_a_batch_read_first_are_kept(driver: CacheDriver, aws: FaultyAws):
    entries = [driver.save(name(f"npm-{i}"), b"content") for i in range(3)]

    def leaves_one(request: AWSPreparedRequest, _: str, effect: Effect) -> AWSResponse:
        [(table, keys)] = body_of(request)["RequestItems"].items()
        body = json.loads(effect().content)
        left = keys["Keys"][-1]
        body["Responses"][table] = [item for item in body["Responses"][table] if item["sort_key"] != left["sort_key"]]
        body["UnprocessedKeys"] = {table: {**keys, "Keys": [left]}}
        return respond(request, 200, json.dumps(body).encode())

    with aws.answering(BATCH, made(leaves_one), 1):
        found = driver.services.table.entries([entry.name for entry in entries])
    assert found == {entry.name: entry for entry in entries}

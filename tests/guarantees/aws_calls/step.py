"""A step in the life of an entry: what a function is asked, and the check that it was done."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.guarantees.aws_calls.environment import LONG, SHORT, Environment, Outcome, is_an_outage

CONTENT = LONG + SHORT
TRY_AGAIN = 503


@dataclass(frozen=True)
class Step:
    name: str
    begin: Callable[[Environment, str], Any]
    """Prepares the step before the fault, with a key of its own."""
    event: Callable[[Environment, Any], dict[str, Any]]
    is_done: Callable[[Environment, Any, Outcome], bool]
    function: str
    retry_seconds: float = 1
    """Seconds until the function is asked again."""
    is_slow: bool = False
    """True if only the full matrix strikes it with faults; `make test` runs it once, without any."""
    seconds: float = 600
    """Timeout of the function in seconds."""
    may_be_taken: bool = False
    """True if the key may stay taken for its own client: a call that reserved it lost its answer."""

    def __str__(self) -> str:
        return f"{self.function}: {self.name}"

    def judge(self, environment: Environment, given: Any, outcome: Outcome) -> None:
        """Check the answer while the fault lasts."""
        assert environment.unexpected == []
        if self.function in ("cleanup", "rotate"):
            assert outcome.error is None or is_an_outage(outcome.error), repr(outcome.error)
        elif self.function == "merge":
            assert outcome.error is None, repr(outcome.error)
            [record] = self.event(environment, given)["Records"]
            failed = outcome.answer["batchItemFailures"]
            assert failed in ([], [{"itemIdentifier": record["messageId"]}])
        else:
            assert outcome.error is None, repr(outcome.error)
            is_refused = outcome.status == TRY_AGAIN or (self.may_be_taken and outcome.status == 409)
            assert is_refused or is_broken_off(outcome) or self.is_done(environment, given, outcome), (
                f"{outcome.status} {outcome.body[:300]!r}"
            )


def is_broken_off(outcome: Outcome) -> bool:
    """Return whether Mangum reported an answer that ended before its last byte; our refusals have a dialect."""
    return outcome.status == 500 and outcome.body == b"Internal Server Error"


def answered(status: int) -> Callable[[Environment, Any, Outcome], bool]:
    return lambda _, __, outcome: outcome.status == status


def cold_start(function: str, begin: Callable[[Environment, str], Any]) -> Callable[[Environment, str], Any]:
    """Start a process that first asks for the tables' schema; an error in that must not stay."""

    def start(environment: Environment, key: str) -> Any:
        given = begin(environment, key)
        # No release has noted it yet.
        environment.clients.dynamodb.delete_item(
            TableName=environment.resources.refs["ArchivesTable"], Key={"archive_id": {"S": "schema"}}
        )
        environment.restart(function)
        return given

    return start

"""What a check is, and how one is run: whatever it meets becomes one result."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from actions_cache_cli.deployment_check.context import Context
from actions_cache_cli.deployment_check.verdicts import Failed, Skipped
from actions_cache_cli.deployment_check.wire import NoAnswer
from actions_cache_cli.doctor.finding import one_line


class Outcome(StrEnum):
    OK = "ok"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so."""

    title: str
    """A sentence that is true of a good deployment."""
    look: Callable[[Context], str]
    """Returns what it saw. Raises Failed, Skipped or NoAnswer; leaves in the context what later checks need."""


@dataclass(frozen=True, slots=True)
class Result:
    title: str
    outcome: Outcome
    detail: str
    """What was seen; of a failure also what it means and what to do. One line."""


def run(check: Check, context: Context) -> Result:
    """Raises nothing: a fault of the check's own must not hide the checks after it."""
    try:
        outcome, detail = Outcome.OK, check.look(context)
    except Skipped as skipped:
        outcome, detail = Outcome.SKIP, str(skipped)
    except (Failed, NoAnswer) as failed:
        outcome, detail = Outcome.FAIL, str(failed)
    except Exception as fault:  # noqa: BLE001 - see above
        detail = f"this check itself failed, so it proves nothing: {fault!r}; please report it with this line"
        outcome = Outcome.FAIL
    return Result(check.title, outcome, one_line(detail))

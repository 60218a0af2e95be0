"""The schedule's runs never overlap, and one that fails doesn't end the schedule."""

from typing import Any

import pytest

from dev.local.scheduler import event_of, run_once, seconds_until_next
from dev.local.template import Template


@pytest.mark.parametrize(
    ("now", "seconds"),
    [(0, 30), (1, 29), (29, 1), (30, 30), (59, 1), (61, 29)],
    ids=["first", "after a short run", "just in time", "on the dot", "one turn missed", "two turns missed"],
)
def test_a_run_that_outlasts_its_interval_makes_the_next_wait_for_its_turn(now: float, seconds: float):
    assert seconds_until_next(0, now, 30) == seconds


def test_a_run_that_fails_leaves_its_work_to_the_next():
    events: list[Any] = []

    def fail(event: Any) -> None:
        events.append(event)
        raise RuntimeError("not today")

    run_once(fail, {"run": 1})
    run_once(fail, {"run": 2})
    assert events == [{"run": 1}, {"run": 2}]


def test_an_input_of_the_templates_is_all_of_the_event(template: Template):
    """https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html."""
    schedules = template.functions["CleanupFunction"]["Events"]
    assert event_of(schedules["Orphans"]["Properties"], "orphans", "us-east-1") == {"find": "orphans"}
    usual = event_of(schedules["Schedule"]["Properties"], "usual", "us-east-1")
    assert (usual["detail-type"], usual["resources"][0].rpartition("/")[2]) == ("Scheduled Event", "usual")

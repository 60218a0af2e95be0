"""Each function of the template runs in the process that its events ask for."""

from typing import Any

import pytest

from dev.local.function_processes import Functions, rate_seconds
from dev.local.resources import Resources
from dev.local.template import Template


@pytest.fixture
def functions(template: Template) -> Functions:
    refs = {"MergeQueue": "the-queue", "EdgeSecrets.Arn": "the-store"}
    resources = Resources(template, refs, tables_are_new=False)
    return Functions(resources, {}, {}, lifeline=3)


def test_every_function_runs_somewhere(template: Template, functions: Functions):
    kinds: dict[str, Any] = {
        "Api": functions.server(4),
        "SQS": [*functions.workers(1)],
        "ScheduleV2": [*functions.schedules(1)],
    }
    asked_for = {event["Type"] for it in template.functions.values() for event in it["Events"].values()}
    assert {kind for kind, processes in kinds.items() if processes} == asked_for


@pytest.mark.parametrize("count", [0, 1, 3])
def test_there_are_as_many_merge_workers_as_wanted(functions: Functions, count: int):
    workers = list(functions.workers(count))
    assert [worker.name for worker in workers] == [f"merge worker {number}" for number in range(1, count + 1)]
    assert {worker.options["queue-url"] for worker in workers} <= {"the-queue"}


def test_cleanup_goes_by_the_interval_of_the_local_run_and_rotation_by_the_templates(functions: Functions):
    schedules = {schedule.name: schedule.options["interval"] for schedule in functions.schedules(30)}
    assert schedules == {"cleanup schedule": 30, "cleanup orphans": 12 * 3600, "rotate schedule": 6 * 3600}


def test_the_bucket_is_listed_more_often_where_the_local_run_is_told_to(functions: Functions):
    schedules = {schedule.name: schedule.options["interval"] for schedule in functions.schedules(30, 5)}
    assert schedules == {"cleanup schedule": 30, "cleanup orphans": 5, "rotate schedule": 6 * 3600}


def test_the_edge_is_told_the_secret_as_cloudformation_has_it_done(functions: Functions):
    [custom_resource] = functions.custom_resources()
    assert custom_resource.options["function"] == "RotateFunction"


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [("rate(1 hour)", 3600), ("rate(5 minutes)", 300), ({"Fn::Sub": "rate(${X} minutes)"}, None)],
)
def test_a_rate_that_a_parameter_says_is_no_rate_of_the_templates(expression: Any, seconds: float | None):
    assert rate_seconds(expression) == seconds


def test_only_the_server_gets_the_listening_socket(functions: Functions):
    assert functions.server(4).passed == [4]
    assert functions.server(4, 5).passed == [4, 5]
    assert all(not process.passed for process in (*functions.workers(1), *functions.schedules(1)))

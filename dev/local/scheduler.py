"""Stands in for EventBridge Scheduler: invokes a function at a fixed interval, one run at a time."""

import argparse
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import boto3

from dev.local.events import schedule_event
from dev.local.execution import Execution, Stop
from dev.local.template import Template

logger = logging.getLogger(__name__)


def run_once(invoke: Callable[[Mapping[str, Any]], Any], event: Mapping[str, Any]) -> None:
    """A run that fails leaves its work to the next one."""
    try:
        invoke(event)
    except Exception:
        logger.exception("the run failed")


def event_of(properties: Mapping[str, Any], schedule: str, region: str) -> dict[str, Any]:
    """What the function gets: the event's own Input alone, where the template gives it one.

    Args:
        properties: of a ScheduleV2 event.
        schedule: its name.
        region: where it fires.
    """
    if "Input" not in properties:
        return schedule_event(schedule, region)
    chosen: dict[str, Any] = json.loads(properties["Input"])
    return chosen


def seconds_until_next(started_at: float, now: float, interval_seconds: float) -> float:
    """Whole intervals after the last start: a run that takes longer than one makes the next wait for its turn."""
    return interval_seconds - (now - started_at) % interval_seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.local.scheduler")
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--function", required=True, help="logical id")
    parser.add_argument("--event", required=True, help="name of its event in the template")
    parser.add_argument("--interval", type=float, required=True, help="seconds")
    options = parser.parse_args()

    stop = Stop(options.lifeline)
    region = boto3.Session().region_name
    template = Template.load()
    properties = template.functions[options.function]["Events"][options.event]["Properties"]
    invoke = Execution(template, options.function, region, stop)
    started_at = time.monotonic()
    while not stop.requested:
        stop.wait(seconds_until_next(started_at, time.monotonic(), options.interval))
        if not stop.requested:
            run_once(invoke, event_of(properties, f"{options.function}{options.event}", region))


if __name__ == "__main__":
    main()

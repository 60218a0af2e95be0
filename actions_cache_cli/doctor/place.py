"""Where the doctor runs: on a runner's machine, in a `run:` step, in an action, in a container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from actions_cache_cli.doctor.finding import Finding, ok, unknown

HOST = "on the machine, in no job"
RUN_STEP = "in a run: step"
ACTION = "in a job, with an action's variables"

CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")
JOB_VARIABLES = ("ACTIONS_RESULTS_URL", "ACTIONS_RUNTIME_TOKEN")

HOW_IN_A_JOB = (
    "a job's variables go to actions and not to run: steps, so run it by actions/github-script: "
    "await exec.exec('python3', ['doctor.pyz'])"
)


@dataclass(frozen=True)
class Place:
    kind: str
    """HOST, RUN_STEP or ACTION."""
    is_container: bool
    is_container_job: bool
    """True if the runner made the container for the job or the action, and so is outside."""


def find_place(variables: Mapping[str, str], *, is_container: bool) -> Place:
    """Which of the three, by what the runner sets.

    It mounts a container job's work directory at /__w, and a container action's at /github/workspace
    (actions/runner: ContainerInfo and ContainerActionHandler); a runner in a pod has its own.
    """
    if any(variables.get(name) for name in JOB_VARIABLES):
        kind = ACTION
    else:
        kind = RUN_STEP if variables.get("GITHUB_ACTIONS") == "true" else HOST
    workspace = f"{variables.get('GITHUB_WORKSPACE', '')}/"
    made_by_runner = kind != HOST and workspace.startswith(("/__w/", "/github/workspace/"))
    return Place(kind, is_container, made_by_runner)


def is_container() -> bool:
    return any(Path(mark).exists() for mark in CONTAINER_MARKS)


def describe(place: Place) -> Finding:
    title = "where this runs"
    inside = ""
    if place.is_container_job:
        inside = (
            "; in a container that the runner made: the machine's NODE_OPTIONS and the runner's .env don't come in "
            "here (docs/runners.md, container jobs)"
        )
    elif place.is_container:
        # A failed connection (reach.py) explains what 127.0.0.1 means in a container; elsewhere it does no harm.
        inside = "; in a container"
    if place.kind == RUN_STEP:
        return unknown(title, f"{place.kind}{inside}; {HOW_IN_A_JOB}")
    if place.kind == HOST:
        return ok(title, f"{place.kind}{inside}; what jobs get is foreseen from the runner's files and variables")
    return ok(title, f"{place.kind}{inside}")

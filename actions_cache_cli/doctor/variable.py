"""Checks whether jobs will be told of the server: what ACTIONS_RESULTS_URL is in an action, or will be, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from actions_cache_cli.doctor.address import Address, NotAUrl, read_address
from actions_cache_cli.doctor.finding import Finding, ok, trouble, unknown
from actions_cache_cli.doctor.hook import read_settings, url_fault
from actions_cache_cli.doctor.place import ACTION, HOW_IN_A_JOB, RUN_STEP, Place
from actions_cache_cli.doctor.runner import Runner

TITLE = "what jobs are told"
VARIABLE = "ACTIONS_RESULTS_URL"
CUSTOM = "CUSTOM_ACTIONS_RESULTS_URL"
GITHUBS = "https://results-receiver.actions.githubusercontent.com/"
"""What the runner gives an action, and what a hook is tried with where there is no action."""

WAYS = "docs/runners.md has the ways that work"


def hook_of(variables: Mapping[str, str]) -> str | None:
    """Return the file that NODE_OPTIONS loads first."""
    found = re.search(r"(?:--require|-r|--import)[ =](\"[^\"]+\"|\S+)", variables.get("NODE_OPTIONS", ""))
    return found[1].strip('"') if found else None


@dataclass(frozen=True)
class Seen:
    """What is known of the variable."""

    place: Place
    variables: Mapping[str, str]
    """The job's, or those that the runner would start one with."""
    server: Address | None
    """The expected one; None where nobody said."""
    by_node: str | None = None
    """The variable in node's processes; where there is no action, after it was GITHUBS. None: no node, or unset."""
    node_fault: str | None = None
    has_node: bool = False
    runner: Runner | None = None

    @property
    def hook(self) -> str | None:
        return hook_of(self.variables)

    @property
    def custom(self) -> str:
        return self.variables.get(CUSTOM, "")


def judge_variable(seen: Seen) -> list[Finding]:
    if seen.node_fault is not None:
        blame = f"; NODE_OPTIONS is {seen.variables['NODE_OPTIONS']}" if seen.variables.get("NODE_OPTIONS") else ""
        return [trouble(TITLE, f"no action can start, since node doesn't: {seen.node_fault}{blame}")]
    return _in_an_action(seen) if seen.place.kind == ACTION else [_foreseen(seen)]


def _in_an_action(seen: Seen) -> list[Finding]:
    here = seen.variables.get(VARIABLE, "")
    told = (seen.by_node or "") if seen.has_node else here
    if not told:
        return [
            trouble(TITLE, f"{VARIABLE} isn't set, so clients find no cache; is this an action's environment? {WAYS}")
        ]
    try:
        address = read_address(told)
    except NotAUrl as fault:
        return [trouble(TITLE, f"{VARIABLE} leads nowhere: {fault}")]
    if not _leads_there(address, seen.server):
        return [_led_away(seen, address)]
    if here == told:
        by = "here and in node's processes" if seen.has_node else "here; there is no node to see what actions get"
        known = "" if seen.server else "; with --url=https://HOST/ it is compared with what it should be"
        return [ok(TITLE, f"{VARIABLE} is {told}, {by}{known}")]
    return [
        ok(TITLE, f"{VARIABLE} is {told} in node's processes, by the hook {seen.hook or 'in NODE_OPTIONS'}"),
        trouble(
            "what isn't node",
            f"{VARIABLE} is {here or 'unset'} here: a program that no action starts, as sccache or buildx in a run: "
            f"step, doesn't reach the server; let an action export the variable (docs/runners.md)",
        ),
    ]


def _leads_there(address: Address, server: Address | None) -> bool:
    return not address.is_githubs if server is None else address.base == server.base


def _led_away(seen: Seen, address: Address) -> Finding:
    instead = f", not {seen.server.base}" if seen.server else ""
    what = "GitHub's own" if address.is_githubs else address.base
    said = f"{VARIABLE} is {what}{instead}: "
    if not address.is_githubs:
        return trouble(TITLE, f"{said}another server, or another name of this one; give the runner the expected URL")
    if seen.place.is_container_job:
        return trouble(
            TITLE,
            f"{said}the runner overwrote it, and in a container job neither its NODE_OPTIONS nor its .env count; give "
            "the job's container the hook and its variables (docs/runners.md, container jobs)",
        )
    return trouble(TITLE, f"{said}the runner overwrote it. {_why_not(seen)}")


def _why_not(seen: Seen) -> str:
    """Which of the ways was tried, and why it does nothing."""
    worker = seen.runner.worker if seen.runner else None
    if seen.hook:
        return f"NODE_OPTIONS loads {seen.hook}, but it changed nothing{_what_a_hook_lacks(seen)}"
    if seen.custom and worker and worker.honours_custom:
        return f"{CUSTOM} is set here, but not where the runner was started; put it into its .env and restart it"
    if seen.custom:
        return (
            f"{CUSTOM} is set, but this runner ignores it: its program lacks the patch (some images of the fork did, "
            f"and self-update replaces a patched one: --disableupdate); use the hook instead, {WAYS}"
        )
    if seen.place.kind == ACTION and seen.variables.get("GITHUB_WORKFLOW_REF"):
        return f"A workflow's env: can't set it; {WAYS}"
    return f"Nothing here changes that; {WAYS}"


def _what_a_hook_lacks(seen: Seen) -> str:
    """Return what the project's own hook lacks."""
    settings = read_settings(seen.hook)
    if settings is not None:
        return f"; {settings.path} is beside it, and {settings.fault}" if settings.fault else ""
    if not seen.custom:
        return f"; there is no hook.json beside it to name the URL, and {CUSTOM} isn't set either"
    fault = url_fault(seen.custom)
    return f"; {CUSTOM}: {fault}" if fault else ""


def _foreseen(seen: Seen) -> Finding:
    """Where there is no action to look at: what the runner will tell one."""
    worker = seen.runner.worker if seen.runner else None
    if seen.has_node and seen.by_node and seen.by_node != GITHUBS:
        return _by(seen, seen.by_node, f"the hook {seen.hook or 'in NODE_OPTIONS'} rewrites it in node's processes")
    if seen.custom and worker and worker.honours_custom:
        return _by(seen, seen.custom, f"this runner's program honours {CUSTOM}")
    if worker and not worker.overwrites:
        own = seen.variables.get(VARIABLE) or ""
        if not own:
            return trouble(
                TITLE, f"this runner's program leaves {VARIABLE} alone, and nothing sets it: put it into .env"
            )
        return _by(seen, own, f"this runner's program leaves {VARIABLE} alone")
    if worker or seen.hook:
        return trouble(TITLE, f"the runner will set {VARIABLE} to GitHub's own. {_why_not(seen)}")
    outside = "name the runner's directory by --runner, or run this in a job"
    more = HOW_IN_A_JOB if seen.place.kind == RUN_STEP else outside
    without = "" if seen.has_node else "; there is no node here either, to see what a hook does"
    return unknown(TITLE, f"no runner's program is to be seen here{without}; {more}")


def _by(seen: Seen, url: str, how: str) -> Finding:
    try:
        address = read_address(url)
    except NotAUrl as fault:
        return trouble(TITLE, f"{how}, but to what leads nowhere: {fault}")
    if _leads_there(address, seen.server):
        return ok(TITLE, f"actions get {url}: {how}")
    return trouble(TITLE, f"actions get {url}, not {seen.server.base if seen.server else 'a cache server'}: {how}")

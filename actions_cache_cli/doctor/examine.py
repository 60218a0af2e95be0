"""The examination: from the job's variables to the saved byte, each step only where the ones before allow it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from actions_cache_cli.doctor import node
from actions_cache_cli.doctor.address import Address, NotAUrl, judge_url, read_address
from actions_cache_cli.doctor.clients import judge_mode, judge_version, judge_way, proxy_for, uses_v1
from actions_cache_cli.doctor.finding import TROUBLE, Finding, trouble, unknown
from actions_cache_cli.doctor.hook import judge_files, read_settings
from actions_cache_cli.doctor.journey import Journey, not_tried
from actions_cache_cli.doctor.place import ACTION, HOST, Place, describe
from actions_cache_cli.doctor.reach import EXTRA, judge_certificates, judge_connection, system_fault, trust
from actions_cache_cli.doctor.runner import Runner, node_programs
from actions_cache_cli.doctor.server import ARTIFACTS, judge_clock, judge_dialect, judge_health, judge_others
from actions_cache_cli.doctor.token import judge_token, read_token
from actions_cache_cli.doctor.variable import CUSTOM, GITHUBS, VARIABLE, Seen, hook_of, judge_variable
from actions_cache_cli.doctor.wire import NoAnswer, Wire, explain_fault


@dataclass(frozen=True)
class Case:
    """Who is examined.

    Args:
        variables: this process's.
        url: the expected server's, where it was given.
        writes: whether something small may be saved.
    """

    variables: Mapping[str, str]
    place: Place
    runner: Runner | None = None
    url: str | None = None
    writes: bool = False


@dataclass(frozen=True)
class _Job:
    """The variables as an action has them, or would have them, and what of it is known through node."""

    variables: dict[str, str]
    program: Path | None
    view: node.NodeView | None
    fault: str | None


def examine(case: Case) -> Iterator[Finding]:
    yield describe(case.place)
    try:
        expected = _address(case.url) or _address(_named(case))
    except NotAUrl as fault:
        yield trouble("the URL", str(fault))
        return
    job = _look_through_node(case)
    seen = _seen(case, job, expected)
    yield from judge_variable(seen)
    env = case.runner.directory / ".env" if case.runner else None
    files = judge_files(seen.hook, env if env and env.is_file() else None)
    if files is not None and not case.place.is_container_job:
        yield files
    if case.place.kind == ACTION:
        yield from _judge_job(job, expected)
    try:
        server = expected or _address(job.variables.get(VARIABLE))
    except NotAUrl:
        return
    if server is None:
        yield trouble("the URL", "no server to ask: say which by --url=https://HOST/")
        return
    # What jobs are told counts, not what the doctor was: there a missing slash does harm.
    yield judge_url(_told_or(server, job))
    yield from _ask(case, job, server)


def _ask(case: Case, job: _Job, server: Address) -> Iterator[Finding]:
    way = judge_way(server, job.variables)
    if way is not None:
        yield way
    reached = list(_reach(case, job, server))
    yield from reached
    if any(finding.title == "connection" and finding.state == TROUBLE for finding in reached):
        yield unknown("server", "not asked, since it can't be reached")
        return
    wire = Wire(job.variables, trust(job.variables))
    token = job.variables.get("ACTIONS_RUNTIME_TOKEN", "")
    try:
        health = wire.ask("GET", f"{server.base}/health")
        yield judge_health(health)
        yield judge_clock(health)
        anonymous = Journey(wire, server, "").ask("GetCacheEntryDownloadURL", {"key": "none"})
        dialect = judge_dialect(anonymous)
        yield dialect
        # A stranger must not get the token.
        shown = token if dialect.state != TROUBLE else ""
        authorization = {"Authorization": f"Bearer {shown}"} if shown else {}
        headers = {"Content-Type": "application/json", **authorization}
        yield judge_others(wire.ask("POST", f"{server.base}{ARTIFACTS}", b"{}", headers), with_token=bool(shown))
    except NoAnswer as fault:
        yield trouble("server", str(fault))
        return
    yield from _with_token(case, Journey(wire, server, token), is_ours=dialect.state != TROUBLE)


def _with_token(case: Case, journey: Journey, *, is_ours: bool) -> Iterator[Finding]:
    token = read_token(journey.token, time.time()) if journey.token else None
    verdict = judge_token(token)
    yield verdict
    if token is None:
        return
    if not is_ours:
        yield unknown("lookup", "the token isn't sent to what isn't a cache server")
        return
    looked_up = journey.judge_lookup()
    yield looked_up
    yield journey.judge_lookup_by_v1(is_used=uses_v1(case.variables))
    if not case.writes:
        yield not_tried("not asked for; with --write a small entry is saved and restored")
    elif looked_up.state == TROUBLE:
        yield not_tried("not tried, since the lookup fails")
    elif not token.writable:
        yield not_tried("not tried, since the token may write no scope")
    else:
        yield journey.judge_save()


def _reach(case: Case, job: _Job, server: Address) -> Iterator[Finding]:
    """Straight to it; through a proxy there is nothing to be seen of it but its answers."""
    if proxy_for(server, job.variables):
        return
    connection = judge_connection(server, is_container=case.place.is_container)
    yield connection
    if connection.state == TROUBLE or not server.is_tls:
        return
    try:
        system = system_fault(server)
    except OSError as fault:
        yield trouble("connection", explain_fault(fault, server))
        return
    yield from judge_certificates(server, system, _tls_by_node(job, server), job.variables.get(EXTRA, ""))


def _tls_by_node(job: _Job, server: Address) -> node.TlsView | None:
    if job.program is None:
        return None
    try:
        return node.view_tls(job.program, job.variables, server.host, server.port)
    except node.NodeFailed:
        # Said already: no action can start.
        return None


def _started_with(case: Case) -> dict[str, str]:
    """What the runner starts jobs with: its .env overrides what it was started with itself."""
    if case.place.kind == HOST and case.runner is not None:
        return {**case.variables, **case.runner.env}
    return dict(case.variables)


def _named(case: Case) -> str | None:
    """Return the URL that the machine names: in the file beside the hook or, without that file, in the variable."""
    variables = _started_with(case)
    settings = read_settings(hook_of(variables))
    return settings.url if settings is not None else variables.get(CUSTOM)


def _look_through_node(case: Case) -> _Job:
    variables = _started_with(case)
    given = variables if case.place.kind == ACTION else {**variables, VARIABLE: GITHUBS}
    program = node.find_node(node_programs(case.runner), variables)
    if program is None:
        return _Job(variables, None, None, None)
    try:
        view = node.view(program, given)
    except node.NodeFailed as fault:
        return _Job(variables, program, None, str(fault))
    return _Job(view.changed(variables) if case.place.kind == ACTION else variables, program, view, None)


def _seen(case: Case, job: _Job, expected: Address | None) -> Seen:
    return Seen(
        place=case.place,
        variables=_started_with(case),
        server=expected,
        by_node=job.view.results_url if job.view else None,
        node_fault=job.fault,
        has_node=job.view is not None,
        runner=case.runner,
    )


def _judge_job(job: _Job, expected: Address | None) -> Iterator[Finding]:
    yield judge_version(job.variables, expected)
    mode = judge_mode(job.variables)
    if mode is not None:
        yield mode


def _told_or(server: Address, job: _Job) -> Address:
    """The server by the URL that jobs are told, where that leads to it."""
    for name in (VARIABLE, CUSTOM):
        try:
            told = _address(job.variables.get(name))
        except NotAUrl:
            continue
        if told is not None and told.base == server.base:
            return told
    return server


def _address(url: str | None) -> Address | None:
    """Raises: NotAUrl."""
    return read_address(url) if url else None

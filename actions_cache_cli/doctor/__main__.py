"""The command `actions-cache-doctor`.

Exit codes: 0: no trouble. 1: trouble was found. 2: could not run (the reason is on stderr). 130: Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from actions_cache_cli.doctor import VERSION
from actions_cache_cli.doctor.address import TO_DO, Address, NoAnswer, NotAUrl, proxy_for, read_address
from actions_cache_cli.doctor.job import (
    CUSTOM,
    GITHUBS,
    VARIABLE,
    WRITE_URL,
    Seen,
    judge_mode,
    judge_token,
    judge_url,
    judge_variable,
    judge_version,
    judge_way,
    read_token,
    uses_v1,
)
from actions_cache_cli.doctor.probe import Client, Limits
from actions_cache_cli.doctor.report import OK, TROUBLE, UNKNOWN, WARNING, Finding, as_json, trouble, unknown
from actions_cache_cli.doctor.runner import (
    ACTION,
    HOST,
    NodeFailed,
    NodeView,
    Place,
    Runner,
    TlsView,
    describe,
    find_node,
    find_place,
    find_runner,
    hook_of,
    is_container,
    judge_files,
    judge_mode_of_hook,
    node_programs,
    read_settings,
    sums_of_hook,
    view_tls,
    view_variables,
)
from actions_cache_cli.doctor.server import (
    ARTIFACTS,
    EXTRA,
    Trial,
    judge_certificates,
    judge_clock,
    judge_connection,
    judge_dialect,
    judge_health,
    judge_others,
    judge_sums,
    new_job,
    not_tried,
    system_error,
    trust,
)

INTERRUPTED, UNREAD = 130, 141
ERASE_LINE = "\r\x1b[K"
LIMITS = Limits(silence_seconds=35, transfer_seconds=60, max_bytes=4 * 1024 * 1024)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argument_parser()
    options = parser.parse_args(arguments)
    try:
        _address(options.url)
    except NotAUrl as error:
        parser.error(f"--url: {error}")
    variables = dict(os.environ)
    place = find_place(variables, is_container=is_container())
    case = Case(variables, place, find_runner(variables, options.runner), options.url, options.write)
    found: list[Finding] = []
    code = 0
    try:
        gather(case, found)
        code = 1 if count(found, TROUBLE) else 0
    except KeyboardInterrupt:
        # What was seen before a silent server says something too.
        sys.stderr.write("stopped\n")
        code = INTERRUPTED
    try:
        shown = as_json(_document(found)) if options.json else report(found, tells_all=options.verbose)
        print(shown, flush=True)
    except BrokenPipeError:
        # Whoever read the lines has read enough; Python would try to flush the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    return code


def gather(case: Case, found: list[Finding]) -> None:
    """Add all findings; a terminal shows meanwhile how far it is, since a silent server takes half a minute."""
    shows = sys.stderr.isatty()
    try:
        for finding in examine(case):
            found.append(finding)
            if shows:
                sys.stderr.write(f"{ERASE_LINE}looked at: {finding.title}")
                sys.stderr.flush()
    finally:
        if shows:
            sys.stderr.write(ERASE_LINE)


def report(found: Sequence[Finding], *, tells_all: bool) -> str:
    """Return a report, each of whose lines is broken between words only on a terminal.

    Args:
        found: The findings.
        tells_all: Whether each that is well gets a line too.
    """
    lines = list(report_lines(found, tells_all=tells_all))
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        wrapper = textwrap.TextWrapper(
            width, subsequent_indent=" " * 11, break_long_words=False, break_on_hyphens=False
        )
        lines = [wrapper.fill(line) for line in lines]
    return "\n".join(lines)


def report_lines(found: Sequence[Finding], *, tells_all: bool) -> Iterator[str]:
    """Return trouble first, then warnings and what can't be told, then how many are well."""
    for state in (TROUBLE, WARNING, UNKNOWN, *([OK] if tells_all else [])):
        for finding in found:
            if finding.state == state:
                yield f"{finding.state:<10} {finding.title}: {finding.detail}"
                if finding.to_do:
                    yield f"{'':<10} to do: {finding.to_do}"
    yield f"{summary(found)}{'' if tells_all else '; -v shows what is well'}"


def command() -> NoReturn:
    """Run the command and exit with its code, which the program that zipapp makes would drop."""
    sys.exit(main())


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="actions-cache-doctor",
        description="Says whether the jobs of this runner will reach the cache server, and if not why. Run it on the "
        "runner's machine, or in a job through an action (docs/use/runners.md).",
    )
    parser.add_argument("--url", help="the server that jobs should reach; default: the one that jobs are told")
    parser.add_argument("--write", action="store_true", help="save and restore 64 KiB, which stay until cleanup")
    parser.add_argument("--runner", metavar="DIR", help="the runner's directory; default: the usual places")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what is well too")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {VERSION}", help="the version of this program"
    )
    return parser


def count(found: Sequence[Finding], state: str) -> int:
    return sum(finding.state == state for finding in found)


def summary(found: Sequence[Finding]) -> str:
    """Return the verdict: trouble, or that jobs reach the server, or that this can't be told."""
    troubles, warnings, unknowns = (count(found, state) for state in (TROUBLE, WARNING, UNKNOWN))
    verdict = f"{troubles} in trouble" if troubles else "no trouble found"
    warned = f", {warnings} with a warning" if warnings else ""
    open_ones = f", {unknowns} can't be told" if unknowns else ""
    return f"{verdict}: {count(found, OK)} of {len(found)} are well{warned}{open_ones}"


def _document(found: Sequence[Finding]) -> dict[str, object]:
    rows = [{"title": row.title, "state": row.state, "detail": row.detail, "to_do": row.to_do} for row in found]
    return {"trouble": bool(count(found, TROUBLE)), "findings": rows}


# ---------------------------------------------------------------- the examination


@dataclass(frozen=True)
class Case:
    """One case to examine.

    Args:
        variables: This process's variables.
        place: Where the doctor runs.
        runner: The runner's installation, if it was found.
        url: The expected server's URL, if it was given.
        writes: Whether something small may be saved.
    """

    variables: Mapping[str, str]
    place: Place
    runner: Runner | None = None
    url: str | None = None
    writes: bool = False


@dataclass(frozen=True)
class _Job:
    """Holds the variables as an action has them, or would have them, and what node shows of them."""

    variables: dict[str, str]
    program: Path | None
    view: NodeView | None
    error: str | None


def examine(case: Case) -> Iterator[Finding]:
    """Examine everything from the job's variables to the saved byte, each step only if the ones before allow it."""
    yield describe(case.place)
    try:
        expected = _address(case.url) or _address(_named(case))
    except NotAUrl as error:
        yield trouble("the URL", str(error), WRITE_URL)
        return
    job = _look_through_node(case)
    seen = _seen(case, job, expected)
    yield from judge_variable(seen)
    env = case.runner.directory / ".env" if case.runner else None
    files = judge_files(seen.hook, env if env and env.is_file() else None)
    if files is not None and not case.place.is_container_job:
        yield files
    mode_of_hook = judge_mode_of_hook(seen.hook)
    if mode_of_hook is not None:
        yield mode_of_hook
    if case.place.kind == ACTION:
        yield judge_version(job.variables, expected)
        mode = judge_mode(job.variables)
        if mode is not None:
            yield mode
    try:
        server = expected or _address(job.variables.get(VARIABLE))
    except NotAUrl:
        return
    if server is None:
        yield trouble("the URL", "nothing here names a server", "say which by --url=https://HOST/")
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
    client = Client(LIMITS, job.variables, trust(job.variables), "actions-cache-doctor")
    token = job.variables.get("ACTIONS_RUNTIME_TOKEN", "")
    try:
        health = client.ask("GET", f"{server.base}/health")
        yield judge_health(health)
        yield judge_clock(health)
        if sums := sums_of_hook(hook_of(_started_with(case))):
            served = {name: client.ask("GET", f"{server.base}/runner/{name}.sha256") for name in sums}
            yield judge_sums(sums, served)
        dialect = judge_dialect(new_job(client, server, "").call("GetCacheEntryDownloadURL", {"key": "none"}))
        yield dialect
        # A stranger must not get the token.
        shown = token if dialect.state != TROUBLE else ""
        headers = {"Content-Type": "application/json", **new_job(client, server, shown).authorization}
        yield judge_others(client.ask("POST", f"{server.base}{ARTIFACTS}", b"{}", headers), with_token=bool(shown))
    except NoAnswer as error:
        yield trouble("server", str(error), TO_DO[error.kind])
        return
    yield from _with_token(case, Trial.of(new_job(client, server, token)), is_ours=dialect.state != TROUBLE)


def _with_token(case: Case, trial: Trial, *, is_ours: bool) -> Iterator[Finding]:
    token = read_token(trial.job.token, time.time()) if trial.job.token else None
    yield judge_token(token)
    if token is None:
        return
    if not is_ours:
        yield unknown("lookup", "the token isn't sent to what isn't a cache server")
        return
    looked_up = trial.judge_lookup()
    yield looked_up
    yield trial.judge_lookup_by_v1(is_used=uses_v1(case.variables))
    if not case.writes:
        yield not_tried("not asked for; with --write a small entry is saved and restored")
    elif looked_up.state == TROUBLE:
        yield not_tried("not tried, since the lookup fails")
    elif not token.writable:
        yield not_tried("not tried, since the token may write no scope")
    else:
        yield trial.judge_save()


def _reach(case: Case, job: _Job, server: Address) -> Iterator[Finding]:
    """Judge the straight way to the server; through a proxy nothing but its answers can be seen."""
    if proxy_for(server, job.variables):
        return
    connection = judge_connection(server, is_container=case.place.is_container)
    yield connection
    if connection.state == TROUBLE or not server.is_tls:
        return
    try:
        system = system_error(server)
    except NoAnswer as error:
        yield trouble("connection", str(error), TO_DO[error.kind])
        return
    yield from judge_certificates(server, system, _tls_by_node(job, server), job.variables.get(EXTRA, ""))


def _tls_by_node(job: _Job, server: Address) -> TlsView | None:
    if job.program is None:
        return None
    try:
        return view_tls(job.program, job.variables, server.host, server.port)
    except NodeFailed:
        # Said already: no action can start.
        return None


def _started_with(case: Case) -> dict[str, str]:
    """Return the variables that the runner starts jobs with: its .env overrides those it was started with itself."""
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
    # The hook acts only where there is a token too.
    an_actions = {VARIABLE: GITHUBS, "ACTIONS_RUNTIME_TOKEN": "none"}
    given = variables if case.place.kind == ACTION else {**variables, **an_actions}
    program = find_node(node_programs(case.runner), variables)
    if program is None:
        return _Job(variables, None, None, None)
    try:
        view = view_variables(program, given)
    except NodeFailed as error:
        return _Job(variables, program, None, str(error))
    return _Job(view.changed(variables) if case.place.kind == ACTION else variables, program, view, None)


def _seen(case: Case, job: _Job, expected: Address | None) -> Seen:
    return Seen(
        place=case.place,
        variables=_started_with(case),
        server=expected,
        by_node=job.view.results_url if job.view else None,
        node_error=job.error,
        has_node=job.view is not None,
        runner=case.runner,
    )


def _told_or(server: Address, job: _Job) -> Address:
    """Return the server by the URL that jobs are told, if that leads to it."""
    for name in (VARIABLE, CUSTOM):
        try:
            named = _address(job.variables.get(name))
        except NotAUrl:
            continue
        if named is not None and named.base == server.base:
            return named
    return server


def _address(url: str | None) -> Address | None:
    return read_address(url) if url else None


if __name__ == "__main__":
    command()

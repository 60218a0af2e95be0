"""The command. Exit code 1 where there is trouble, else 0."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from actions_cache_cli.doctor.examine import Case, examine
from actions_cache_cli.doctor.finding import OK, TROUBLE, UNKNOWN, WARNING, Finding
from actions_cache_cli.doctor.place import find_place, is_container
from actions_cache_cli.doctor.printable import as_json as document
from actions_cache_cli.doctor.runner import find_runner

INTERRUPTED = 130


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="actions-cache-doctor",
        description="Says whether the jobs of this runner will reach the cache server, and if not why. Run it on the "
        "runner's machine, or in a job through an action (docs/runners.md).",
    )
    parser.add_argument("--url", help="the server that jobs should reach; default: what jobs are told")
    parser.add_argument("--write", action="store_true", help="save and restore 64 KiB, which stay until cleanup")
    parser.add_argument("--runner", metavar="DIR", help="the runner's directory; default: the usual places")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    variables = dict(os.environ)
    place = find_place(variables, is_container=is_container())
    case = Case(variables, place, find_runner(variables, options.runner), options.url, options.write)
    found = []
    try:
        for finding in examine(case):
            found.append(finding)
            if not options.json:
                print(f"{finding.state:<10} {finding.title}: {finding.detail}", flush=True)
        print(as_json(found) if options.json else f"\n{summary(found)}", flush=True)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the lines has read enough; Python would try to flush the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1 if count(found, TROUBLE) else 0


def count(found: Sequence[Finding], state: str) -> int:
    return sum(finding.state == state for finding in found)


def summary(found: Sequence[Finding]) -> str:
    troubles, warnings, unknowns = (count(found, state) for state in (TROUBLE, WARNING, UNKNOWN))
    verdict = f"{troubles} in trouble" if troubles else "no trouble found"
    warned = f", {warnings} with a warning" if warnings else ""
    untold = f", {unknowns} can't be told" if unknowns else ""
    return f"{verdict}: {count(found, OK)} of {len(found)} are well{warned}{untold}"


def as_json(found: Sequence[Finding]) -> str:
    rows = [{"title": row.title, "state": row.state, "detail": row.detail} for row in found]
    return document({"trouble": bool(count(found, TROUBLE)), "findings": rows})


def command() -> NoReturn:
    """For the single file: what zipapp makes drops a return value."""
    sys.exit(main())


if __name__ == "__main__":
    command()

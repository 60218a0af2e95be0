"""The command. Exit code 0 only if nothing failed; 2 where nothing could be asked."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from rich.console import Console

from actions_cache_cli.deployment_check import report
from actions_cache_cli.deployment_check.address import read_address
from actions_cache_cli.deployment_check.check import Check, Result, run
from actions_cache_cli.deployment_check.checks import CHECKS
from actions_cache_cli.deployment_check.checks.edge import PROOF_BYTES
from actions_cache_cli.deployment_check.checks.large import BLOCK_BYTES
from actions_cache_cli.deployment_check.checks.streaming import FAULTY_BLOCKS, MIB
from actions_cache_cli.deployment_check.context import Context
from actions_cache_cli.deployment_check.stack import StackUnreadable, read_stack
from actions_cache_cli.deployment_check.verdicts import needed
from actions_cache_cli.doctor.address import NotAUrl
from actions_cache_cli.doctor.finding import one_line

MEGABYTE = 1_000_000
TRAFFIC_BYTES = 3 * sum(BLOCK_BYTES) + 2 * 2 * PROOF_BYTES + 2 * FAULTY_BLOCKS * MIB
"""An upload and two restores of the large entry, one of the small one, and a broken one."""

INTERRUPTED = 130


def run_all(context: Context, checks: Sequence[Check], hear: Callable[[Result], None]) -> list[Result]:
    """Every check that can still run does."""
    results = []
    for check in checks:
        result = run(check, context)
        hear(result)
        results.append(result)
    return results


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="verify_deployment", description=__doc__)
    parser.add_argument("--url", help="the runner's; default: the stack's output RunnerUrl")
    token = os.environ.get("TOKEN") or os.environ.get("ACTIONS_RUNTIME_TOKEN")
    parser.add_argument("--token", default=token, help="a job's; default: $TOKEN or $ACTIONS_RUNTIME_TOKEN")
    parser.add_argument("--stack", help="the stack's name; needs the deployer's AWS credentials and region")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    options = parser.parse_args(arguments)
    if not options.url and not options.stack:
        parser.error("say what is to be checked: URL=https://HOST/, STACK=name, or both")
    return options


def prepared(options: argparse.Namespace) -> Context:
    """Raises: NotAUrl; StackUnreadable, where the URL was to come from the stack."""
    stack, fault = None, None
    if options.stack:
        try:
            stack = read_stack(options.stack)
        except StackUnreadable as unreadable:
            if not options.url:
                raise
            fault = str(unreadable)
    return Context(read_address(options.url or needed(stack, "a URL").runner_url), options.token or None, stack, fault)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    console = Console(stderr=options.json)
    try:
        context = prepared(options)
    except (NotAUrl, StackUnreadable) as fault:
        console.print(one_line(str(fault)), style="bold red", markup=False, highlight=False, soft_wrap=True)
        return 2
    console.print(
        f"Checks {one_line(context.address.base)}: up to {TRAFFIC_BYTES / MEGABYTE:.0f} MB go over the net. Entries "
        f"called {context.name}* are saved; they expire by themselves, as all that nobody uses.\n",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    try:
        results = run_all(context, CHECKS, lambda result: None if options.json else report.show(console, result))
    except KeyboardInterrupt:
        console.print("stopped")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the lines has read enough; Python would try to flush the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if options.json:
        sys.stdout.write(report.as_json(context.address.base, results) + "\n")
    else:
        moved = (context.client.sent_bytes + context.client.received_bytes) / MEGABYTE
        console.print(f"\n{report.summary(results, moved)}", markup=False, highlight=False, soft_wrap=True)
    return 1 if report.count_failed(results) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Saves and restores at a deployment, and says in plain words what is wrong.

Exit codes: 0: nothing failed. 1: something failed. 2: nothing could be checked. 130: Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape

from actions_cache_cli.deployment_check import edge, entry, reach
from actions_cache_cli.deployment_check.check import Check, Context, Outcome, Result, needed, run
from actions_cache_cli.deployment_check.edge import MIB
from actions_cache_cli.deployment_check.stack import StackUnreadable, read_stack
from actions_cache_cli.doctor.address import NotAUrl, read_address
from actions_cache_cli.doctor.report import as_json, one_line
from actions_cache_cli.terminal import CANNOT_START, DONE, FAILED, INTERRUPTED, UNREAD, use_aws_region

CHECKS = (
    Check("the URL is one that a runner can use", reach.url),
    Check("the host's name has an address", reach.name),
    Check("the host takes connections, with a good certificate", reach.connection),
    Check("table, bucket and queue answer", reach.health),
    Check("signatures of tokens are verified", reach.tokens),
    Check("the stack can be read", reach.stack),
    Check("the account has room for it", reach.concurrency),
    Check("it is said whose jobs may come in", reach.admission),
    Check("refused jobs are known", reach.refused),
    # What was never seen on AWS, in the order of docs/design/aws-limits.md#to-prove-on-aws-first.
    Check("a block's place can be had", edge.reserve),
    Check("a block without a content hash reaches S3", edge.put_without_hash),
    Check("its answer is 201, with x-ms-request-id", edge.created_with_id),
    Check("the signature fits the rewritten path", edge.odd_block_id),
    Check("an object comes back through the edge, by x-ms-range", edge.read_object),
    Check("a small entry is saved", edge.save),
    Check("HEAD tells the length, and a stream keeps it", edge.lengths),
    Check("a fault in mid-stream breaks the connection", edge.lost_part),
    # The life of an entry.
    Check("a block over 10 MB passes", entry.upload),
    Check("altered and expired URLs are refused, in Azure's XML", entry.altered_urls),
    Check("hostile headers change nothing", entry.hostile_headers),
    Check("a block list is taken", entry.block_list),
    Check("a finalize with a wrong size is refused", entry.wrong_size),
    Check("the finalize makes the entry visible", entry.finalize),
    Check("the entry is found", entry.found),
    Check("it restores right after its save", entry.unmerged),
    Check("its parts are merged", entry.merge),
    Check("it restores from S3", entry.merged),
    Check("S3 gives ranges side by side", entry.speed),
    Check("x-ms-range is honoured", entry.seek),
    Check("an entry is saved straight into S3", entry.direct),
    Check("errors are twirp's JSON", reach.errors),
    Check("a miss is 200 with ok false", reach.miss),
    Check("a saved key can't be saved again", reach.second_create),
    Check("the clocks agree", reach.clocks),
    Check("what this check put beside entries is deleted", reach.tidy),
)
"""All checks, in the order in which they run."""

TRAFFIC_BYTES = 5 * sum(entry.BLOCK_BYTES) + 2 * 2 * edge.PROOF_BYTES + 2 * edge.BROKEN_BLOCKS * edge.MIB
"""Traffic of an upload and four restores of the large entry, of one restore of the small one, and of a broken one."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    console = Console(stderr=options.json)
    use_aws_region()
    try:
        context = prepared(options)
    except (NotAUrl, StackUnreadable) as error:
        errors = Console(stderr=True)
        errors.print(one_line(str(error)), style="bold red", markup=False, highlight=False, soft_wrap=True)
        return CANNOT_START
    console.print(
        f"Checks {one_line(context.address.base)}: up to {TRAFFIC_BYTES / MIB:.0f} MiB cross the network. Entries "
        f"called {context.name}* are saved; they expire like all that nobody uses.\n",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    try:
        results = run_all(context, CHECKS, lambda result: None if options.json else show(console, result))
    except KeyboardInterrupt:
        console.print("stopped")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the lines has read enough; Python would try to flush the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    if options.json:
        sys.stdout.write(results_as_json(context.address.base, results) + "\n")
    else:
        moved = (context.client.sent_bytes + context.client.received_bytes) / MIB
        console.print(f"\n{summary(results, moved)}", markup=False, highlight=False, soft_wrap=True)
    return FAILED if count_failed(results) else DONE


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="verify-deployment", description=__doc__)
    parser.add_argument("--url", help="the runner's URL; default: the stack's output RunnerUrl")
    token = os.environ.get("TOKEN") or os.environ.get("ACTIONS_RUNTIME_TOKEN")
    parser.add_argument("--token", default=token, help="a job's token; default: $TOKEN or $ACTIONS_RUNTIME_TOKEN")
    parser.add_argument("--stack", help="the stack's name; needs the deployer's AWS credentials and region")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    options = parser.parse_args(arguments)
    if not options.url and not options.stack:
        parser.error("say what is to be checked: URL=https://HOST/, STACK=name, or both")
    return options


def prepared(options: argparse.Namespace) -> Context:
    """Read the URL and the stack.

    Raises:
        NotAUrl: The URL can't be read.
        StackUnreadable: The URL was to come from the stack, and that can't be read.
    """
    stack, stack_error = None, None
    if options.stack:
        try:
            stack = read_stack(options.stack)
        except StackUnreadable as error:
            if not options.url:
                raise
            stack_error = str(error)
    address = read_address(options.url or needed(stack, "a URL").runner_url)
    return Context(address, options.token or None, stack, stack_error)


def run_all(context: Context, checks: Sequence[Check], hear: Callable[[Result], None]) -> list[Result]:
    """Run all checks, and hand over each result as it comes."""
    results = []
    for check in checks:
        result = run(check, context)
        hear(result)
        results.append(result)
    return results


# ---------------------------------------------------------------- the report

COLOURS = {Outcome.OK: "green", Outcome.FAIL: "bold red", Outcome.SKIP: "yellow"}


def line(result: Result) -> str:
    return f"{result.outcome:<4}  {result.title}: {result.detail}"


def show(console: Console, result: Result) -> None:
    """Show a result on one line, which isn't coloured or wrapped where there is no terminal."""
    colour, text = COLOURS[result.outcome], line(result)
    if console.is_terminal:
        head = f"{result.outcome:<4}"
        console.print(f"[{colour}]{head}[/]{escape(text.removeprefix(head))}", highlight=False, soft_wrap=True)
    else:
        console.file.write(f"{text}\n")
        console.file.flush()


def summary(results: Sequence[Result], mebibytes: float) -> str:
    count = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    verdict = "something is wrong" if count[Outcome.FAIL] else "nothing failed"
    return (
        f"{verdict}: {count[Outcome.OK]} ok, {count[Outcome.FAIL]} failed, {count[Outcome.SKIP]} skipped; "
        f"{mebibytes:.0f} MiB crossed the network"
    )


def results_as_json(url: str, results: Sequence[Result]) -> str:
    rows = [{"title": result.title, "outcome": result.outcome, "detail": result.detail} for result in results]
    return as_json({"url": url, "failed": count_failed(results), "checks": rows}, indent=2)


def count_failed(results: Sequence[Result]) -> int:
    return sum(result.outcome is Outcome.FAIL for result in results)


if __name__ == "__main__":
    sys.exit(main())

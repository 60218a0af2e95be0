"""Tries the cache on a throwaway stack; however that ends, everything that it made is deleted.

Results go to standard output as markdown, all else to standard error. Exit codes: 0: everything works and nothing is
left. 1: something is wrong. 2: could not start (the reason is on stderr). 130: stopped.
"""

import argparse
import datetime as dt
import json
import os
import secrets
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from actions_cache_cli.aws import home_region, known_regions
from actions_cache_cli.deploy import plan
from actions_cache_cli.deploy.answers import ARCHITECTURES, BadAnswers, pairs
from actions_cache_cli.deploy.questions import Wrong, read_region, read_stack
from actions_cache_cli.deploy.steps import DEFAULT_ARCHITECTURE, StepFailed, Steps
from actions_cache_cli.deployment_check.check import Failed
from actions_cache_cli.deployment_check.diagnoses import explain_error
from actions_cache_cli.doctor.address import NoAnswer
from actions_cache_cli.doctor.probe import Refused
from actions_cache_cli.terminal import (
    DONE,
    FAILED,
    INTERRUPTED,
    YES,
    Stopped,
    Terminal,
    WorkFailed,
    exit_code,
    use_aws_region,
)
from actions_cache_cli.try_on_aws.bench import Bench, BenchFailed, Meter, OverCeiling, Sizes, check
from actions_cache_cli.try_on_aws.report import Result, markdown
from actions_cache_cli.try_on_aws.throwaway import OUTPUT, PATH, PREFIX, Sweeper, Teardown, ThrowawayIssuer
from dev.build.release import release_of
from dev.local.template import Template

SIZES = {"ENTRIES": "3", "ENTRY_MIB": "128", "BLOCK_MIB": "32"}
DEFAULT_MAX_USD = "1.00"
ISSUER_SECONDS, EDGE_SECONDS = 180, 600
HOW = f"""The environment says how: REGION, MAX_USD (the most that it may cost, 1.00), {", ".join(SIZES)}, ARCHITECTURE,
PARAMETERS, YES=1 to agree beforehand, TRY_SUFFIX for the end of the stack's name."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="try_on_aws", description=__doc__, epilog=HOW)
    parser.add_argument(
        "--clean", metavar="NAME", help="delete what is left of the try of that name, and do nothing else"
    )
    options = parser.parse_args(arguments)
    terminal = Terminal(sys.stderr)
    use_aws_region()
    if options.clean:
        return exit_code(terminal, lambda: clean(terminal, options.clean), lambda: "run it again to delete the rest")
    name = f"{PREFIX}{os.environ.get('TRY_SUFFIX') or secrets.token_hex(4)}"
    steps = Steps(terminal.say)
    return Try(terminal, steps, os.environ, name, lambda result: print(markdown(result), flush=True)).run()


def clean(terminal: Terminal, name: str) -> int:
    """Delete what is left of a try, and return the exit code."""
    left = Teardown(Sweeper(os.environ.get("REGION") or home_region()), name, terminal.say).run()
    say_left(terminal, left)
    return FAILED if left else DONE


def say_left(terminal: Terminal, left: Sequence[str]) -> None:
    terminal.say("Nothing is left." if not left else "This is left, and costs money:")
    for line in left:
        terminal.say(f"  {line}")


@dataclass
class Try:
    """One try: a throwaway stack, the deployment check and a small bench on it, and the deletion of everything.

    Args:
        terminal: Where it says how far it is.
        steps: The programs that build and deploy.
        environment: REGION, MAX_USD, ENTRIES, ENTRY_MIB, BLOCK_MIB, ARCHITECTURE, PARAMETERS, YES; TRY_URL and
            TRY_ISSUER where an emulator serves under other names than AWS.
        name: The stack's name.
        publish: Takes the results, however it ends.
    """

    terminal: Terminal
    steps: Steps
    environment: Mapping[str, str]
    name: str
    publish: Callable[[Result], None]

    def run(self) -> int:
        """Try it, say every error in words, and return the exit code."""
        return exit_code(self.terminal, self._run, lambda: "nothing was made", "; nothing was made")

    def _run(self) -> int:
        say, environment = self.terminal.say, self.environment
        region = read_region(environment.get("REGION") or home_region(), known_regions())
        read_stack(self.name, region)
        architecture = environment.get("ARCHITECTURE") or DEFAULT_ARCHITECTURE
        if architecture not in ARCHITECTURES:
            raise BadAnswers(f'ARCHITECTURE "{architecture}": take {" or ".join(ARCHITECTURES)}')
        sizes, most = Sizes(*(self._number(name) for name in SIZES)), self._dollars()
        template = Template.load(self.steps.root / "template.yaml")
        parameters = pairs(environment.get("PARAMETERS", ""), "PARAMETERS") | {"Architecture": architecture}
        if errors := plan.parameter_errors(template, parameters):
            raise Wrong("; ".join(errors))
        ceiling = check(sizes, template, most)
        self.steps.check_machine()
        account = Sweeper(region)
        identity = account.identity()
        say(f"AWS account {identity.account}, as {plan.identity_words(identity.arn)}, in {region}")
        say(f"Makes the throwaway stack {self.name} and {self.name}-issuer, and deletes both with all that is in them.")
        say(
            f"Sends {sizes.uploaded / 1e6:,.0f} MB and receives {sizes.downloaded / 1e6:,.0f} MB at most, in "
            f"{sizes.requests:,} requests at most: ${ceiling:.2f} at most by list prices (MAX_USD={most:.2f})."
        )
        self._confirm()
        result = Result(
            region,
            architecture,
            str(release_of()),
            f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
            sizes,
            ceiling,
        )
        return self._try(account, parameters, result)

    def _number(self, name: str) -> int:
        """Return the whole number that the environment gives, or its default.

        Raises:
            BadAnswers: It isn't a number.
        """
        text = self.environment.get(name) or SIZES[name]
        if not (text.isascii() and text.isdecimal()):
            raise BadAnswers(f'{name}="{text}" isn\'t a number')
        return int(text)

    def _dollars(self) -> float:
        """Return the most dollars that the try may cost.

        Raises:
            BadAnswers: It isn't a number of dollars.
        """
        text = self.environment.get("MAX_USD") or DEFAULT_MAX_USD
        try:
            usd = float(text)
        except ValueError:
            usd = -1.0
        if not 0 < usd < 10_000:  # noqa: PLR2004 - neither NaN nor a typing error
            raise BadAnswers(f'MAX_USD="{text}" isn\'t a number of dollars')
        return usd

    def _confirm(self) -> None:
        """Ask for a yes, unless one was given beforehand.

        Raises:
            BadAnswers: Nobody can be asked.
            Stopped: The answer was no, or the input ended.
        """
        if self.environment.get("YES") == "1":
            return
        if not self.terminal.is_interactive:
            raise BadAnswers("nobody can be asked (no terminal): say YES=1 to agree beforehand")
        if self.terminal.ask("Go on? [y/N] ").lower() not in YES:
            raise Stopped

    # ---------------------------------------------------------------- from here on there is something to delete

    def _try(self, account: Sweeper, parameters: Mapping[str, str], result: Result) -> int:
        teardown = Teardown(account, self.name, self.terminal.say)
        code = FAILED
        try:
            with _terminated_as_interrupted():
                self._measure(account, parameters, result)
        except (WorkFailed, BenchFailed, OverCeiling, Failed) as error:
            result.errors.append(str(error))
        except (NoAnswer, Refused) as error:
            result.errors.append(explain_error(error))
        except KeyboardInterrupt:
            result.errors.append("it was interrupted")
            code = INTERRUPTED
        except Exception as error:  # noqa: BLE001 - what was made has to go, whatever this is
            result.errors.append(f"it failed by itself, please report it: {error!r}")
        finally:
            with _ignoring_interrupts(self.terminal.say, self.name):
                self.terminal.say("\nDeleting everything; CloudFront takes some minutes ...")
                try:
                    result.left = teardown.run()
                except KeyboardInterrupt:
                    code = INTERRUPTED
                    result.left = [*teardown.left, f"what it didn't come to: make try-on-aws CLEAN={self.name}"]
        say_left(self.terminal, result.left)
        self.publish(result)
        return DONE if result.is_good else code

    def _measure(self, account: Sweeper, parameters: Mapping[str, str], result: Result) -> None:
        """Deploy the try, check it, and measure it into the result.

        Raises:
            StepFailed: The build, the deploy or the check failed.
            AwsRefused: AWS refuses, or couldn't be asked.
            BenchFailed: Something can't be measured.
            OverCeiling: The next request would go beyond the ceiling.
            NoAnswer: The server can't be reached.
            Refused: The server refuses a step.
        """
        say, region = self.terminal.say, account.region
        issuer = ThrowawayIssuer()
        say("\nMaking an issuer of tokens ...")
        account.create_stack(f"{self.name}-issuer", json.dumps(issuer.template()))
        made = account.stack(f"{self.name}-issuer")
        if made is None:
            raise StepFailed("the issuer's stack is gone")
        url = self.environment.get("TRY_ISSUER") or made.outputs[OUTPUT]
        _wait_for(f"{url}{PATH}", ISSUER_SECONDS, lambda body: body == issuer.key_set)
        say("Building ...")
        self.steps.build(result.architecture)
        say("Deploying; CloudFront takes some minutes ...")
        began = time.monotonic()
        chosen = dict(parameters) | {"TokenIssuers": url, "TokenClaims": issuer.claims(url)}
        self.steps.deploy(self.name, region, result.architecture, chosen, {"purpose": "try-on-aws"})
        result.deploy_seconds = time.monotonic() - began
        stack = account.stack(self.name)
        if stack is None or "RunnerUrl" not in stack.outputs:
            raise StepFailed("the stack has no output RunnerUrl")
        base = (self.environment.get("TRY_URL") or stack.outputs["RunnerUrl"]).rstrip("/")
        _wait_for(f"{base}/health", EDGE_SECONDS, lambda body: isinstance(body, dict))
        token = issuer.token(url)
        say("Checking ...")
        result.checks = self.steps.checked(self.name, region, base, token)
        for row in result.checks:
            say(f"{row['outcome']:<4}  {row['title']}")
        say("Measuring ...")
        function = account.resources(self.name)["ApiFunction"][1]
        calls = iter(range(1000))
        sizes = result.sizes
        result.meter = Meter(sizes.requests, sizes.uploaded, sizes.downloaded)
        bench = Bench(
            base,
            token,
            sizes,
            result.meter,
            lambda: account.start_anew(function, f"started anew for a measurement, {next(calls)}"),
            say,
        )
        # The results are kept even if it fails halfway.
        result.measured = bench.measured
        bench.run()


def _wait_for(url: str, seconds: float, is_wanted: Callable[[Any], bool]) -> None:
    """Wait for a good answer in JSON, since new names take a while to be known everywhere.

    Raises:
        StepFailed: There is none in time.
    """
    end, last = time.monotonic() + seconds, "no answer"
    while time.monotonic() < end:
        try:
            answer = urllib3.request("GET", url, timeout=10, retries=False)
            if answer.status == 200 and is_wanted(json.loads(answer.data)):  # noqa: PLR2004
                return
            last = f"status {answer.status}"
        except (HTTPError, ValueError) as error:
            last = str(error)
        time.sleep(2)
    raise StepFailed(f"{url} didn't answer well in {seconds:.0f} s: {last}")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM, which a cancelled workflow sends, as an interrupt."""

    def interrupt(_number: int, _frame: types.FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _ignoring_interrupts(say: Callable[[str], None], name: str) -> Iterator[None]:
    """Answer the first two interrupts while the try is deleted, and obey the third."""
    count = 0

    def hear(_number: int, _frame: types.FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 2:  # noqa: PLR2004
            say(f"stopped; to delete the rest: make try-on-aws CLEAN={name}")
            raise KeyboardInterrupt
        say(
            "... still deleting, so that nothing is left to pay; twice more stops it" if count == 1 else "... once more"
        )

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())

"""The whole try in its order; however it ends, what it made is deleted."""

import datetime as dt
import json
import signal
import time
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from actions_cache_cli.deploy import plan
from actions_cache_cli.deploy.answers import ARCHITECTURES, BadAnswers, pairs
from actions_cache_cli.deploy.aws import AwsRefused, home_region, known_regions
from actions_cache_cli.deploy.questions import Wrong, read_region, read_stack
from actions_cache_cli.deploy.steps import DEFAULT_ARCHITECTURE, StepFailed, Steps
from actions_cache_cli.deploy.terminal import Stopped, Terminal
from actions_cache_cli.deployment_check.verdicts import Failed
from actions_cache_cli.deployment_check.wire import NoAnswer
from actions_cache_cli.try_on_aws.bench import Bench, BenchFailed, Meter, OverCeiling
from actions_cache_cli.try_on_aws.ceiling import Sizes, TooMuch, check
from actions_cache_cli.try_on_aws.issuer import OUTPUT, PATH, ThrowawayIssuer
from actions_cache_cli.try_on_aws.report import Result
from actions_cache_cli.try_on_aws.teardown import NoTry, Sweeper, Teardown
from dev.build.release import release_of
from dev.local.template import Template

DONE, FAILED, CANNOT_START, INTERRUPTED = 0, 1, 2, 130
YES = ("y", "yes")
DEFAULT_MAX_USD = "1.00"
ISSUER_SECONDS, EDGE_SECONDS = 180, 600


@dataclass
class Try:
    """One try.

    Args:
        terminal: where it says how far it is.
        steps: what builds and deploys.
        environment: REGION, MAX_USD, ENTRIES, ENTRY_MIB, BLOCK_MIB, ARCHITECTURE, PARAMETERS, YES; TRY_URL and
            TRY_ISSUER where an emulator serves under other names than AWS.
        name: of the stack.
        publish: takes the results, however it ends.
    """

    terminal: Terminal
    steps: Steps
    environment: Mapping[str, str]
    name: str
    publish: Callable[[Result], None]

    def run(self) -> int:
        """Return the exit code; whatever happens is said in words."""
        try:
            return self._run()
        except (BadAnswers, Wrong, TooMuch, NoTry) as fault:
            self.terminal.say(f"error: {fault}")
            return CANNOT_START
        except (StepFailed, AwsRefused) as fault:
            self.terminal.say(f"error: {fault}; nothing was made")
            return FAILED
        except (Stopped, KeyboardInterrupt):
            self.terminal.say("\nstopped; nothing was made")
            return INTERRUPTED

    def _run(self) -> int:
        say, told = self.terminal.say, self.environment
        region = read_region(told.get("REGION") or home_region(), known_regions())
        read_stack(self.name, region)
        architecture = told.get("ARCHITECTURE") or DEFAULT_ARCHITECTURE
        if architecture not in ARCHITECTURES:
            raise BadAnswers(f'ARCHITECTURE "{architecture}": take {" or ".join(ARCHITECTURES)}')
        sizes, most = Sizes(*(self._number(it) for it in SIZES)), self._dollars()
        template = Template.load(self.steps.root / "template.yaml")
        parameters = pairs(told.get("PARAMETERS", ""), "PARAMETERS") | {"Architecture": architecture}
        if faults := plan.parameter_faults(template, parameters):
            raise Wrong("; ".join(faults))
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
            BadAnswers: it isn't a number.
        """
        text = self.environment.get(name) or SIZES[name]
        if not (text.isascii() and text.isdecimal()):
            raise BadAnswers(f'{name}="{text}" is no number')
        return int(text)

    def _dollars(self) -> float:
        """Return the most dollars that the try may cost.

        Raises:
            BadAnswers: it isn't a number of dollars.
        """
        text = self.environment.get("MAX_USD") or DEFAULT_MAX_USD
        try:
            usd = float(text)
        except ValueError:
            usd = -1.0
        if not 0 < usd < 10_000:  # noqa: PLR2004 - neither NaN nor a typing error
            raise BadAnswers(f'MAX_USD="{text}" is no number of dollars')
        return usd

    def _confirm(self) -> None:
        """Ask for a yes, unless one was given beforehand.

        Raises:
            BadAnswers: nobody can be asked.
            Stopped: the answer was no, or the input ended.
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
        except (StepFailed, AwsRefused, BenchFailed, OverCeiling, NoAnswer, Failed) as fault:
            result.faults.append(str(fault))
        except KeyboardInterrupt:
            result.faults.append("it was interrupted")
            code = INTERRUPTED
        except Exception as fault:  # noqa: BLE001 - what was made has to go, whatever this is
            result.faults.append(f"it failed by itself, please report it: {fault!r}")
        finally:
            with _patient(self.terminal.say, self.name):
                self.terminal.say("\nDeleting everything; CloudFront takes some minutes ...")
                try:
                    result.left = teardown.run()
                except KeyboardInterrupt:
                    code = INTERRUPTED
                    result.left = [*teardown.left, f"what it didn't come to: make try-on-aws CLEAN={self.name}"]
        self.terminal.say("Nothing is left." if not result.left else "This is left, and costs money:")
        for one in result.left:
            self.terminal.say(f"  {one}")
        self.publish(result)
        return DONE if result.is_good else code

    def _measure(self, account: Sweeper, parameters: Mapping[str, str], result: Result) -> None:
        """Deploy the try, check it, and measure it into the result.

        Raises:
            StepFailed: the build, the deploy or the check failed.
            AwsRefused: AWS refuses, or couldn't be asked.
            BenchFailed: something can't be measured.
            OverCeiling: the next request would go beyond the ceiling.
            NoAnswer: the server can't be reached.
            Failed: the server answers wrongly.
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
        # As far as it comes.
        result.measured = bench.measured
        bench.run()


SIZES = {"ENTRIES": "3", "ENTRY_MIB": "128", "BLOCK_MIB": "32"}


def _wait_for(url: str, seconds: float, is_wanted: Callable[[Any], bool]) -> None:
    """Wait for a good answer in JSON: new names take a while to be known everywhere.

    Raises:
        StepFailed: there is none in time.
    """
    end, last = time.monotonic() + seconds, "no answer"
    while time.monotonic() < end:
        try:
            answer = urllib3.request("GET", url, timeout=10, retries=False)
            if answer.status == 200 and is_wanted(json.loads(answer.data)):  # noqa: PLR2004
                return
            last = f"status {answer.status}"
        except (HTTPError, ValueError) as fault:
            last = str(fault)
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
def _patient(say: Callable[[str], None], name: str) -> Iterator[None]:
    """Answer interrupts while the try is deleted, and obey only the third."""
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

    before = {it: signal.signal(it, hear) for it in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for it, handler in before.items():
            signal.signal(it, handler)

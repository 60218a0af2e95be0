"""Asks six questions at most, shows what it will create and what that costs, deploys, checks, and says what is next.

Exit codes: 0: deployed and checked. 1: a step failed. 2: could not start. 130: stopped.
"""

import argparse
import datetime as dt
import os
import socket
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actions_cache_cli.aws import (
    DEFAULT_REGION,
    Account,
    AwsRefused,
    Denied,
    DeployedStack,
    home_region,
    known_regions,
)
from actions_cache_cli.deploy import plan
from actions_cache_cli.deploy.answers import (
    DEFAULT_SET,
    FILE,
    SAM_FILE,
    TABLES,
    VARIABLES,
    Answers,
    GitHub,
    check_set_name,
    gathered,
    keep,
)
from actions_cache_cli.deploy.interview import A_YES, DEFAULT, YOU, Interview, Unanswered
from actions_cache_cli.deploy.questions import NONE, Wrong
from actions_cache_cli.deploy.steps import DEFAULT_ARCHITECTURE, StepFailed, Steps
from actions_cache_cli.terminal import DONE, YES, Stopped, Terminal, exit_code, use_aws_region
from dev.local.template import ROOT, Template

NAMES = ", ".join([*VARIABLES.values(), *TABLES.values()])
HOW = f"""It asks for what it isn't given by the environment ({NAMES}; CONFIG names a set of answers, YES=1 agrees
beforehand), by {FILE} or by samconfig.toml; docs/deploy/deploy.md explains each."""
ENVIRONMENT = "the environment"


def main(arguments: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(prog="deploy", description=__doc__, epilog=HOW).parse_args(arguments)
    terminal = Terminal()
    use_aws_region()
    return Flow(terminal, Steps(terminal.say), ROOT, os.environ, GitHub.from_environment(os.environ)).run()


@dataclass
class Flow:
    """One deploy: look, ask, show, ask for a yes, keep the answers, build, deploy, check, and say what is next."""

    terminal: Terminal
    steps: Steps
    root: Path
    """Directory where the answers are kept."""
    environment: Mapping[str, str]
    github: GitHub
    began: str = ""
    """Words for what an interruption leaves half done, and how to go on."""

    def run(self) -> int:
        """Deploy, say every error in words, and return the exit code."""
        return exit_code(self.terminal, self._run, lambda: self.began or "nothing was changed, and nothing was kept")

    def _run(self) -> int:
        chosen = check_set_name(self.environment.get("CONFIG") or DEFAULT_SET)
        answers = gathered(self.root, chosen, self.environment)
        self.steps.check_machine()
        regions, home = known_regions(), home_region()
        # A region that doesn't exist is refused with its question.
        region = next((name for name in (answers.get("region"), home) if name in regions), DEFAULT_REGION)
        identity = Account(region).identity()
        self.terminal.say(f"AWS account {identity.account}, as {plan.identity_words(identity.arn)}")
        if FILE in answers.sources.values():
            self.terminal.say(f"Answers come from {FILE}, [{chosen}]; change them there.")
        elif chosen != DEFAULT_SET and SAM_FILE not in answers.sources.values():
            self.terminal.say(f"CONFIG={chosen} is new: neither {FILE} nor {SAM_FILE} has it.")
        interview = Interview(self.terminal, answers, self.github, Account, regions, home, self._is_agreed)
        interview.hold()
        answers.values.setdefault("architecture", DEFAULT_ARCHITECTURE)

        account = Account(answers.values["region"])
        name = answers.values["stack"]
        stack = account.stack(name)
        kind, goes_first = plan.what_happens(name, stack)
        parameters = plan.parameters(answers.values, interview.claims, answers.parameters)
        self._show(answers, account, stack if kind == plan.IS_UPDATED else None, parameters, goes_first=goes_first)
        self._confirm(answers, interview)

        path = keep(self.root, chosen, answers)
        again = f"`make deploy{f' CONFIG={chosen}' if chosen != DEFAULT_SET else ''}`"
        self.terminal.say(f"\nThe answers are in {path.name}: {again} asks nothing from now on; change them there.")
        self.began = f"your answers are kept in {path.name}, and {again} goes on"
        if goes_first:
            self.terminal.say(f"\nDeleting what the failed deploy of {name} left ...")
            account.delete_stack(name)
        self._build_and_deploy(answers, account, parameters)
        return self._check(answers, account)

    # ---------------------------------------------------------------- before anything is built

    def _show(
        self,
        answers: Answers,
        account: Account,
        stack: DeployedStack | None,
        parameters: Mapping[str, str],
        *,
        goes_first: bool,
    ) -> None:
        """Show what the deploy will make, change and cost.

        Raises:
            Wrong: CloudFormation would refuse a parameter.
            StepFailed: SAM can't read the template.
            AwsRefused: AWS couldn't be asked.
        """
        declared = Template.load(self.steps.root / "template.yaml")
        if errors := plan.parameter_errors(declared, parameters):
            raise Wrong("; ".join(errors))
        template = declared.with_parameters(**parameters)
        values, name = answers.values, answers.values["stack"]
        say = self.terminal.say
        whose, claims = values["whose_jobs"], parameters["TokenClaims"]
        say(f"\nIn {account.region}, stack {name}, for {whose}{f' ({claims})' if claims != whose else ''}:")
        then = plan.present(self.steps.made_of_template(), template)
        if goes_first:
            say("An earlier deploy of it failed. Its remains are deleted first; they hold no data.")
        if stack is None:
            say("It will create")
            for line in plan.in_words(then):
                say(f"  {line}")
        else:
            say(f"It exists ({stack.status}) and will be updated; saved entries stay. Changes besides the code:")
            now = Counter(kind for kind, _ in account.resources(name).values())
            lines = plan.changes(stack, parameters, declared.body["Parameters"])
            for line in [*lines, *plan.differences(now, then)] or ["nothing"]:
                say(f"  {line}")
        say("It costs, by list prices of us-east-1 (docs/deploy/cost.md):")
        for line in plan.costs(template, values["budget_gib"]):
            say(f"  {line}")
        quotas = None
        try:
            quotas = account.quotas()
        except Denied as denied:
            say(f"Lambda's quotas couldn't be read: {denied}")
        say("Worth knowing:")
        for line in plan.notes(quotas, template, values["whose_jobs"]):
            say(f"  {line}")

    @property
    def _is_agreed(self) -> bool:
        return self.environment.get("YES") == "1"

    def _confirm(self, answers: Answers, interview: Interview) -> None:
        """Ask for a yes, unless one was given beforehand or nothing is new.

        Raises:
            Unanswered: Nobody can be asked.
            Stopped: The answer was no, or the input ended.
        """
        new = {ENVIRONMENT, YOU, DEFAULT} & set(answers.sources.values())
        if self._is_agreed or not (new or interview.asked):
            return
        if not self.terminal.is_interactive:
            raise Unanswered([A_YES])
        self.terminal.say()
        if self.terminal.ask("Go on? [y/N] ").lower() not in YES:
            raise Stopped

    # ---------------------------------------------------------------- the work

    def _build_and_deploy(self, answers: Answers, account: Account, parameters: Mapping[str, str]) -> None:
        """Build and deploy the stack, and protect its data.

        Raises:
            StepFailed: The build or the deploy failed.
            AwsRefused: AWS couldn't be asked.
        """
        values, name = answers.values, answers.values["stack"]
        self.steps.build(values["architecture"])
        since = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
        self.began = (
            f"CloudFormation goes on by itself, and {FILE} keeps your answers: look with `aws cloudformation "
            f"describe-stacks --stack-name {name} --region {account.region}`, and run `make deploy` again"
        )
        self.terminal.say(f"\nDeploying {name}; CloudFront takes some minutes ...")
        try:
            self.steps.deploy(name, account.region, values["architecture"], parameters, answers.tags)
        except StepFailed as failed:
            raise StepFailed(f"{failed}{self._why(account, name, since)}") from failed
        try:
            account.protect(name)
        except Denied as denied:
            self.terminal.say(f"The stack isn't protected against an update that replaces its tables: {denied}")

    def _why(self, account: Account, name: str, since: dt.datetime) -> str:
        """Return CloudFormation's reasons and what to do."""
        try:
            stack, reasons = account.stack(name), []
            if stack is not None:
                reasons = account.failures(name, since)
        except AwsRefused as refused:
            return f", as shown above; CloudFormation couldn't be asked why: {refused}"
        if stack is None:
            return ", as shown above; there is no stack, and nothing to delete"
        reasons = reasons or ["as shown above"]
        todo = {
            "ROLLBACK_COMPLETE": (
                "Everything that was created is deleted again. Fix the cause and run this again; it deletes the "
                "empty stack first"
            ),
            "UPDATE_ROLLBACK_COMPLETE": "The update was rolled back, and the cache works as before",
            "CREATE_COMPLETE": "Nothing was changed, and the cache works as before",
            "UPDATE_COMPLETE": "Nothing was changed, and the cache works as before",
        }.get(stack.status, f"The stack is {stack.status}: look at its events in CloudFormation's console")
        return ":\n  " + "\n  ".join(reasons) + f"\n{todo}. Your answers are kept in {FILE}."

    def _check(self, answers: Answers, account: Account) -> int:
        """Check the deployed stack, and say what to do next.

        Raises:
            StepFailed: The check found an error, or the stack has no URL to check.
            AwsRefused: AWS couldn't be asked.
        """
        name = answers.values["stack"]
        stack = account.stack(name)
        if stack is None or "RunnerUrl" not in stack.outputs:
            raise StepFailed(f"{name} was deployed, and has no output RunnerUrl: is another deploy at work on it?")
        domain = answers.values["domain"]
        is_pointed = domain == NONE or leads_to(domain, stack.outputs["EdgeDomainName"])
        url = stack.outputs["RunnerUrl"] if is_pointed else f"https://{stack.outputs['EdgeDomainName']}/"
        url = self.environment.get("CHECK_URL") or url
        self.began = f"{name} is deployed; to check it: make verify-deployment STACK={name}"
        failed = None
        self.terminal.say(f"\nChecking {url}")
        try:
            self.steps.check(name, account.region, url)
        except StepFailed as error:
            failed = error
        self.terminal.say("\nWhat to do next")
        self.terminal.say("---------------")
        for line in plan.next_steps(stack.outputs, account.region, name, domain=domain, is_pointed=is_pointed):
            self.terminal.say(line)
        if failed is not None:
            self.terminal.say()
            raise failed
        return DONE


def leads_to(domain: str, edge: str) -> bool:
    """Return whether the two names have an address in common."""
    try:
        ours, theirs = ({row[4][0] for row in socket.getaddrinfo(name, 443)} for name in (domain, edge))
    except OSError:
        return False
    return bool(ours & theirs)


if __name__ == "__main__":
    sys.exit(main())

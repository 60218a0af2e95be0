"""Asks for the answers that are missing, at most six, and asks again until an answer can be taken."""

from collections.abc import Callable
from dataclasses import dataclass

from actions_cache_cli.aws import Account, AwsRefused
from actions_cache_cli.deploy.answers import FILE, Answers, GitHub, NoSuch, NotAsked
from actions_cache_cli.deploy.questions import (
    ANY,
    NONE,
    WHAT_ANY_MEANS,
    Question,
    Subject,
    Wrong,
    question_of_alarms,
    question_of_budget,
    question_of_domain,
    question_of_region,
    question_of_stack,
    question_of_whose,
    read_certificate,
    read_id,
    subjects,
)
from actions_cache_cli.doctor.report import printable
from actions_cache_cli.terminal import CannotStart, Terminal

YOU = "you"
DEFAULT = "the default"
A_YES = ("", "YES", "1, to go on without being asked")
DEFAULT_STACK = "actions-cache"


class Unanswered(CannotStart):
    """Raised when answers are missing and nobody can be asked; the message says how to give them beforehand.

    Args:
        missing: Key, variable and title of each answer.
    """

    def __init__(self, missing: list[tuple[str, str, str]]) -> None:
        lines = [
            f"  {variable}=...   {title}{f' ({key} in the file)' if key else ''}" for key, variable, title in missing
        ]
        super().__init__(
            "\n".join(
                [
                    "nobody can be asked (no terminal), and these answers are missing:",
                    *lines,
                    f"Give them in the environment, or in {FILE}; docs/deploy/deploy.md lists all.",
                ]
            )
        )
        self.missing = missing


@dataclass
class Interview:
    terminal: Terminal
    answers: Answers
    github: GitHub
    account_in: Callable[[str], Account]
    regions: frozenset[str]
    home: str
    """The region that the environment names."""
    is_agreed: bool = False
    """True if a yes was given beforehand."""
    claims: str = ""
    """Value of the template's parameter TokenClaims, made from `whose_jobs`."""
    asked: int = 0
    _last: str = ""
    """Name of the last question; asking it again doesn't count as another."""

    def hold(self) -> None:
        """Get an answer to everything.

        Raises:
            Unanswered: Nobody can be asked; nothing was asked.
            Wrong: An answer that was given beforehand can't be taken.
            Stopped: The input ended.
        """
        if not self.terminal.is_interactive:
            self._check_nothing_is_missing()
        region = self._settle(question_of_region(self.home, self.regions))
        self._settle(question_of_stack(DEFAULT_STACK, region))
        self._settle_whose()
        self._settle(question_of_budget())
        self._settle_domain(region)
        self._settle(question_of_alarms(region))

    def _check_nothing_is_missing(self) -> None:
        """Name all that is missing at once, so that nobody has to start six times."""
        if self.answers.get("whose_jobs") is None:
            question = question_of_whose()
            missing = (question.name, question.variable, question.title)
            raise Unanswered([missing] if self.is_agreed else [missing, A_YES])

    def _settle(self, question: Question) -> str:
        """Take the answer that was given beforehand, or ask.

        Raises:
            Wrong: The given answer can't be taken.
            Stopped: The input ended.
        """
        given = self.answers.get(question.name)
        if given is not None:
            source = self.answers.sources[question.name]
            try:
                value = question.read(given)
            except Wrong as wrong:
                raise Wrong(f"{question.variable} (from {source}): {wrong}") from wrong
            self.answers.put(question.name, value, source)
            return value
        if not self.terminal.is_interactive:
            if question.default is None:
                raise Unanswered([(question.name, question.variable, question.title)])
            value = question.read(question.default)
            self.answers.put(question.name, value, DEFAULT)
            return value
        value = self._ask(question)
        self.answers.put(question.name, value, YOU)
        return value

    def _ask(self, question: Question) -> str:
        """Ask until the answer can be taken, and return it.

        Raises:
            Stopped: The input ended.
        """
        if question.name != self._last:
            self._last = question.name
            self.asked += 1
            self.terminal.say(f"\n{self.asked}. {question.title}")
            for line in question.says.split("\n"):
                self.terminal.say(f"   {line}")
        shown = f" [{question.default}]" if question.default is not None else ""

        def read(typed: str) -> str:
            return question.read(typed or question.default or "")

        return self._ask_until(read, f"   >{shown} ", question.hint)

    def _ask_until(self, read: Callable[[str], str], prompt: str, hint: Callable[[str], str] | None = None) -> str:
        """Ask until `read` takes the answer, and return what it makes of it.

        Raises:
            Stopped: The input ended.
        """
        while True:
            typed = self.terminal.ask(prompt, hint)
            try:
                return read(typed)
            except Wrong as wrong:
                self.terminal.say(f"   {wrong}")

    # ---------------------------------------------------------------- whose jobs: a name becomes a claim

    def _settle_whose(self) -> None:
        """Settle whose jobs are let in, and the claims that say so.

        Raises:
            Wrong: The given answer can't be taken.
            Unanswered: Nobody can be asked.
            Stopped: The input ended.
        """
        question = question_of_whose()
        while True:
            whose = self._settle(question)
            by_you = self.answers.sources[question.name] == YOU
            try:
                claims = self._claims(whose, by_you=by_you)
            except Wrong as wrong:
                if not by_you:
                    raise
                self.terminal.say(f"   {wrong}")
                del self.answers.values[question.name]
                continue
            self.claims = claims
            return

    def _claims(self, whose: str, *, by_you: bool) -> str:
        """Return the value of TokenClaims.

        Raises:
            Wrong: An id isn't known, or `any` wasn't confirmed.
            Stopped: The input ended.
        """
        if whose == ANY:
            if by_you:
                self.terminal.say(f"   {WHAT_ANY_MEANS}")
                if self.terminal.ask('   Write "any" once more if you mean that: ') != ANY:
                    raise Wrong("then name an owner or a repository")
            return ANY
        wanted = subjects(whose)
        for subject in wanted:
            if subject.name not in self.answers.ids:
                self.answers.ids[subject.name] = self._id(subject)
        return ",".join(f"{subject.claim}={self.answers.ids[subject.name]}" for subject in wanted) or whose

    def _id(self, subject: Subject) -> str:
        """Return the id of an owner or a repository, from GitHub or from the deployer.

        Raises:
            Wrong: GitHub knows no such owner or repository, or nobody could say the id.
            Stopped: The input ended.
        """
        try:
            number = self.github.id_of(subject)
        except NoSuch as error:
            if not (subject.repository and self.terminal.is_interactive):
                raise Wrong(str(error)) from error
            self.terminal.say(f"   {error}")
        except NotAsked as error:
            self.terminal.say(f"   GitHub wasn't asked for the id of {subject.name}: {error}.")
            if not self.terminal.is_interactive:
                how = f"say WHOSE_JOBS={subject.claim}=NUMBER"
                raise Wrong(f"the id of {subject.name} isn't known, and nobody can be asked: {how}") from error
        else:
            self.terminal.say(f"   {subject.name} has the id {number}")
            return number
        path = "repos" if subject.repository else "users"
        self.terminal.say(f'   It is the number at "id" of https://api.github.com/{path}/{subject.name}')
        prompt = f"   id of {subject.name}, or nothing to name another: "
        number = self._ask_until(lambda typed: typed and read_id(typed), prompt)
        if not number:
            raise Wrong("then name another owner or repository")
        return number

    # ---------------------------------------------------------------- a domain, and its certificate

    def _settle_domain(self, region: str) -> None:
        """Settle the domain and its certificate.

        Raises:
            Wrong: A given answer can't be taken.
            Unanswered: Nobody can be asked.
            Stopped: The input ended.
        """
        question = question_of_domain()
        while True:
            domain = self._settle(question)
            if domain == NONE:
                return
            source = self.answers.sources[question.name]
            given = self.answers.get("certificate")
            if given is not None:
                self.answers.put("certificate", read_certificate(given), self.answers.sources["certificate"])
                return
            certificate = self._certificate(domain, region)
            if certificate != NONE:
                self.answers.put("certificate", certificate, source)
                return
            del self.answers.values[question.name]

    def _certificate(self, domain: str, region: str) -> str:
        """Return the ARN, or NONE where another domain is to be named.

        Raises:
            Unanswered: Nobody can be asked.
            Stopped: The input ended.
        """
        try:
            found = self.account_in(region).certificates(domain)
        except AwsRefused as refused:
            self.terminal.say(f"   ACM wasn't asked: {refused}.")
        else:
            if found:
                until = f", good until {found[0].expires:%Y-%m-%d}" if found[0].expires else ""
                self.terminal.say(f"   its certificate: {found[0].arn}, for {found[0].name}{until}")
                return found[0].arn
            self.terminal.say(
                f"   ACM has no certificate issued for {printable(domain)} in us-east-1. To get one:\n"
                f"   aws acm request-certificate --region us-east-1 --domain-name {domain} --validation-method DNS"
            )
        if not self.terminal.is_interactive:
            raise Unanswered([("certificate", "CERTIFICATE", f"the ARN of a certificate for {domain} in us-east-1")])
        prompt = '   ARN of its certificate, or "none" to go on without this domain: '
        return self._ask_until(lambda typed: read_certificate(typed or NONE), prompt)

"""The six questions: the text of each, and the answers that it takes. Nothing here asks anybody."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from actions_cache.cost import GIGABYTE, PRICES
from actions_cache_cli.terminal import CannotStart

GIB = 1024**3
NONE, ANY = "none", "any"

DEFAULT_BUDGET = "100"
LARGEST_BUDGET_GIB = 1_000_000
LONGEST_NAME = 64
"""CloudFront's limit on the name of a function: https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CreateFunction.html."""
LONGEST_STACK_NAME = 128

STACK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
OWNER = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,38})"
WHOSE = re.compile(rf"(?P<owner>{OWNER})(?:/(?P<repository>[A-Za-z0-9._-]{{1,100}}))?")
CLAIM = r"[^,=@\s]+=[^,@\s]+(?:@https://[^,\s]+)?"
CLAIMS = re.compile(rf"(?:{CLAIM}|any@https://[^,\s]+)(?:,{CLAIM}|,any@https://[^,\s]+)*")
"""Matches what the template's parameter TokenClaims takes, except a bare `any`."""
DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+")
CERTIFICATE = re.compile(r"arn:[a-z-]+:acm:us-east-1:[0-9]{12}:certificate/\S+")
TOPIC = re.compile(r"arn:[a-z-]+:sns:(?P<region>[a-z0-9-]+):[0-9]{12}:\S+")
EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+")


class Wrong(CannotStart):
    """Raised for an answer that can't be taken; the message says why, and what can."""


@dataclass(frozen=True)
class Question:
    name: str
    """Key in the file of answers."""
    variable: str
    """Environment variable that answers it."""
    title: str
    says: str
    """Explanation of what it is for, with an example and what it costs."""
    default: str | None
    """Answer to an empty line; None if there has to be one."""
    read: Callable[[str], str]
    """Function that returns the answer as it is kept, or raises Wrong."""
    hint: Callable[[str], str] | None = None


@dataclass(frozen=True)
class Subject:
    """Names one owner, or one repository, to look up on GitHub."""

    owner: str
    repository: str | None

    @property
    def name(self) -> str:
        return f"{self.owner}/{self.repository}" if self.repository else self.owner

    @property
    def kind(self) -> str:
        return "repository" if self.repository else "owner"

    @property
    def claim(self) -> str:
        return "repository_id" if self.repository else "repository_owner_id"


def read_region(text: str, known: frozenset[str]) -> str:
    """Return the region.

    Raises:
        Wrong: AWS has no such region with Lambda.
    """
    region = text.strip().lower()
    if region in known:
        return region
    near = sorted(name for name in known if name.split("-")[0] == region.split("-")[0]) or sorted(known)
    raise Wrong(f'AWS has no region "{region}" with Lambda; near it: {", ".join(near)}')


def read_stack(text: str, region: str) -> str:
    """Return the stack's name.

    Raises:
        Wrong: It can't be a stack's name, or is too long for the names that are made of it.
    """
    name = text.strip()
    if not STACK_NAME.fullmatch(name):
        raise Wrong(f"\"{name}\" can't be a stack's name: take letters, digits and hyphens, a letter first")
    room = LONGEST_NAME - len(f"-{region}-response")
    if len(name) > min(room, LONGEST_STACK_NAME):
        raise Wrong(
            f"{name} has {len(name)} characters, and {room} is the most in {region}: CloudFront's names are made of it"
        )
    return name


def read_whose(text: str) -> str:
    """Return whose jobs are let in.

    Raises:
        Wrong: It names nobody, or both owners and repositories.
    """
    whose = text.strip().removeprefix("https://github.com/").strip("/")
    if whose == ANY or CLAIMS.fullmatch(whose):
        return whose
    if whose.lower() == ANY:
        raise Wrong('write "any", in lower case, if everybody is meant')
    if not whose:
        raise Wrong("this has no default: without it nobody is admitted. Name an owner or owner/repository")
    kinds = {subject.kind for subject in subjects(whose)}
    if len(kinds) > 1:
        raise Wrong(
            "owners and repositories together would admit only what fits both; name only owners, or only repositories"
        )
    return whose


def subjects(whose: str) -> list[Subject]:
    """Return what GitHub has to be asked for: nothing for `any` and for claims.

    Raises:
        Wrong: A part is neither an owner nor a repository.
    """
    if whose == ANY or CLAIMS.fullmatch(whose):
        return []
    found = []
    for one in whose.split(","):
        match = WHOSE.fullmatch(one.strip())
        if match is None:
            raise Wrong(
                f'"{one.strip()}" is neither an owner nor an owner/repository. Examples: octo-org, octo-org/widgets, '
                "or a claim by its number: repository_owner_id=9919"
            )
        found.append(Subject(match["owner"], match["repository"]))
    return found


def read_id(text: str) -> str:
    """Return the id.

    Raises:
        Wrong: It isn't a number, as GitHub's ids are.
    """
    number = text.strip()
    if not number.isascii() or not number.isdecimal() or number.startswith("0"):
        raise Wrong(f"\"{number}\" isn't an id: GitHub's ids are numbers like 9919")
    return number


def read_budget(text: str) -> str:
    """Return the GiB as they were typed, or `none`.

    Raises:
        Wrong: It isn't a number of GiB, or is out of bounds.
    """
    said = re.sub(r"\s*(gib|gb|g)$", "", text.strip().lower())
    if said == NONE:
        return NONE
    try:
        gib = float(said)
    except ValueError:
        raise Wrong(f'"{text.strip()}" isn\'t a number of GiB. Examples: 100, 0.5, none') from None
    if not 0 < gib <= LARGEST_BUDGET_GIB:
        raise Wrong(f'say more than 0 and at most {LARGEST_BUDGET_GIB:,} GiB, or "none" for no limit')
    return said


def budget_bytes(budget: str) -> int:
    """Return the budget in bytes; `none` is 0, which means no limit."""
    return 0 if budget == NONE else max(1, round(float(budget) * GIB))


def storage_usd(budget: str) -> float:
    """Return what a month of so much storage costs."""
    return PRICES["S3 storage"].of(budget_bytes(budget) / GIGABYTE)


def budget_hint(typed: str) -> str:
    """Return what stands beside a number while it is typed."""
    try:
        budget = read_budget(typed)
    except Wrong:
        return ""
    return "(no limit, so none for the bill)" if budget == NONE else f"(${storage_usd(budget):,.2f} a month when full)"


def read_domain(text: str) -> str:
    """Return the domain, or `none`.

    Raises:
        Wrong: It isn't a domain name.
    """
    domain = text.strip().lower().removeprefix("https://").rstrip("/.")
    if domain == NONE or DOMAIN.fullmatch(domain):
        return domain
    raise Wrong(f'"{domain}" isn\'t a domain name. Examples: cache.example.com, none')


def read_certificate(text: str) -> str:
    """Return the certificate's ARN, or `none`.

    Raises:
        Wrong: It isn't the ARN of a certificate in us-east-1.
    """
    arn = text.strip()
    if arn == NONE or CERTIFICATE.fullmatch(arn):
        return arn
    raise Wrong(
        f"\"{arn}\" isn't the ARN of a certificate in us-east-1, where CloudFront looks whatever the stack's region. "
        "Example: arn:aws:acm:us-east-1:123456789012:certificate/0a1b2c3d"
    )


def read_alarms(text: str, region: str) -> str:
    """Return the e-mail address or topic that receives alarms, or `none`.

    Raises:
        Wrong: It is neither, or a topic of another region.
    """
    receiver = text.strip()
    if receiver == NONE or EMAIL.fullmatch(receiver):
        return receiver
    topic = TOPIC.fullmatch(receiver)
    if topic is None:
        raise Wrong(
            f'"{receiver}" is neither an e-mail address nor the ARN of an SNS topic. Examples: ops@example.com, none'
        )
    if topic["region"] != region:
        raise Wrong(
            f"that topic is in {topic['region']}, and CloudWatch notifies only topics of its own region, {region}"
        )
    return receiver


WHAT_ANY_MEANS = (
    '"any" admits every job of everybody on github.com who learns the URL: each sees its own repository\'s entries '
    "alone, but stores them at your cost."
)


def question_of_region(default: str, known: frozenset[str]) -> Question:
    return Question(
        "region",
        "REGION",
        "Region",
        "Where bucket, tables and functions are. Restores cost nothing to runners in the same region; elsewhere $90 a\n"
        "terabyte. Prices below are for us-east-1; most regions charge up to a third more. Example: eu-central-1",
        default,
        lambda text: read_region(text, known),
    )


def question_of_stack(default: str, region: str) -> Question:
    return Question(
        "stack",
        "STACK",
        "Stack name",
        "The name of everything in your account; another name makes another cache. It is free. Example: actions-cache",
        default,
        lambda text: read_stack(text, region),
    )


def question_of_whose() -> Question:
    return Question(
        "whose_jobs",
        "WHOSE_JOBS",
        "Whose jobs may use it",
        "An owner (all its repositories), an owner/repository, or several of one kind with commas between. Free.\n"
        'Examples: octo-org, octo-org/widgets. "any" means everybody on github.com, at your cost.',
        None,
        read_whose,
    )


def question_of_budget() -> Question:
    return Question(
        "budget_gib",
        "BUDGET_GIB",
        "Storage limit in GiB",
        "Beyond it, entries nearest to the end of their life are deleted. Examples: when full, 50 costs "
        f"${storage_usd('50'):.2f} a\n"
        f'month and 1000 costs ${storage_usd("1000"):.2f}; "none" means no limit.',
        DEFAULT_BUDGET,
        read_budget,
        lambda typed: budget_hint(typed or DEFAULT_BUDGET),
    )


def question_of_domain() -> Question:
    return Question(
        "domain",
        "DOMAIN",
        "Custom domain",
        "A name that outlives the stack. It needs an ACM certificate in us-east-1, which is free, and a DNS record.\n"
        '"none" uses the name that CloudFront assigns. Example: cache.example.com',
        NONE,
        read_domain,
    )


def question_of_alarms(region: str) -> Question:
    return Question(
        "alarms",
        "ALARMS",
        "Who receives alarms",
        "An e-mail address, which AWS asks to confirm, or the ARN of an SNS topic. A thousand e-mails a month are\n"
        'free. "none" leaves alarms in CloudWatch only. Example: ops@example.com',
        NONE,
        lambda text: read_alarms(text, region),
    )

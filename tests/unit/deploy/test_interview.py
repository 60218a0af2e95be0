"""Tests what is asked, in which order, again until it is valid, and what is said when nobody can be asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from moto import mock_aws

from actions_cache_cli.aws import Account, AwsRefused
from actions_cache_cli.deploy.answers import Answers, GitHub, NoSuch, NotAsked
from actions_cache_cli.deploy.interview import Interview, Unanswered
from actions_cache_cli.deploy.questions import Subject, Wrong
from actions_cache_cli.terminal import Stopped, Terminal
from tests.support.private_ca import CertificateAuthority

REGIONS = frozenset({"us-east-1", "eu-central-1"})
ARN = "arn:aws:acm:us-east-1:123456789012:certificate/1"


class Scripted(Terminal):
    """Stands for somebody who types these lines, and then ends the input."""

    def __init__(self, lines: Sequence[str], *, is_there: bool = True) -> None:
        self.lines = list(lines)
        self.is_there = is_there
        self.prompts: list[str] = []
        self.said = ""

    @property
    def is_interactive(self) -> bool:
        return self.is_there

    def say(self, text: str = "") -> None:
        self.said += f"{text}\n"

    def ask(self, prompt: str, hint: object = None) -> str:
        self.prompts.append(prompt)
        if not self.lines:
            raise Stopped
        return self.lines.pop(0)


@dataclass(frozen=True)
class Known(GitHub):
    """Stands for a GitHub that knows these ids."""

    ids: dict[str, str] = field(default_factory=lambda: {"octo-org": "9919", "octo-org/widgets": "42"})
    error: Exception | None = None

    def id_of(self, subject: Subject) -> str:
        if self.error:
            raise self.error
        if subject.name not in self.ids:
            raise NoSuch(f"GitHub shows no {subject.kind} called {subject.name}")
        return self.ids[subject.name]


class NoAcm(Account):
    def certificates(self, domain: str) -> list[object]:  # type: ignore[override]
        raise AwsRefused("these credentials may not ListCertificates")


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with mock_aws():
        yield


class Held(Interview):
    terminal: Scripted

    @property
    def said(self) -> str:
        return self.terminal.said

    @property
    def prompts(self) -> list[str]:
        return self.terminal.prompts


def held(*lines: str, answers: Answers | None = None, github: GitHub | None = None, there: bool = True) -> Held:
    terminal = Scripted(lines, is_there=there)
    interview = Held(terminal, answers or Answers(), github or Known(), Account, REGIONS, "us-east-1")
    interview.hold()
    return interview


KEYS = ("region", "stack", "whose_jobs", "budget_gib", "domain", "alarms")


def test_six_questions_are_asked() -> None:
    typed = ("eu-central-1", "cache", "octo-org", "50", "none", "ops@example.com")
    interview = held(*typed)
    assert interview.answers.values == dict(zip(KEYS, typed, strict=True))
    assert interview.asked == len(interview.prompts) == 6
    assert (interview.claims, interview.answers.ids) == ("repository_owner_id=9919", {"octo-org": "9919"})
    assert "octo-org has the id 9919" in interview.said


def test_enter_takes_every_default_but_one() -> None:
    interview = held("", "", "", "octo-org/widgets", "", "", "")
    taken = ("us-east-1", "actions-cache", "octo-org/widgets", "100", "none", "none")
    assert interview.answers.values == dict(zip(KEYS, taken, strict=True))
    assert "this has no default" in interview.said
    assert interview.asked == 6


def test_wrong_answer_is_asked_again() -> None:
    wrong = ("mars-1", "us-east-1", "1x", "cache", "no one", "nobody", "octo-org", "0", "5", "x", "none", "me", "none")
    interview = held(*wrong)
    for said in ('no region "mars-1"', '"1x" can', '"no one" is neither', "no owner called nobody", "most 1,000,000"):
        assert said in interview.said
    assert interview.asked == 6


def test_any_must_be_confirmed() -> None:
    interview = held("", "", "any", "yes", "any", "any", "", "", "")
    assert interview.claims == "any"
    assert interview.said.count("stores them at your cost") == 2


def test_id_is_typed_if_github_is_unreachable() -> None:
    offline = Known(error=NotAsked("https://api.github.com can't be reached"))
    interview = held("", "", "octo-org", "x", "9919", "", "", "", github=offline)
    assert interview.claims == "repository_owner_id=9919"
    assert 'the number at "id" of https://api.github.com/users/octo-org' in interview.said
    assert '"x" isn\'t an id' in interview.said


def test_another_name_may_replace_an_id() -> None:
    private = Known(ids={"octo-org": "9919"})
    interview = held("", "", "octo-org/secret", "", "octo-org", "", "", "", github=private)
    assert interview.claims == "repository_owner_id=9919"
    assert interview.asked == 6


@pytest.mark.parametrize("count", range(6))
def test_end_of_input_stops_every_question(count: int) -> None:
    with pytest.raises(Stopped):
        held(*("us-east-1", "cache", "octo-org", "5", "none", "none")[:count])


# ---------------------------------------------------------------- a domain


def issued(name: str) -> str:
    own = CertificateAuthority(name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
    key = own.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    acm = boto3.client("acm", region_name="us-east-1")
    return str(acm.import_certificate(Certificate=own.pem, PrivateKey=key)["CertificateArn"])


@pytest.mark.parametrize("name", ["cache.example.com", "*.example.com"])
def test_domains_certificate_is_found(name: str) -> None:
    arn = issued(name)
    issued("other.example.org")
    interview = held("eu-central-1", "", "octo-org", "", "cache.example.com", "")
    assert interview.answers.values["certificate"] == arn
    assert interview.asked == len(interview.prompts) == 6


@pytest.mark.parametrize(
    ("typed", "domain", "certificate"),
    [(("arn:x", ARN), "cache.example.com", ARN), (("none", "none"), "none", None)],
)
def test_missing_certificate_is_asked_for(typed: tuple[str, ...], domain: str, certificate: str | None) -> None:
    interview = held("", "", "octo-org", "", "cache.example.com", *typed, "")
    assert (interview.answers.values["domain"], interview.answers.values.get("certificate")) == (domain, certificate)
    assert "aws acm request-certificate --region us-east-1 --domain-name cache.example.com" in interview.said
    assert interview.asked == 6


def test_arn_is_asked_if_acm_refuses() -> None:
    terminal = Scripted(["", "", "octo-org", "", "cache.example.com", ARN, ""])
    interview = Interview(terminal, Answers(), Known(), NoAcm, REGIONS, "us-east-1")
    interview.hold()
    assert interview.answers.values["certificate"] == ARN
    assert "may not ListCertificates" in terminal.said


# ---------------------------------------------------------------- nobody there


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({}, ["WHOSE_JOBS", "YES"]),
        ({"whose_jobs": "octo-org", "domain": "cache.example.com"}, ["CERTIFICATE"]),
    ],
)
def test_missing_terminal_names_missing_answers(values: dict[str, str], missing: list[str]) -> None:
    with pytest.raises(Unanswered) as unanswered:
        held(answers=given(**values), there=False)
    assert [variable for _, variable, _ in unanswered.value.missing] == missing


def given(**values: str) -> Answers:
    answers = Answers()
    for key, value in values.items():
        answers.put(key, value, "the environment")
    return answers


def test_missing_terminal_takes_defaults() -> None:
    interview = held(answers=given(whose_jobs="octo-org"), there=False)
    assert interview.answers.values["stack"] == "actions-cache"
    assert interview.answers.sources["stack"] == "the default"
    assert interview.prompts == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"region": "mars-1"}, r"REGION \(from the environment\): AWS has no region"),
        ({"budget_gib": "x"}, "BUDGET_GIB .from the environment.: .x. isn't a number of GiB"),
        ({"alarms": "x"}, "ALARMS"),
        ({"whose_jobs": "nobody"}, "no owner called nobody"),
    ],
)
def test_wrong_given_value_names_its_variable(values: dict[str, str], said: str) -> None:
    for there in (True, False):
        with pytest.raises(Wrong, match=said):
            held("", "", "octo-org", "", "", "", answers=given(**{"whose_jobs": "octo-org"} | values), there=there)


def test_missing_terminal_and_github_need_a_claim() -> None:
    offline = Known(error=NotAsked("no network"))
    with pytest.raises(Wrong, match="say WHOSE_JOBS=repository_owner_id=NUMBER"):
        held(answers=given(whose_jobs="octo-org"), github=offline, there=False)
    interview = held(answers=given(whose_jobs="repository_owner_id=9919"), github=offline, there=False)
    assert interview.claims == "repository_owner_id=9919"


def test_id_is_looked_up_once() -> None:
    offline = Known(error=NotAsked("no network"))
    known = given(whose_jobs="octo-org")
    known.ids["octo-org"] = "1"
    assert held(answers=known, github=offline, there=False).claims == "repository_owner_id=1"
    known.put("whose_jobs", "octo-org,octo-two", "deploy.local.toml")
    with pytest.raises(Wrong, match="the id of octo-two isn't known"):
        held(answers=known, github=offline, there=False)

"""Reads the answers from the environment, the file, samconfig.toml and GitHub, and keeps them in the file."""

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from actions_cache_cli.deploy.questions import Subject
from actions_cache_cli.doctor.report import printable
from actions_cache_cli.terminal import CannotStart

FILE = "deploy.local.toml"
SAM_FILE = "samconfig.toml"
DEFAULT_SET = "default"
HEADER = "# Answers of `make deploy`, a table per CONFIG=NAME. Git ignores it; docs/deploy/deploy.md lists the keys.\n"

VARIABLES = {
    "region": "REGION",
    "stack": "STACK",
    "whose_jobs": "WHOSE_JOBS",
    "budget_gib": "BUDGET_GIB",
    "domain": "DOMAIN",
    "certificate": "CERTIFICATE",
    "alarms": "ALARMS",
    "architecture": "ARCHITECTURE",
}
"""Maps each key of the file to the environment variable that sets it."""
TABLES = {"parameters": "PARAMETERS", "tags": "TAGS", "ids": ""}
"""Tables of names and values: in the environment `Name=value Name=value`, as a shell splits it. The ids are GitHub's
numbers of what `whose_jobs` names, so that they are looked up once; nobody sets them."""

SET_NAME = re.compile(r"[A-Za-z0-9_-]+")
ARCHITECTURES = ("arm64", "x86_64")
OWN_PARAMETERS = {
    "Architecture": "architecture",
    "TokenClaims": "whose_jobs",
    "StoreBudgetBytes": "budget_gib",
    "DomainName": "domain",
    "CertificateArn": "certificate",
    "AlarmEmail": "alarms",
    "AlarmTopicArn": "alarms",
}
"""Parameters of the template that an answer sets."""


class BadAnswers(CannotStart):
    """Raised when an answer given beforehand can't be read; the message says where, and what is wrong."""


@dataclass
class Answers:
    """Holds the answers known so far, each with where it came from."""

    values: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    of_sam: Mapping[str, Any] = field(default_factory=dict)
    """Settings of samconfig.toml, which are read there each time and not kept twice."""
    sources: dict[str, str] = field(default_factory=dict)
    """Source of each key's answer: "the environment", "deploy.local.toml", "samconfig.toml" or "you"."""

    def get(self, key: str) -> str | None:
        return self.values.get(key)

    def put(self, key: str, value: str, source: str) -> None:
        self.values[key] = value
        self.sources[key] = source


def check_set_name(name: str) -> str:
    """Return the name of a set of answers.

    Raises:
        BadAnswers: It has other characters than letters, digits, hyphens and underscores.
    """
    if not SET_NAME.fullmatch(name):
        raise BadAnswers(f'CONFIG="{name}": take letters, digits, hyphens and underscores')
    return name


def gathered(root: Path, chosen: str, environment: Mapping[str, str]) -> Answers:
    """Return the answers given beforehand: the environment overrides the file, and that samconfig.toml.

    Raises:
        BadAnswers: A file or a variable can't be read.
    """
    answers = Answers()
    answers.of_sam = _of_sam(root / SAM_FILE, chosen)
    _take(answers, answers.of_sam, SAM_FILE)
    _take(answers, _of_file(root / FILE, chosen), FILE)
    found: dict[str, Any] = {key: environment[name] for key, name in VARIABLES.items() if environment.get(name)}
    for key, name in TABLES.items():
        found[key] = pairs(environment.get(name, ""), name) if name else {}
    _take(answers, found, "the environment")
    architecture = answers.get("architecture")
    if architecture is not None and architecture not in ARCHITECTURES:
        raise BadAnswers(f'architecture "{architecture}" is none of Lambda\'s: take {" or ".join(ARCHITECTURES)}')
    for name in answers.parameters:
        if name in OWN_PARAMETERS:
            key = OWN_PARAMETERS[name]
            raise BadAnswers(f"the parameter {name} is set by the answer {key} ({VARIABLES[key]} in the environment)")
    return answers


def _take(answers: Answers, found: Mapping[str, Any], source: str) -> None:
    for key, value in found.items():
        if key in TABLES:
            table = getattr(answers, key)
            if table | value != table:
                answers.sources[key] = source
            table.update(value)
        elif answers.get(key) != value:
            if key == "domain":
                # An older one's certificate mustn't outlive it.
                answers.values.pop("certificate", None)
            answers.put(key, value, source)


def pairs(text: str, where: str) -> dict[str, str]:
    """Read `Name=value Name="a b"`.

    Raises:
        BadAnswers: A shell couldn't split it, or a word isn't `Name=value`.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadAnswers(f"{where}: {error}") from error
    if bad := [word for word in words if not word.partition("=")[0] or "=" not in word]:
        raise BadAnswers(f'{where}: "{bad[0]}" is no Name=value')
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadAnswers(f"{path.name} can't be read: {error}") from error


def _of_file(path: Path, chosen: str) -> dict[str, Any]:
    table = _document(path).get(chosen, {})
    if not isinstance(table, dict):
        raise BadAnswers(f"{path.name}: {chosen} is no table; write [{chosen}]")
    for key, value in table.items():
        where = f"{path.name}, [{chosen}]"
        if key in TABLES:
            if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
                raise BadAnswers(f'{where}: {key} has to hold lines like Name = "value"')
        elif key not in VARIABLES:
            raise BadAnswers(f"{where}: there is no key {key}; there are {', '.join([*VARIABLES, *TABLES])}")
        elif isinstance(value, bool) or not isinstance(value, str | int | float):
            raise BadAnswers(f"{where}: put the value of {key} into quotes")
    return {key: value if key in TABLES else str(value) for key, value in table.items()}


def _of_sam(path: Path, chosen: str) -> dict[str, Any]:
    """Return the answers in samconfig.toml's environment of that name, as `sam deploy` reads it."""
    commands = _document(path).get(chosen, {})
    found: dict[str, Any] = {}
    for command in ("global", "deploy"):
        given = commands.get(command, {}).get("parameters", {})
        found |= {ours: given[sams] for ours, sams in (("stack", "stack_name"), ("region", "region")) if sams in given}
        for ours, sams in (("parameters", "parameter_overrides"), ("tags", "tags")):
            value = given.get(sams, [])
            text = value if isinstance(value, str) else " ".join(shlex.quote(str(one)) for one in value)
            found[ours] = found.get(ours, {}) | pairs(text, f"{path.name}, {sams}")
    own: dict[str, str] = {
        name: found["parameters"].pop(name) for name in OWN_PARAMETERS if name in found["parameters"]
    }
    return found | _answers_of(own)


def _answers_of(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the answers that parameters of the template stand for."""
    found = {"architecture": parameters.get("Architecture"), "certificate": parameters.get("CertificateArn")}
    found["domain"] = parameters.get("DomainName")
    found["alarms"] = parameters.get("AlarmEmail") or parameters.get("AlarmTopicArn")
    found["whose_jobs"] = parameters.get("TokenClaims")
    if budget := parameters.get("StoreBudgetBytes"):
        found["budget_gib"] = "none" if budget == "0" else f"{int(budget) / 1024**3:g}"
    return {key: value for key, value in found.items() if value}


def keep(root: Path, chosen: str, answers: Answers) -> Path:
    """Write the answers into the file, beside those of other sets; all of it or nothing.

    Raises:
        BadAnswers: It can't be written.
    """
    path = root / FILE
    document = {name: table for name, table in _document(path).items() if isinstance(table, dict)}
    document[chosen] = _unlike(
        answers.of_sam, {key: value for key, value in answers.values.items() if key in VARIABLES}
    )
    for key in TABLES:
        if table := _unlike(answers.of_sam.get(key, {}), getattr(answers, key)):
            document[chosen][key] = table
    beside = path.with_suffix(".new")
    try:
        beside.write_text(HEADER + as_toml(document))
        os.replace(beside, path)  # noqa: PTH105 - so that a test can see it fail
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise BadAnswers(f"{path.name} can't be written: {error.strerror}") from error
    return path


def _unlike(other: Mapping[str, Any], table: Mapping[str, str]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if other.get(key) != value}


def as_toml(document: Mapping[str, Mapping[str, Any]]) -> str:
    """Write tables of strings and numbers, and such tables within them, which is all that the file may hold."""
    blocks = []
    for name, table in document.items():
        blocks.append(_table(_key(name), {key: value for key, value in table.items() if not isinstance(value, dict)}))
        blocks += [
            _table(f"{_key(name)}.{_key(key)}", value) for key, value in table.items() if isinstance(value, dict)
        ]
    return "".join(blocks)


def _table(title: str, rows: Mapping[str, str]) -> str:
    lines = (f"{_key(key)} = {_string(value)}\n" for key, value in rows.items())
    return f"\n[{title}]\n{''.join(lines)}"


def _key(name: str) -> str:
    return name if SET_NAME.fullmatch(name) else _string(name)


def _string(value: Any) -> str:
    """Write a string or number as in JSON, which differs from TOML in DEL only."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


# ---------------------------------------------------------------- GitHub: names of owners and repositories to ids

API = "https://api.github.com"
TIMEOUT_SECONDS = 10
MAX_BYTES = 1_000_000
OK, NOT_FOUND, FORBIDDEN, TOO_MANY = 200, 404, 403, 429


class NoSuch(Exception):
    """Raised when GitHub knows no such owner or repository; the message says what that can mean."""


class NotAsked(Exception):
    """Raised when GitHub couldn't be asked; the message says why."""


@dataclass(frozen=True)
class GitHub:
    """Looks ids up by `gh` if it is logged in, or else by GitHub's public API.

    Args:
        api: URL of the public API; GITHUB_API_URL for a GitHub of your own.
        gh: Path of the program `gh`; None if there is none.
    """

    api: str = API
    gh: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "GitHub":
        program = shutil.which("gh", path=environment.get("PATH"))
        return cls(environment.get("GITHUB_API_URL") or API, program)

    def id_of(self, subject: Subject) -> str:
        """Return the id of an owner or repository.

        Raises:
            NoSuch: There is none of that name, or none that may be seen.
            NotAsked: Neither `gh` nor the network could be had.
        """
        path = f"repos/{subject.name}" if subject.repository else f"users/{subject.name}"
        found = self._by_gh(path)
        if found is None:
            found = self._by_network(path, subject)
        number = found.get("id")
        if not isinstance(number, int) or isinstance(number, bool):
            raise NotAsked("GitHub's answer has no id")
        return str(number)

    def _by_gh(self, path: str) -> Mapping[str, object] | None:
        """Return None if gh is missing, isn't logged in or doesn't know; the public API then says why."""
        if self.gh is None:
            return None
        try:
            asked = subprocess.run(
                [self.gh, "api", path],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
            return _object(asked.stdout) if asked.returncode == 0 else None
        except (OSError, subprocess.TimeoutExpired, NotAsked):
            return None

    def _by_network(self, path: str, subject: Subject) -> Mapping[str, object]:
        try:
            # GitHub renames by redirects, and an id outlives them.
            answer = urllib3.request(
                "GET",
                f"{self.api}/{path}",
                headers={"Accept": "application/vnd.github+json", "User-Agent": "serverless-actions-cache"},
                timeout=TIMEOUT_SECONDS,
                retries=urllib3.Retry(2, connect=0, read=0, other=0),
                preload_content=False,
            )
            body = answer.read(MAX_BYTES)
        except HTTPError as error:
            raise NotAsked(f"{self.api} can't be reached ({printable(str(error))[:120]})") from error
        if answer.status == NOT_FOUND:
            hidden = ", or it is private and `gh auth login` wasn't done" if subject.repository else ""
            raise NoSuch(f"GitHub shows no {subject.kind} called {subject.name}: a typing error{hidden}")
        if answer.status in (FORBIDDEN, TOO_MANY):
            raise NotAsked("GitHub answers no more requests from this address for an hour; `gh auth login` helps")
        if answer.status != OK:
            raise NotAsked(f"{self.api} answers {answer.status}")
        return _object(body)


def _object(body: bytes) -> Mapping[str, object]:
    """Return the JSON object in the body.

    Raises:
        NotAsked: There is none.
    """
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise NotAsked("what answers isn't GitHub's API")
    return document

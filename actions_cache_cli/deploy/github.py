"""Owners and repositories looked up to their numbers: by `gh` where it is logged in, else by GitHub's public API."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError

from actions_cache_cli.deploy.questions import Subject
from actions_cache_cli.doctor.printable import printable

API = "https://api.github.com"
SECONDS = 10
MAX_BYTES = 1_000_000
OK, NOT_FOUND, FORBIDDEN, TOO_MANY = 200, 404, 403, 429


class NoSuch(Exception):
    """Raised when GitHub knows no such owner or repository; the message says what that can mean."""


class NotAsked(Exception):
    """Raised when GitHub couldn't be asked; the message says why."""


@dataclass(frozen=True)
class GitHub:
    """GitHub, as it can be asked from here.

    Args:
        api: where the public API is; GITHUB_API_URL for a GitHub of your own.
        gh: the program, None for none.
    """

    api: str = API
    gh: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "GitHub":
        program = shutil.which("gh", path=environment.get("PATH"))
        return cls(environment.get("GITHUB_API_URL") or API, program)

    def id_of(self, subject: Subject) -> str:
        """Return its number.

        Raises:
            NoSuch: there is none of that name, or none that may be seen.
            NotAsked: neither `gh` nor the network could be had.
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
        """Return None where gh isn't there, isn't logged in, or doesn't know: the public API then says why."""
        if self.gh is None:
            return None
        try:
            asked = subprocess.run(
                [self.gh, "api", path], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
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
                timeout=SECONDS,
                retries=urllib3.Retry(2, connect=0, read=0, other=0),
                preload_content=False,
            )
            body = answer.read(MAX_BYTES)
        except HTTPError as fault:
            raise NotAsked(f"{self.api} can't be reached ({printable(str(fault))[:120]})") from fault
        if answer.status == NOT_FOUND:
            hidden = ", or it is private and `gh auth login` wasn't done" if subject.repository else ""
            raise NoSuch(f"GitHub shows no {subject.kind} called {subject.name}: a typing error{hidden}")
        if answer.status in (FORBIDDEN, TOO_MANY):
            raise NotAsked("GitHub answers no more questions from this address for an hour; `gh auth login` helps")
        if answer.status != OK:
            raise NotAsked(f"{self.api} answers {answer.status}")
        return _object(body)


def _object(body: bytes) -> Mapping[str, object]:
    """Return the JSON object in the body.

    Raises:
        NotAsked: there is none in it.
    """
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise NotAsked("what answers isn't GitHub's API")
    return document

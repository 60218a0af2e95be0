"""Defines what a check is, runs one, and holds what the checks of one run share."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlsplit

from actions_cache_cli.deployment_check.diagnoses import explain_error
from actions_cache_cli.deployment_check.stack import Stack
from actions_cache_cli.doctor import probe
from actions_cache_cli.doctor.address import Address, NoAnswer
from actions_cache_cli.doctor.probe import Job, Limits, Refused, Reply
from actions_cache_cli.doctor.report import one_line

T = TypeVar("T")

LIMITS = Limits(silence_seconds=60, transfer_seconds=180, max_bytes=32 * 1024 * 1024)
"""A distribution may give its origin 60 s. 180 s are enough for 17 MB at a tenth of a megabyte a second."""
MERGE_SECONDS = 60
"""Longest wait for a merge. One of 17 MB takes a second, and a cold start before it."""

VERSION = "verify-deployment"
PLAIN_READER = "@actions/cache-6.3.0 verify-deployment"
"""Name of a client that is sent to S3 as soon as there is one object."""
SEEKING_READER = "verify-deployment"
"""Name of an unknown client, which may send x-ms-range and so is never sent to S3 itself."""


class Outcome(StrEnum):
    OK = "ok"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so."""

    title: str
    """A sentence that is true of a good deployment."""
    look: "Callable[[Context], str]"
    """Returns what it saw, or raises Failed, Skipped, NoAnswer or Refused. Leaves in the context what others need."""


@dataclass(frozen=True, slots=True)
class Result:
    title: str
    outcome: Outcome
    detail: str
    """One line of observation; a failure also says what it means and what to do."""


def run(check: Check, context: "Context") -> Result:
    """Run a check. Its own errors become a result too, so that they don't hide the checks after it."""
    try:
        outcome, detail = Outcome.OK, check.look(context)
    except Skipped as skipped:
        outcome, detail = Outcome.SKIP, str(skipped)
    except Failed as failed:
        outcome, detail = Outcome.FAIL, str(failed)
    except (NoAnswer, Refused) as error:
        outcome, detail = Outcome.FAIL, explain_error(error)
    except Exception as error:  # noqa: BLE001 - see above
        detail = f"this check itself failed, so it proves nothing: {error!r}; please report it with this line"
        outcome = Outcome.FAIL
    return Result(check.title, outcome, one_line(detail))


class Failed(Exception):
    """Raised when something isn't so; the message says what was seen, what it means and what to do."""


class Skipped(Exception):
    """Raised when something can't be looked at; the message says why, and how it could be."""


def needed(thing: T | None, name: str) -> T:
    """Return what an earlier check should have made.

    Raises:
        Skipped: It didn't.
    """
    if thing is None:
        raise Skipped(f"needs {name}, which an earlier check didn't get")
    return thing


@dataclass
class Client(probe.Client):
    """A client that asks nothing of a host that is known to be out of reach."""

    limits: Limits = LIMITS
    user_agent: str = SEEKING_READER
    is_cut_off: bool = False

    def send(self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        if self.is_cut_off:
            raise Skipped("needs a host that can be reached")
        return super().send(method, url, body, headers)


def new_job(client: probe.Client, base: str, token: str) -> Job:
    return Job(client, base, token, VERSION, PLAIN_READER)


@dataclass
class Upload:
    """Holds what was uploaded to one upload URL."""

    key: str | None
    """Key of the reservation; None if the URL was signed here, for an archive that no table knows."""
    url: str
    blocks: dict[str, bytes] = field(default_factory=dict)
    """Blocks that arrived, by id, in the order of the block list."""
    is_committed: bool = False
    is_finalized: bool = False
    early_url: str | None = None
    """URL from a lookup during the finalize, so likely before the merge."""

    @property
    def archive_id(self) -> str:
        return urlsplit(self.url).path.rpartition("/")[2]

    @property
    def content(self) -> bytes:
        return b"".join(self.blocks.values())


@dataclass
class Context:
    """Holds what the checks of one run share: the server, the credentials, and what earlier checks made."""

    address: Address
    given_token: str | None
    """The deployer's token; None to try an unsigned one."""
    stack: Stack | None = None
    """The stack, if it could be read with the deployer's credentials."""
    stack_error: str | None = None
    """Reason why it couldn't."""
    merge_seconds: float = MERGE_SECONDS
    client: Client = field(default_factory=Client)
    name: str = field(default_factory=lambda: f"verify-deployment-{secrets.token_hex(6)}")

    job: Job | None = None
    why_no_job: str = "needs a token that the server accepts"
    proof: Upload | None = None
    """A small entry, for what was never seen on AWS."""
    first_put: Reply | None = None
    saved: Upload | None = None
    """A large entry, which is saved, merged and restored."""
    unmerged_url: str | None = None
    """The large entry's URL from the lookup right after its finalize."""

    @property
    def seeking_base(self) -> str:
        """Return the beginning of the URLs for clients that seek by x-ms-range."""
        return self.stack.api_url if self.stack and self.stack.api_url else self.address.base

    def saving_job(self) -> Job:
        """Return a job that may save.

        Raises:
            Skipped: There is none.
        """
        if self.job is None:
            raise Skipped(self.why_no_job)
        return self.job

    def saved_entry(self) -> Upload:
        """Return the large entry, finalized.

        Raises:
            Skipped: It wasn't saved.
        """
        self.saving_job()
        if self.saved is None or not self.saved.is_finalized:
            raise Skipped("needs the saved entry, and its save failed above")
        return self.saved

"""What the checks of one run share: who is asked, with what, and what earlier checks made."""

import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from actions_cache_cli.deployment_check.address import Address
from actions_cache_cli.deployment_check.job import Job
from actions_cache_cli.deployment_check.stack import Stack
from actions_cache_cli.deployment_check.verdicts import Skipped
from actions_cache_cli.deployment_check.wire import Client, Reply

MERGE_SECONDS = 60
"""How long a merge is waited for. Of 17 MB it takes a second, and a cold start before it."""


@dataclass
class Upload:
    """What was put under one upload URL."""

    key: str | None
    """Of the reservation; None where the URL was signed here, for an archive that no table knows."""
    url: str
    blocks: dict[str, bytes] = field(default_factory=dict)
    """By block id, in the order of the block list; only those that arrived."""
    is_committed: bool = False
    is_finalized: bool = False
    early_url: str | None = None
    """From a lookup while it was finalized, so likely before its merge."""

    @property
    def archive_id(self) -> str:
        return urlsplit(self.url).path.rpartition("/")[2]

    @property
    def content(self) -> bytes:
        return b"".join(self.blocks.values())


@dataclass
class Context:
    address: Address
    given_token: str | None
    """The deployer's; None where an unsigned one is to do."""
    stack: Stack | None = None
    """Where the deployer's credentials are to help."""
    stack_fault: str | None = None
    """Why they can't."""
    merge_seconds: float = MERGE_SECONDS
    client: Client = field(default_factory=Client)
    name: str = field(default_factory=lambda: f"verify-deployment-{secrets.token_hex(6)}")

    job: Job | None = None
    why_no_job: str = "needs a token that the server accepts"
    proof: Upload | None = None
    """A small one, for what was never seen on AWS."""
    first_put: Reply | None = None
    saved: Upload | None = None
    """The large one, for the journey of an entry."""
    unmerged_url: str | None = None
    """The large one's, from the lookup right after its finalize."""

    @property
    def seeking_base(self) -> str:
        """Return the beginning of the URLs for clients that seek by x-ms-range."""
        return self.stack.api_url if self.stack and self.stack.api_url else self.address.base

    def saving_job(self) -> Job:
        """Raises Skipped."""
        if self.job is None:
            raise Skipped(self.why_no_job)
        return self.job

    def saved_entry(self) -> Upload:
        """The large entry, finalized. Raises Skipped."""
        self.saving_job()
        if self.saved is None or not self.saved.is_finalized:
            raise Skipped("needs the saved entry, and its save failed above")
        return self.saved

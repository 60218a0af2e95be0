"""The real @actions/cache, driven as a workflow's step drives it (cache.mjs)."""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from dev.clients.runtime_token import Api, job_variables

HERE = Path(__file__).parent
DRIVER = HERE / "cache.mjs"

NEWEST: Final = "@actions/cache"
VERSION_5: Final = "@actions/cache-5"
VERSION_4: Final = "@actions/cache-4"
VERSION_3: Final = "@actions/cache-3"
Package = Literal["@actions/cache", "@actions/cache-5", "@actions/cache-4", "@actions/cache-3"]
"""Names of the client's versions in package.json."""

BLOB_HOST = "cache.blob.core.windows.net"
"""A host that the client takes for Azure's: it downloads from there by Azure's SDK, or in chunks side by side."""


def version_of(package: Package) -> str:
    """Return the version that package.json pins."""
    pinned: str = json.loads((HERE / "package.json").read_text())["dependencies"][package]
    return pinned.rpartition("@")[2]


class StepFailed(Exception):
    """Raised when the step ended with an error: the job would be red."""


class SentRequest(NamedTuple):
    method: str
    url: str
    status: int
    sent_bytes: int
    received_bytes: int
    began: float
    """Seconds since the call began."""
    ended: float

    @property
    def is_part(self) -> bool:
        """Return whether it uploads a part: a Put Blob or a Put Block, or a chunk of v1."""
        return self.method == "PATCH" or (self.method == "PUT" and "comp=blocklist" not in self.url)

    @property
    def is_download(self) -> bool:
        return self.method == "GET" and "/_apis/" not in self.url

    @property
    def is_redirect(self) -> bool:
        return self.status // 100 == 3


@dataclass(frozen=True)
class Outcome:
    result: str | int | None
    """Result of the call: of a save the entry's id or -1, of a restore the matched key or nothing."""
    seconds: float
    requests: Sequence[SentRequest]
    log: Sequence[str]
    """Lines of the client in the job's log; `::warning::` and `::error::` begin those that the log marks."""

    @property
    def parts(self) -> list[SentRequest]:
        return [request for request in self.requests if request.is_part]

    @property
    def downloads(self) -> list[SentRequest]:
        return [request for request in self.requests if request.is_download]


def _ignore(line: str) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class ActionsCache:
    """The client of one job.

    Args:
        server: base of ACTIONS_RESULTS_URL; in v1, of ACTIONS_CACHE_URL.
        workspace: the job's directory; paths are relative to it.
        token: the job's runtime token.
        package: version of the client.
        on_line: called with each line of the client's log as it comes.
        api: version of the service.
        chunk_bytes: size of a chunk in v1, where the caller chooses it.
        debug: whether the job was started with debug logging, which is then in the log too.
    """

    server: str
    workspace: Path
    token: str
    package: Package = NEWEST
    on_line: Callable[[str], None] = _ignore
    api: Api = "v2"
    chunk_bytes: int | None = None
    debug: bool = False

    @property
    def temporary(self) -> Path:
        """Directory in which the client packs and unpacks."""
        return self.workspace / ".runner-temp"

    def by_blob_host(self) -> "ActionsCache":
        """Return the same job, but with a name of the server that the client takes for Azure's."""
        return replace(self, server=f"http://{BLOB_HOST}:{urlsplit(self.server).port}")

    def save(self, paths: Sequence[str], key: str) -> Outcome:
        options = {} if self.chunk_bytes is None else {"uploadChunkSize": self.chunk_bytes}
        return self._run({"operation": "save", "paths": paths, "key": key, "options": options})

    def restore(
        self, paths: Sequence[str], key: str, restore_keys: Sequence[str] = (), *, lookup_only: bool = False
    ) -> Outcome:
        return self._run(
            {
                "operation": "restore",
                "paths": paths,
                "key": key,
                "restoreKeys": restore_keys,
                "options": {"lookupOnly": lookup_only},
            }
        )

    def _run(self, call: dict[str, object]) -> Outcome:
        """Run the client in Node.

        Raises:
            StepFailed: the step ended with an error.
        """
        self.temporary.mkdir(exist_ok=True)
        with subprocess.Popen(
            [
                "node",
                "--require",
                str(HERE / "blob_host.cjs"),
                str(DRIVER),
                json.dumps({"package": self.package, **call}),
            ],
            cwd=self.workspace,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            log = []
            for line in process.stdout or ():
                if line.strip() and (self.debug or not line.startswith("::debug::")):
                    log.append(line.rstrip("\n"))
                    self.on_line(log[-1])
        if process.returncode:
            raise StepFailed("\n".join(log))
        answer = json.loads(log.pop())
        requests = [SentRequest(**request) for request in answer["requests"]]
        return Outcome(answer["result"], answer["seconds"], requests, log)

    def _environment(self) -> dict[str, str]:
        """Return a job's variables, and none of this process: @actions/cache reads many more."""
        return {
            **job_variables(self.server, self.token, self.api),
            **({"RUNNER_DEBUG": "1"} if self.debug else {}),
            "PATH": os.environ["PATH"],
            "HOME": str(self.temporary),
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": str(self.temporary),
        }

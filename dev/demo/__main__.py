"""`make demo`: a directory of 200 MB, saved and restored by the real @actions/cache against `make run`'s server.

Exit code 0 when every byte came back twice, once out of the parts and once as the merged object; else 1.
"""

import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from dev.clients.actions_cache import ActionsCache, Outcome, SentRequest, StepFailed
from dev.clients.local_server import ServerFailed, running_server
from dev.clients.runtime_token import runtime_token
from dev.demo.screen import MEGABYTE, Screen
from dev.demo.tree import FileState, differences, fingerprint, grow

TREE = "project"
KEY = "demo"

SETTINGS = {"MERGE_TRIGGER": "first-download"}
"""So that the first restore is sure to find parts. By default a merge starts as soon as an entry is saved."""

MERGE_TRIES = 10
SHOWN_DIFFERENCES = 12

NEXT = {
    "make run": "the same server for runners of this machine; it says how to point one at it",
    "make token": "opens the page of that server, http://127.0.0.1:3000/ (PORT=... is another)",
    "make deploy": "puts it into your AWS account, by six questions at most",
}

SENT = re.compile(r"Sent (\d+) of (\d+)")


class Failed(Exception):
    """The demo shows what must not be. The message is a title and its details."""

    def __init__(self, title: str, details: Sequence[str]) -> None:
        super().__init__(title, details)
        self.title, self.details = title, details


@dataclass(frozen=True)
class Speed:
    moved_bytes: int
    seconds: float

    @property
    def megabytes_per_second(self) -> float:
        return self.moved_bytes / MEGABYTE / self.seconds

    def __str__(self) -> str:
        return f"{self.megabytes_per_second:.0f} MB/s"


def speed_of(requests: Sequence[SentRequest]) -> Speed:
    """From the first request's beginning to the last one's end, without the packing before or after."""
    seconds = max(request.ended for request in requests) - min(request.began for request in requests)
    return Speed(sum(request.sent_bytes + request.received_bytes for request in requests), seconds)


@dataclass(frozen=True)
class Job:
    """A job with its workspace: what it saves, and what it expects back."""

    screen: Screen
    cache: ActionsCache
    project: Mapping[str, FileState]

    @property
    def tree(self) -> Path:
        return self.cache.workspace / TREE

    def save(self) -> Outcome:
        """Raises: Failed."""
        with self.screen.transfer("save") as (phase, bar):

            def hear(line: str) -> None:
                if sent := SENT.match(line):
                    bar.show(int(sent[1]), int(sent[2]))

            saved = replace(self.cache, on_line=hear).save([TREE], KEY)
            if saved.result == -1:
                raise Failed("nothing was saved", saved.log)
            speed = speed_of(saved.parts)
            phase.megabytes_per_second = speed.megabytes_per_second
            phase.outcome = f"an archive of {megabytes(speed.moved_bytes)} in {len(saved.parts)} blocks"
        return saved

    def restore(self, name: str, saved: Outcome) -> Outcome:
        """Raises: Failed."""
        shutil.rmtree(self.tree)
        size = sum(part.sent_bytes for part in saved.parts)
        with self.screen.transfer(name) as (phase, bar):
            restored = bar.follow(lambda: self.cache.restore([TREE], KEY), self._received_bytes, size)
            if restored.result != KEY:
                raise Failed("nothing was restored", restored.log)
            phase.megabytes_per_second = speed_of(restored.downloads).megabytes_per_second
            phase.outcome = (
                f"streamed from its {len(saved.parts)} parts"
                if self.came_from_us(restored)
                else "one merged object, by presigned URL"
            )
        with self.screen.phase("compare") as phase:
            wrong = differences(self.project, fingerprint(self.tree))
            if wrong:
                raise Failed(f"{len(wrong)} of {len(self.project):,} files differ", wrong[:SHOWN_DIFFERENCES])
            phase.outcome = f"{len(self.project):,} files, every byte and every mode as before"
        return restored

    def restore_merged(self, saved: Outcome) -> Outcome:
        """Raises: Failed."""
        for _ in range(MERGE_TRIES):
            restored = self.restore("restore again", saved)
            if not self.came_from_us(restored):
                return restored
        raise Failed("the archive isn't merged", [f"{MERGE_TRIES} restores were all streamed from its parts"])

    def came_from_us(self, restored: Outcome) -> bool:
        """Return whether the server streamed, and the bytes didn't come from the store."""
        return restored.downloads[-1].url.startswith(self.cache.server)

    def _received_bytes(self) -> int:
        try:
            return sum(archive.stat().st_size for archive in self.cache.temporary.glob("*/cache.t*"))
        except FileNotFoundError:
            # Unpacked and deleted between the two looks.
            return 0


def run(screen: Screen, directory: Path) -> None:
    """Raises: Failed, StepFailed, ServerFailed."""
    workspace = directory / "workspace"
    with screen.phase("make a project") as phase:
        grow(workspace / TREE)
        project = fingerprint(workspace / TREE)
        size = sum(file.size for file in project.values())
        phase.outcome = f"{len(project):,} files, {megabytes(size)}"
    with ExitStack() as running:
        with screen.phase("start the server") as phase:
            url = running.enter_context(running_server(directory / "server", SETTINGS))
            phase.outcome = f"{url}, on real engines of its own"
        job = Job(screen, ActionsCache(url, workspace, runtime_token()), project)
        saved = job.save()
        streamed = job.restore("restore", saved)
        if not job.came_from_us(streamed):
            raise Failed("the first restore wasn't streamed from the parts", streamed.log)
        merged = job.restore_merged(saved)
    up, from_parts, from_store = (speed_of(moved) for moved in (saved.parts, streamed.downloads, merged.downloads))
    screen.summary(
        "every byte came back, twice",
        {
            "Saved": f"{megabytes(size)} in {len(project):,} files by the real @actions/cache: {up}",
            "Restored": f"at once, out of its {len(saved.parts)} parts, while they were merged: {from_parts}",
            "Restored again": f"as one object, by presigned URL from the store: {from_store}",
        },
    )


def megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.0f} MB"


def main() -> int:
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="actions-cache-demo-") as directory:
        try:
            run(screen, Path(directory))
        except Failed as failed:
            screen.failure(failed.title, failed.details)
        except StepFailed as failed:
            screen.failure("@actions/cache failed its step", [str(failed)])
        except ServerFailed as failed:
            screen.failure("the server didn't start", [str(failed)])
        except KeyboardInterrupt:
            screen.failure("interrupted; what was started is stopped", [])
        else:
            screen.steps("What to do next", NEXT)
            return 0
    return 1


if __name__ == "__main__":
    # As Ctrl-C: what was started has to be stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())

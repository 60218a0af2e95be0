"""`make demo`: a directory of 200 MB, saved and restored by the real @actions/cache against `make run`'s server.

Exit code 0: every byte came back twice, once out of the parts and once as the merged object. 1: something failed.
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
from dev.demo.screen import Screen
from dev.demo.tree import FileState, differences, fingerprint, grow

TREE = "project"
KEY = "demo"
MEGABYTE = 1_000_000

SETTINGS = {"MERGE_TRIGGER": "first-download"}
"""Settings with which the first restore is sure to find parts. By default a save starts the merge."""

MERGE_TRIES = 10
SHOWN_DIFFERENCES = 12

NEXT = {
    "make run": "the same server for runners of this machine; it says how to point one at it",
    "make token": "opens the page of that server, http://127.0.0.1:3000/ (PORT=... is another)",
    "make deploy": "puts it into your AWS account, by six questions at most",
}

SENT = re.compile(r"Sent (\d+) of (\d+)")


class Failed(Exception):
    """Raised when the demo shows what must not be. The arguments are a title and its details."""


def main() -> int:
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="actions-cache-demo-") as directory:
        try:
            run(screen, Path(directory))
        except Failed as failed:
            screen.failure(*failed.args)
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


def run(screen: Screen, directory: Path) -> None:
    """Save, restore from the parts, and restore the merged object.

    Raises:
        Failed: something isn't as it was saved.
        StepFailed: a step of @actions/cache failed.
        ServerFailed: the server didn't start.
    """
    tree = directory / "workspace" / TREE
    with screen.phase("make a project") as phase:
        grow(tree)
        project = fingerprint(tree)
        size = megabytes(sum(file.size for file in project.values()))
        phase.outcome = f"{len(project):,} files, {size}"
    with ExitStack() as running:
        with screen.phase("start the server") as phase:
            url = running.enter_context(running_server(directory / "server", SETTINGS))
            phase.outcome = f"{url}, on emulators of its own"
        job = Job(screen, ActionsCache(url, tree.parent, runtime_token()), project)
        saved = job.save()
        streamed = job.restore("restore", saved)
        if not job.was_streamed(streamed):
            raise Failed("the first restore wasn't streamed from the parts", streamed.log)
        merged = job.restore_merged(saved)
    screen.summary(
        "every byte came back, twice",
        {
            "Saved": f"{size} in {len(project):,} files by the real @actions/cache: {speed(saved.parts):.0f} MB/s",
            "Restored": f"at once, out of its {len(saved.parts)} parts, while they were merged: "
            f"{speed(streamed.downloads):.0f} MB/s",
            "Restored again": f"as one object, by presigned URL from the store: {speed(merged.downloads):.0f} MB/s",
        },
    )


@dataclass(frozen=True)
class Job:
    """A job that saves a project, and checks what it restores."""

    screen: Screen
    cache: ActionsCache
    project: Mapping[str, FileState]

    def save(self) -> Outcome:
        with self.screen.phase("save", transfers=True) as phase:

            def on_line(line: str) -> None:
                if sent := SENT.match(line):
                    phase.show(int(sent[1]), int(sent[2]))

            saved = replace(self.cache, on_line=on_line).save([TREE], KEY)
            if saved.result == -1:
                raise Failed("nothing was saved", saved.log)
            phase.megabytes_per_second = speed(saved.parts)
            phase.outcome = f"an archive of {megabytes(size_of(saved))} in {len(saved.parts)} blocks"
        return saved

    def restore(self, name: str, saved: Outcome) -> Outcome:
        tree = self.cache.workspace / TREE
        shutil.rmtree(tree)
        with self.screen.phase(name, transfers=True) as phase:
            restored = phase.follow(lambda: self.cache.restore([TREE], KEY), self._received_bytes, size_of(saved))
            if restored.result != KEY:
                raise Failed("nothing was restored", restored.log)
            phase.megabytes_per_second = speed(restored.downloads)
            streamed = f"streamed from its {len(saved.parts)} parts"
            phase.outcome = streamed if self.was_streamed(restored) else "one merged object, by presigned URL"
        with self.screen.phase("compare") as phase:
            if wrong := differences(self.project, fingerprint(tree)):
                raise Failed(f"{len(wrong)} of {len(self.project):,} files differ", wrong[:SHOWN_DIFFERENCES])
            phase.outcome = f"{len(self.project):,} files, every byte and every mode as before"
        return restored

    def restore_merged(self, saved: Outcome) -> Outcome:
        for _ in range(MERGE_TRIES):
            restored = self.restore("restore again", saved)
            if not self.was_streamed(restored):
                return restored
        raise Failed("the archive isn't merged", [f"{MERGE_TRIES} restores were all streamed from its parts"])

    def was_streamed(self, restored: Outcome) -> bool:
        """Return whether the bytes came from the server, and not from the store."""
        return restored.downloads[-1].url.startswith(self.cache.server)

    def _received_bytes(self) -> int:
        try:
            return sum(archive.stat().st_size for archive in self.cache.temporary.glob("*/cache.t*"))
        except FileNotFoundError:
            # Unpacked and deleted between the two looks.
            return 0


def size_of(saved: Outcome) -> int:
    return sum(part.sent_bytes for part in saved.parts)


def speed(requests: Sequence[SentRequest]) -> float:
    """Return the MB/s from the first request's beginning to the last one's end, without packing and unpacking."""
    seconds = max(request.ended for request in requests) - min(request.began for request in requests)
    return sum(request.sent_bytes + request.received_bytes for request in requests) / MEGABYTE / seconds


def megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.0f} MB"


if __name__ == "__main__":
    # As Ctrl-C: what was started has to be stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())

"""A soak run: a local run with short lifetimes, clients that work on it for a while, and the audit at the end."""

import contextlib
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Event, Lock

import psutil

from actions_cache.domain.entry import EntryFamily, EntryName
from actions_cache.settings import Settings
from dev.clients.runtime_token import BRANCH, REPOSITORY, runtime_token
from dev.clients.wire import VERSION
from dev.services import AllServices
from tests.guarantees.soak.audit import Audit, audit
from tests.guarantees.soak.client import SoakClient
from tests.guarantees.soak.tally import Slot, Tally
from tests.integration.local_run.local_run import LocalRun

SLOTS_PER_CLIENT = 3

LIFETIMES = {
    "UPLOAD_URL_SECONDS": "60",
    "RESERVATION_SECONDS": "60",
    "DOWNLOAD_URL_SECONDS": "15",
    "MAX_STREAM_SECONDS": "30",
    "UNUSED_ENTRY_SECONDS": "300",
    "CLEANUP_INTERVAL_SECONDS": "2",
    "ORPHANS_INTERVAL_SECONDS": "10",
}
"""Settings so short that within minutes everything also expires, is deleted and swept."""

LIMIT_SECONDS = 60
"""Longest age of an orphan here: some cleanups, of which one may take a while on a busy machine."""


@dataclass
class Soak:
    """The findings of a run."""

    tally: Tally = field(default_factory=Tally)
    memories: dict[str, "Memory"] = field(default_factory=lambda: defaultdict(Memory))
    audit: Audit = field(default_factory=Audit)
    errors_logged: list[str] = field(default_factory=list)

    @property
    def violations(self) -> dict[str, int]:
        found = dict(self.tally.violations)
        found |= {kind: len(details) for kind, details in self.audit.violations.items()}
        found |= {f"{name} grows": 1 for name, memory in self.memories.items() if not memory.is_flat()}
        if self.errors_logged:
            found["logged errors"] = len(self.errors_logged)
        return found


def soak(directory: Path, seconds: float, clients: int, seed: int, *, settles: bool = True) -> Soak:
    """Run clients on a new local run, and audit what they leave.

    Args:
        directory: Where data and logs go.
        seconds: How long the clients work.
        clients: Number of clients.
        seed: Start of the random choices.
        settles: Whether to wait at the end until every orphan should be gone; else the audit excuses young ones.
    """
    found = Soak()
    run = LocalRun.start(directory / "data", **LIFETIMES)
    try:
        run.wait_until_ready()
        services = _services(run)
        with _sampled(run, found.memories):
            _let_clients_work(found.tally, run, services, seconds, clients, seed)
            if settles:
                settings = services.settings
                time.sleep(max(2 * settings.upload_url_seconds, settings.grace_seconds) + LIMIT_SECONDS)
        found.audit = audit(services, services.clock.now(), LIMIT_SECONDS)
    finally:
        run.stop()
    found.errors_logged = _errors_in(directory / "data" / "logs")
    return found


def _let_clients_work(
    tally: Tally, run: LocalRun, services: AllServices, seconds: float, clients: int, seed: int
) -> None:
    slots = [[Slot(f"soak {i:04d} {j}") for j in range(SLOTS_PER_CLIENT)] for i in range(clients)]
    every_slot = [slot for own in slots for slot in own]
    unused_seconds = services.settings.unused_entry_seconds
    stop, token = Event(), runtime_token(exp=int(time.time() + seconds) + 3600)
    remove = _remover(services)
    with ThreadPoolExecutor(clients) as executor:
        working = []
        for number, own in enumerate(slots):
            rng = Random(f"{seed}/{number}")
            client = SoakClient(run.url, token, own, every_slot, remove, unused_seconds, tally, rng)
            working.append(executor.submit(client.run, stop))
        until = time.monotonic() + seconds
        while time.monotonic() < until and run.process.poll() is None:
            stop.wait(0.2)
        stop.set()
        for done in working:
            done.result()
    assert run.process.poll() is None, run.lines


def _services(run: LocalRun) -> AllServices:
    """Return the use cases on the same emulators, for removals, which clients can't ask for, and for the audit."""
    names = {name: value for name, value in run.variables.items() if name.isupper()}
    os.environ.update({name: value for name, value in names.items() if name.startswith("AWS_")})
    return AllServices(Settings.model_validate({name.lower(): value for name, value in (names | LIFETIMES).items()}))


def _remover(services: AllServices) -> Callable[[str], bool]:
    one_at_a_time = Lock()  # pynamodb's models share a connection

    def remove(key: str) -> bool:
        """Remove the entry; a lookup that records its use in between makes a try fail, so there are several."""
        name = EntryName(EntryFamily(REPOSITORY, BRANCH, VERSION), key)
        with one_at_a_time:
            while (entry := services.table.entry(name)) is not None:
                if services.remove_entry(entry.archive_id, lambda _: True):
                    return True
        return False

    return remove


def _errors_in(logs: Path) -> list[str]:
    """Return the errors in the functions' logs: an unexpected one is logged, whatever its client saw."""
    return [
        f"{log.name}: {line[:400]}"
        for log in logs.iterdir()
        if any(name in log.name for name in ("server", "worker", "schedule", "orphans"))
        for line in log.read_text(errors="replace").splitlines()
        if '"level":"ERROR"' in line or "Traceback (most recent call last)" in line
    ]


# ------------------------------------------------------------------ memory

MIB = 1024 * 1024
SAMPLE_SECONDS = 1

WARM_UP = 1 / 3
"""Part of a run that doesn't count: pools fill, modules load, the allocator finds its size."""

FEWEST_SAMPLES = 180

MAX_GROWTH_MIB, MAX_GROWTH = 48, 0.25
"""Most growth from one third of a run to the next, whichever of the two is more. Less: the allocator's variation fails
a run. More: a leak needs longer runs to show; with this, in a quarter of an hour, 10 MiB a minute."""


@dataclass
class Memory:
    """Samples of a process's resident MiB, with their times."""

    samples: list[tuple[float, float]] = field(default_factory=list)

    @property
    def _warm(self) -> list[tuple[float, float]]:
        return self.samples[int(len(self.samples) * WARM_UP) :]

    @property
    def typical_mib(self) -> float:
        return statistics.median(size for _, size in self._warm)

    @property
    def slope_mib_per_hour(self) -> float:
        """Slope by least squares, after the warm-up."""
        times, sizes = zip(*self._warm, strict=True)
        return statistics.linear_regression(times, sizes).slope * 3600 if len(set(times)) > 1 else 0.0

    def is_flat(self) -> bool:
        """Return whether the memory doesn't grow; a run that is too short counts as flat."""
        if len(self.samples) < FEWEST_SAMPLES:
            return True
        warm = [size for _, size in self._warm]
        half = len(warm) // 2
        growth = statistics.median(warm[half:]) - statistics.median(warm[:half])
        return growth <= max(MAX_GROWTH_MIB, MAX_GROWTH * self.typical_mib)


@contextmanager
def _sampled(run: LocalRun, memories: Mapping[str, Memory]) -> Iterator[None]:
    """Sample the memory of the functions' processes during the block; one that was replaced keeps its name."""
    stop = Event()

    def watch() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            for process in psutil.Process(run.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if name := _function_of(process.cmdline()):
                        memories[name].samples.append((time.monotonic(), process.memory_info().rss / MIB))

    with ThreadPoolExecutor(1) as executor:
        watching = executor.submit(watch)
        try:
            yield
        finally:
            stop.set()
            watching.result()


def _function_of(command: list[str]) -> str:
    """Return the name of the function that a process runs, or an empty one for others."""
    if any(word.endswith("runtime.mjs") for word in command):
        return "edge functions (Node)"
    if "dev.local.server" in command:
        return "server"
    if "dev.local.triggers" not in command:
        return ""
    options = dict(word.removeprefix("--").split("=", 1) for word in command if word.startswith("--"))
    return " ".join(filter(None, (options.get("function", "").removesuffix("Function"), options.get("event", ""))))

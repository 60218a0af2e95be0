"""A soak run: a local run with short lifetimes, clients that work on it for a while, and the audit at the end."""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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

MODULES = {"dev.local.server": "server", "dev.local.triggers": ""}


@dataclass
class Soak:
    """The findings of a run."""

    seconds: float
    clients: int
    tally: Tally = field(default_factory=Tally)
    memories: Mapping[str, "Memory"] = field(default_factory=dict)
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
        directory: for data and logs.
        seconds: for which the clients work.
        clients: their number.
        seed: of the random choices.
        settles: whether to wait at the end until every orphan should be gone; else the audit excuses young ones.
    """
    found = Soak(seconds, clients)
    run = LocalRun.start(directory / "data", **LIFETIMES)
    try:
        run.wait_until_ready()
        services = _control(run)
        with _sampled(run) as found.memories:
            _let_clients_work(found, run, services, seed)
            if settles:
                time.sleep(_longest_life(services.settings) + LIMIT_SECONDS)
        found.audit = audit(services, services.clock.now(), LIMIT_SECONDS)
    finally:
        run.stop()
    found.errors_logged = _errors_in(directory / "data" / "logs")
    return found


def _let_clients_work(found: Soak, run: LocalRun, services: AllServices, seed: int) -> None:
    slots = [[Slot(f"soak {i:04d} {j}") for j in range(SLOTS_PER_CLIENT)] for i in range(found.clients)]
    every_slot = [slot for own in slots for slot in own]
    stop, token = Event(), runtime_token(exp=int(time.time() + found.seconds) + 3600)
    with ThreadPoolExecutor(found.clients, thread_name_prefix="client") as executor:
        working = [
            executor.submit(
                SoakClient(
                    run.url,
                    token,
                    own,
                    every_slot,
                    _remover(services),
                    services.settings.unused_entry_seconds,
                    found.tally,
                    Random(f"{seed}/{number}"),
                ).run,
                stop,
            )
            for number, own in enumerate(slots)
        ]
        until = time.monotonic() + found.seconds
        while time.monotonic() < until and run.process.poll() is None:
            stop.wait(0.2)
        stop.set()
        for client in working:
            client.result()
    assert run.process.poll() is None, run.lines


def _control(run: LocalRun) -> AllServices:
    """Return the use cases on the same emulators, for removals, which clients can't ask for, and for the audit."""
    names = {name: value for name, value in run.variables.items() if name.isupper()}
    os.environ.update({name: value for name, value in names.items() if name.startswith("AWS_")})
    values = {name.lower(): value for name, value in (names | LIFETIMES).items()}
    return AllServices(Settings.model_validate(values))


_one_at_a_time = Lock()
"""Held for each removal: pynamodb's models share a connection."""


def _remover(services: AllServices) -> Callable[[str], bool]:
    def remove(key: str) -> bool:
        """Remove the entry; a lookup that records its use in between makes a try fail, so there are several."""
        name = EntryName(EntryFamily(REPOSITORY, BRANCH, VERSION), key)
        with _one_at_a_time:
            while (entry := services.table.entry(name)) is not None:
                if services.remove_entry(entry.archive_id, lambda _: True):
                    return True
        return False

    return remove


@contextmanager
def _sampled(run: LocalRun) -> Iterator[Mapping[str, "Memory"]]:
    memories: dict[str, Memory] = {}
    stop = Event()
    with ThreadPoolExecutor(1) as executor:
        watching = executor.submit(watch, lambda: _function_processes(run), stop, memories)
        try:
            yield memories
        finally:
            stop.set()
            watching.result()


def _function_processes(run: LocalRun) -> Iterator[tuple[str, psutil.Process]]:
    for process in psutil.Process(run.process.pid).children(recursive=True):
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        for module, name in MODULES.items():
            if module in command:
                options = dict(word.removeprefix("--").split("=", 1) for word in command if word.startswith("--"))
                function, event = (options.get(option, "") for option in ("function", "event"))
                yield " ".join(filter(None, (name, function.removesuffix("Function"), event))), process
        if any(word.endswith("runtime.mjs") for word in command):
            yield "edge functions (Node)", process


def _longest_life(settings: Settings) -> int:
    """Return the seconds from the clients' end to the last sweep that they made necessary."""
    return max(2 * settings.upload_url_seconds, settings.grace_seconds)


def _errors_in(logs: Path) -> list[str]:
    """Return the errors in the functions' logs: an unexpected one is logged, whatever its client saw."""
    marks = ('"level":"ERROR"', "Traceback (most recent call last)")
    return [
        f"{log.name}: {line[:400]}"
        for log in logs.iterdir()
        if any(name in log.name for name in ("server", "worker", "schedule", "orphans"))
        for line in log.read_text(errors="replace").splitlines()
        if any(mark in line for mark in marks)
    ]


MIB = 1024 * 1024
SAMPLE_SECONDS = 1

WARM_UP = 1 / 3
"""Part of a run that doesn't count: pools fill, modules load, the allocator finds its size."""

FEWEST_SAMPLES = 180

MAX_GROWTH_MIB = 48
MAX_GROWTH = 0.25
"""Most growth from one third of a run to the next, whichever of the two is more. Less: the allocator's variation fails
a run. More: a leak needs longer runs to show; with this, in a quarter of an hour, 10 MiB a minute."""


@dataclass
class Memory:
    """Samples of the resident bytes of a process."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    @property
    def peak_mib(self) -> float:
        return max(size for _, size in self.samples) / MIB

    @property
    def typical_mib(self) -> float:
        return statistics.median(size for _, size in self._warm()) / MIB

    @property
    def slope_mib_per_hour(self) -> float:
        """Slope by least squares, after the warm-up."""
        warm = self._warm()
        if len({at for at, _ in warm}) < 2:
            return 0.0
        slope, _ = statistics.linear_regression([at for at, _ in warm], [size for _, size in warm])
        return slope * 3600 / MIB

    @property
    def growth_mib(self) -> float:
        """Growth from the first half after the warm-up to the second, by medians."""
        warm = [size for _, size in self._warm()]
        half = len(warm) // 2
        return (statistics.median(warm[half:]) - statistics.median(warm[: half or 1])) / MIB

    def is_flat(self) -> bool:
        """Return whether the memory doesn't grow; a run that is too short counts as flat."""
        if len(self.samples) < FEWEST_SAMPLES:
            return True
        return self.growth_mib <= max(MAX_GROWTH_MIB, MAX_GROWTH * self.typical_mib)

    def _warm(self) -> list[tuple[float, int]]:
        return self.samples[int(len(self.samples) * WARM_UP) :]


def watch(
    processes: Callable[[], Iterable[tuple[str, psutil.Process]]], stop: Event, memories: dict[str, Memory]
) -> None:
    """Sample the memory of processes until `stop` is set.

    Args:
        processes: returns the current ones, each with a name; one that was replaced keeps its name.
        stop: ends the sampling.
        memories: gets the samples, by name.
    """
    while not stop.wait(SAMPLE_SECONDS):
        for name, process in processes():
            with contextlib.suppress(psutil.Error):
                sample = (time.monotonic(), process.memory_info().rss)
                memories.setdefault(name, Memory()).samples.append(sample)

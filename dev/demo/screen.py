"""What the demo shows: a line for each finished phase and, on a terminal, a moving one for the phase under way."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from actions_cache_cli.doctor.report import printable

MEGABYTE = 1_000_000
NAME_COLUMNS = 24
POLL_SECONDS = 0.1

T = TypeVar("T")


@dataclass
class Phase:
    """One line of the demo; its outcome is filled in while it runs."""

    name: str
    outcome: str = ""
    megabytes_per_second: float | None = None
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Bar:
    """How far a transfer has come."""

    progress: Progress
    task: TaskID

    def show(self, moved_bytes: int, total_bytes: int) -> None:
        self.progress.update(self.task, completed=moved_bytes, total=total_bytes)

    def follow(self, work: Callable[[], T], moved_bytes: Callable[[], int], total_bytes: int) -> T:
        """Does the work, and asks again and again how far it has come."""
        with ThreadPoolExecutor(1) as thread:
            result = thread.submit(work)
            while not result.done():
                self.show(moved_bytes(), total_bytes)
                time.sleep(POLL_SECONDS)
            return result.result()


class Screen:
    """A terminal, or a log that takes whole lines only."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        phase = Phase(name)
        with self._console.status(name):
            yield phase
        self._print(phase)

    @contextmanager
    def transfer(self, name: str) -> Iterator[tuple[Phase, Bar]]:
        phase = Phase(name)
        columns = (SpinnerColumn(), TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        ) as progress:
            yield phase, Bar(progress, progress.add_task(name, total=None))
        self._print(phase)

    def summary(self, title: str, rows: dict[str, str]) -> None:
        table = Table.grid(padding=(0, 2))
        for name, text in rows.items():
            table.add_row(f"[bold]{name}[/]", text)
        self._console.print(Panel(table, title=title, border_style="green", expand=False))

    def steps(self, title: str, steps: Mapping[str, str]) -> None:
        """Args: steps: commands, and what each does."""
        self._console.print(f"{title}:")
        for command, text in steps.items():
            self._console.print(f"  [bold]{command:13}[/]{text}", soft_wrap=True)

    def failure(self, title: str, details: Sequence[str]) -> None:
        self._console.print(f"[bold red]✗ {escape(printable(title))}[/]")
        for line in details:
            self._console.print(f"  {printable(line, keeps_lines=True)}", markup=False, soft_wrap=True)

    def _print(self, phase: Phase) -> None:
        seconds = f"{time.monotonic() - phase.began:6.1f} s"
        speed = f"{phase.megabytes_per_second:.0f} MB/s" if phase.megabytes_per_second else ""
        self._console.print(
            f"[green]✓[/] {phase.name:{NAME_COLUMNS}}[dim]{seconds}[/] [cyan]{speed:>9}[/]  {phase.outcome}",
            soft_wrap=True,
        )

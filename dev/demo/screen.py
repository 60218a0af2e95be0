"""The demo's output: a line for each finished phase and, on a terminal, a moving one for the phase under way."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from actions_cache_cli.doctor.report import printable

NAME_COLUMNS = 24
POLL_SECONDS = 0.1

T = TypeVar("T")


@dataclass
class Phase:
    """A phase under way. `outcome` and `megabytes_per_second` stand in its line once it is finished."""

    progress: Progress
    task: TaskID
    outcome: str = ""
    megabytes_per_second: float | None = None

    def show(self, moved_bytes: int, total_bytes: int) -> None:
        self.progress.update(self.task, completed=moved_bytes, total=total_bytes)

    def follow(self, work: Callable[[], T], moved_bytes: Callable[[], int], total_bytes: int) -> T:
        """Do the work, and meanwhile show again and again how far it has come."""
        with ThreadPoolExecutor(1) as executor:
            result = executor.submit(work)
            while not result.done():
                self.show(moved_bytes(), total_bytes)
                time.sleep(POLL_SECONDS)
            return result.result()


class Screen:
    """A terminal, or a log that takes whole lines only."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    @contextmanager
    def phase(self, name: str, *, transfers: bool = False) -> Iterator[Phase]:
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn()) if transfers else ()
        disable, began = not self._console.is_terminal, time.monotonic()
        with Progress(
            SpinnerColumn(), TextColumn(name), *columns, console=self._console, transient=True, disable=disable
        ) as progress:
            phase = Phase(progress, progress.add_task(name, total=None))
            yield phase
        seconds = f"{time.monotonic() - began:6.1f} s"
        speed = f"{phase.megabytes_per_second:.0f} MB/s" if phase.megabytes_per_second else ""
        line = f"[green]✓[/] {name:{NAME_COLUMNS}}[dim]{seconds}[/] [cyan]{speed:>9}[/]  {phase.outcome}"
        self._console.print(line, soft_wrap=True)

    def summary(self, title: str, rows: Mapping[str, str]) -> None:
        table = Table.grid(padding=(0, 2))
        for name, text in rows.items():
            table.add_row(f"[bold]{name}[/]", text)
        self._console.print(Panel(table, title=title, border_style="green", expand=False))

    def steps(self, title: str, steps: Mapping[str, str]) -> None:
        """Print commands, each with what it does."""
        self._console.print(f"{title}:")
        for command, text in steps.items():
            self._console.print(f"  [bold]{command:13}[/]{text}", soft_wrap=True)

    def failure(self, title: str, details: Sequence[str]) -> None:
        self._console.print(f"[bold red]✗ {escape(printable(title))}[/]")
        for line in details:
            self._console.print(f"  {printable(line, keeps_lines=True)}", markup=False, soft_wrap=True)

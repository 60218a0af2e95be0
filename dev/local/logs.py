"""One log file for each process of the run."""

from pathlib import Path


def fresh_log(logs: Path, name: str) -> Path:
    """An empty one; the one before, of the last run say, is kept beside it."""
    log = logs / f"{name.lower().replace(' ', '-')}.log"
    if log.exists():
        log.replace(log.with_suffix(".previous.log"))
    return log


def obituary(name: str, log: Path) -> str:
    """One line on a process that ended, with the last one it wrote."""
    lines = log.read_text(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
    return f"{name} ended: {last[:200]} (see {log})"

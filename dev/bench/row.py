"""A line of the table: what was measured, beside what, and what it should be."""

from dataclasses import dataclass

COLUMNS = ("what", "beside", "ours", "ratio", "aim", "more")


@dataclass(frozen=True)
class Row:
    what: str
    beside: str
    """What ours is measured by, with its unit."""
    ours: str
    ratio: float | None
    aim: str
    more: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return (self.what, self.beside, self.ours, ratio, self.aim, self.more)


def table(rows: list[Row]) -> str:
    """In Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

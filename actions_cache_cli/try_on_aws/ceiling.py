"""Calculates before a try what it may cost at most: its bytes and requests, priced by the tables of `make cost`."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from actions_cache.cost import GIGABYTE, HOURS_A_MONTH, Line, Saving, entry_saved, restored, total
from actions_cache.domain.merge_plan import MIB
from actions_cache_cli.deployment_check.__main__ import TRAFFIC_BYTES
from dev.cost.cost import idle_month
from dev.local.template import Template

HOURS = 2
"""AWS bills alarms and secrets by the hour; a try takes half of one."""
POLLS_AN_ENTRY = 240
"""Most look-ups while an entry's merge is waited for."""
COLD_CALLS, WARM_CALLS = 3, 10
CONNECTIONS = (1, 8)
RESTORES = 2
"""Number of restores of an entry with each number of connections."""
CHECK_ENTRIES, CHECK_RESTORES, CHECK_BLOCKS = 4, 4, 8
MOST_ENTRIES, LARGEST_BLOCK_MIB = 1000, 128
LARGEST_MIB = 2048
"""Largest entry, which is held in memory twice."""
DEPLOY_REQUESTS = 2000
"""Number of requests to the S3 bucket that sam puts code into, and for deleting everything."""
SAFETY = 1.5
"""Margin for retries, and for the time that the stack takes to delete itself."""


class TooMuch(Exception):
    """Raised when the sizes that were asked for cost more than may be spent; the message says what would fit."""


@dataclass(frozen=True)
class Sizes:
    entries: int = 3
    entry_mib: int = 128
    block_mib: int = 32

    def __post_init__(self) -> None:
        if not (
            1 <= self.entries <= MOST_ENTRIES
            and 1 <= self.block_mib <= LARGEST_BLOCK_MIB
            and 1 <= self.entry_mib <= LARGEST_MIB
        ):
            raise TooMuch("say ENTRIES from 1 to 1000, ENTRY_MIB from 1 to 2048, BLOCK_MIB from 1 to 128")

    @property
    def blocks(self) -> list[int]:
        """Return the bytes of each block."""
        count = math.ceil(self.entry_mib / self.block_mib)
        return [min(self.block_mib, self.entry_mib - at * self.block_mib) * MIB for at in range(count)]

    @property
    def entry_bytes(self) -> int:
        return self.entry_mib * MIB

    @property
    def restores(self) -> int:
        """Return the number of restores of one entry."""
        return RESTORES * len(CONNECTIONS)

    @property
    def saving(self) -> Saving:
        return Saving(self.entry_bytes, self.block_mib * MIB, self.restores + POLLS_AN_ENTRY, 0)

    @property
    def uploaded(self) -> int:
        return self.entries * self.entry_bytes + TRAFFIC_BYTES

    @property
    def downloaded(self) -> int:
        return self.entries * self.restores * self.entry_bytes + TRAFFIC_BYTES

    @property
    def requests(self) -> int:
        """Return the most requests that are sent to the server and to S3."""
        gets = RESTORES * sum(CONNECTIONS)
        one = 3 + len(self.blocks) + gets + self.restores + POLLS_AN_ENTRY
        return self.entries * one + COLD_CALLS + WARM_CALLS + CHECK_ENTRIES * (CHECK_BLOCKS + 3 * CHECK_RESTORES)


def lines(sizes: Sizes, template: Template) -> tuple[Line, ...]:
    """Return all that the try may use, each at its price, before the margin."""
    check = Saving(TRAFFIC_BYTES / CHECK_ENTRIES, TRAFFIC_BYTES / CHECK_ENTRIES / CHECK_BLOCKS, CHECK_RESTORES, 1, True)  # noqa: FBT003
    return (
        *_times(sizes.entries, entry_saved(sizes.saving)),
        *_times(COLD_CALLS + WARM_CALLS, restored(Saving())),
        *_times(CHECK_ENTRIES, entry_saved(check)),
        Line("what is restored, to outside AWS", "S3 to internet", sizes.downloaded / GIGABYTE),
        Line("code and deletion", "S3 write", DEPLOY_REQUESTS),
        *(Line(f"idle: {it.what}", it.price, it.quantity * HOURS / HOURS_A_MONTH) for it in idle_month(template)),
        Line("the rotation's calls at deploy", "KeyValueStore API", 20),
    )


def ceiling_usd(sizes: Sizes, template: Template) -> float:
    return SAFETY * total(lines(sizes, template))


def check(sizes: Sizes, template: Template, most_usd: float) -> float:
    """Return the ceiling in dollars.

    Raises:
        TooMuch: it is more than may be spent.
    """
    usd = ceiling_usd(sizes, template)
    if usd > most_usd:
        raise TooMuch(
            f"{sizes.entries} entries of {sizes.entry_mib} MiB may cost ${usd:.2f}, and MAX_USD is {most_usd:.2f}: "
            "say fewer ENTRIES, a smaller ENTRY_MIB, or more MAX_USD"
        )
    return usd


def _times(count: float, several: Iterable[Line]) -> tuple[Line, ...]:
    return tuple(Line(line.what, line.price, line.quantity * count) for line in several)

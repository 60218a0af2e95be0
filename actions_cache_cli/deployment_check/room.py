"""Checks that the account lets the deployment run as much at once as it needs."""

from dataclasses import dataclass

USUAL = 1000
"""Usual concurrent executions in a region; a new account has fewer, down to 10:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""

ASK = "ask AWS for more (Service Quotas, AWS Lambda, Concurrent executions)"


@dataclass(frozen=True, slots=True)
class Room:
    executions: int
    """Concurrent executions of all functions of the account in this region."""
    unreserved: int
    """Concurrent executions that no function has reserved."""
    merge_workers: int | None
    """Concurrent executions that merges may take; None if the stack has no such bound."""


def shortage(room: Room) -> str | None:
    """Return what is too small, its consequence and its remedy; None if there is room enough."""
    if room.merge_workers is None:
        return (
            f"merges may take all {room.unreserved} executions that Lambda has for this account here, so that lookups "
            "are throttled; deploy again, since this version bounds them (MergeWorkers)"
        )
    if room.unreserved <= room.merge_workers:
        return (
            f"Lambda runs {room.unreserved} functions at once for this account here, and merges alone may take "
            f"{room.merge_workers}: lookups and saves would be throttled, and jobs go on without the cache; {ASK}, and "
            "until you have it deploy with MergeWorkers=2"
        )
    return None


def described(room: Room) -> str:
    """Return the figures that show room enough."""
    seen = f"{room.unreserved} executions at once, of which merges take {room.merge_workers} at most"
    if room.executions < USUAL:
        seen += f"; fewer than the usual {USUAL}, so before many jobs run at once {ASK}"
    return seen

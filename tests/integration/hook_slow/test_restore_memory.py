"""Memory that the hook costs at its real sizes: bounded for any number of connections, and for slow clients."""

from pathlib import Path
from typing import Final

import pytest

from tests.support.hooked_downloads import install_hook, is_whole, run_downloads
from tests.support.scripted_store import Archive, scripted_store

MIB: Final = 1024 * 1024
PARTS: Final = (90 * MIB, 10 * MIB, 156 * MIB)
MOST_MORE: Final = 128 * MIB


def most_memory(directory: Path, reader: str, connections: int | None, archive: Archive) -> int:
    """Return the most that the process had resident while it read an archive; without the hook for no connections."""
    directory.mkdir()
    with scripted_store({"archive": archive}) as store:
        hook = connections and install_hook(directory / "hook", store.url, scale=1, connections=connections)
        run = run_downloads(directory / "run", store, {"archive": reader}, hook=hook or None)
    assert is_whole(archive, run.results["archive"]), run.results
    assert bool(connections) == bool(archive.asked("range"))
    return run.most_memory


@pytest.mark.parametrize("reader", ["quickly", "slowly"])
def test_hook_costs_a_bounded_memory(tmp_path: Path, reader: str) -> None:
    plain = most_memory(tmp_path / "plain", reader, None, Archive(sum(PARTS)))
    more = {
        (connections, "merged" if parts is None else "parts"): most_memory(
            tmp_path / f"{connections}-{parts is None}", reader, connections, Archive(sum(PARTS), parts)
        )
        - plain
        for connections in (8, 32)
        for parts in (None, PARTS)
    }
    assert {case: bytes_ // MIB for case, bytes_ in more.items() if bytes_ > MOST_MORE} == {}

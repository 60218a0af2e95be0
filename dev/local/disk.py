"""Checks the disk's room for the store: SeaweedFS starts without it, then refuses each object with a bare 500."""

import shutil
from pathlib import Path

MIB = 1024 * 1024

NEW_STORE_BYTES = 2_560 * MIB
"""Bytes that a new store needs: SeaweedFS has as many volumes of 1 GiB as the disk has room for (seaweedfs.py);
our bucket takes one, and the readiness probe another. Measured: with 1.1 GB it wrote nothing, with 2.2 GB
everything."""

KEPT_STORE_BYTES = 256 * MIB
"""Bytes that a store with data needs in order to take some more."""

RESERVED_SHARE = 100
"""SeaweedFS stops writing when less than a hundredth of the disk is free."""


def shortage(directory: Path, *, is_new: bool = False) -> str | None:
    """Return what is wrong with the room on a directory's disk, or None.

    Args:
        directory: an existing directory.
        is_new: whether the store has to be created there.
    """
    usage = shutil.disk_usage(directory)
    least = max(NEW_STORE_BYTES if is_new else KEPT_STORE_BYTES, usage.total // RESERVED_SHARE)
    if usage.free >= least:
        return None
    return (
        f"the disk of {directory} has {usage.free // MIB} MiB left, and the store needs {least // MIB} MiB to write: "
        "free some, or set LOCAL_DATA_DIR to another disk"
    )

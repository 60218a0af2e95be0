"""What of a process's memory was in the machine's at the most."""

import re
from pathlib import Path


def most_resident(process: int) -> int:
    """Bytes, over its life. Not getrusage's: at the start of a program that one is what its parent had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) * 1024 if found else 0

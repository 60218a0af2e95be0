"""`python -m dev.local`: the local run. Exit code 0: stopped by a signal. 1: failed."""

import sys

from dev.local.console import RunFailed, complain, say
from dev.local.supervisor import StopRequested, run


def main() -> int:
    try:
        run()
    except StopRequested:
        say("stopped")
        return 0
    except RunFailed as failure:
        complain(str(failure))
        return 1


if __name__ == "__main__":
    sys.exit(main())

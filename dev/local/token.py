"""`make token`: prints the admin token of the local run, which opens its page and its management API."""

import argparse
import sys

from actions_cache_cli.target import data_directory, read_exports
from dev.local.console import complain, say


def main() -> int:
    argparse.ArgumentParser(
        prog="dev.local.token",
        description="Print the admin token of the run with its data in LOCAL_DATA_DIR, or .local.",
    ).parse_args()
    data = data_directory()
    try:
        token = read_exports(data / "env")["ADMIN_TOKEN"]
    except FileNotFoundError:
        complain(f"no local run is ready with its data in {data}: start one by `make run`, or set LOCAL_DATA_DIR")
        return 1
    except (OSError, ValueError, KeyError) as error:
        complain(f"{data / 'env'} isn't as `make run` writes it ({error!r}): start it again")
        return 1
    say(token)
    return 0


if __name__ == "__main__":
    sys.exit(main())

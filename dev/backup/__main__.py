"""Saves the tables into a file, or restores them from one.

The bucket isn't in it: what was deleted from there since is gone, and what came since is deleted by the next search for
orphans. docs/operations.md has the drill.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from actions_cache_cli.doctor.printable import printable
from dev.backup import contents
from dev.backup.contents import Fitting, NotABackup
from dev.backup.tables import Refused, Tables

PAUSED = "CleanupPaused"


def save(tables: Tables, path: Path) -> str:
    return f"{contents.write(path, tables.names, tables.rows())} items saved in {path}"


def restore(tables: Tables, path: Path, *, replace: bool) -> str:
    """Reads the file several times, line by line, before it writes anything. A run that broke off can be done again.

    Raises: Refused, NotABackup: nothing was changed.
    """
    if unknown := sorted(set(contents.tables_in(path)) - set(tables.names)):
        raise Refused(f"the backup has tables that aren't here: {', '.join(unknown)}; is it of a newer release?")
    fitting, count = Fitting.of(contents.read(path)), sum(1 for _ in contents.read(path))
    if not replace and not tables.is_empty():
        raise Refused("the tables aren't empty: with --replace, what isn't in the backup is deleted from them")
    kept = frozenset(tables.key(row) for row in contents.read(path) if fitting.holds(row))
    deleted = tables.delete_all_but(kept) if replace else 0
    put = tables.put(row for row in contents.read(path) if fitting.holds(row))
    return f"{put} items restored, {count - put} left out that don't fit together, {deleted} others deleted"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="backup", description=__doc__)
    parser.add_argument("action", choices=["save", "restore"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--stack", help="the stack's name; default: the tables that the environment names")
    parser.add_argument(
        "--table",
        action="append",
        default=[],
        metavar="EntriesTable=NAME",
        help="another table in place of the stack's, as one that AWS restored; once for each",
    )
    parser.add_argument("--replace", action="store_true", help="what isn't in the backup is deleted")
    return parser.parse_args(arguments)


def prepared(options: argparse.Namespace, session: boto3.Session) -> Tables:
    """Raises: Refused."""
    if not options.stack:
        return Tables.of_environment(session).renamed(_renamings(options))
    if options.action == "restore" and _parameters(options.stack, session).get(PAUSED) != "true":
        raise Refused(
            "the stack cleans up: what its tables no longer know would go from the bucket. Deploy it with "
            f"{PAUSED}=true first"
        )
    return Tables.of_stack(options.stack, session).renamed(_renamings(options))


def _renamings(options: argparse.Namespace) -> dict[str, str]:
    pairs = [it.partition("=") for it in options.table]
    if wrong := [table for table, _, name in pairs if not name]:
        raise Refused(f"--table takes a logical id and a table's name, as in EntriesTable=restored: {wrong[0]!r}")
    return {table: name for table, _, name in pairs}


def _parameters(stack: str, session: boto3.Session) -> Mapping[str, str]:
    formation: Any = session.client("cloudformation")
    described = formation.describe_stacks(StackName=stack)["Stacks"][0]
    return {it["ParameterKey"]: it.get("ParameterValue", "") for it in described.get("Parameters", ())}


def main(arguments: Sequence[str] | None = None) -> int:
    options, session = parsed(arguments), boto3.Session()
    try:
        tables = prepared(options, session)
        if options.action == "save":
            print(save(tables, options.file))
        else:
            print(restore(tables, options.file, replace=options.replace))
    except (Refused, NotABackup, OSError) as fault:
        print(printable(fault), file=sys.stderr)
        return 1
    except (ClientError, BotoCoreError) as fault:
        print(f"AWS says: {printable(fault)}; run it again, it goes on where it was", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

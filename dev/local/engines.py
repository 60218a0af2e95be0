"""Starts the engines that stand in for AWS, with their data in one directory. The tests start theirs by it too."""

import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from dev.local import ministack, ports, seaweedfs
from dev.local.console import say
from dev.local.endpoints import Credentials, Endpoints, NamedEndpoints
from dev.local.engine import RunningEngine
from dev.local.lifeline import Lifeline
from dev.local.private_file import write_private

REGION = "us-east-1"


@dataclass(frozen=True)
class RunningEngines:
    endpoints: Endpoints
    started: Sequence[RunningEngine]

    def check(self) -> None:
        """Raises: RunFailed: one of them ended."""
        for engine in self.started:
            engine.check()


@contextmanager
def start(data_dir: Path) -> Iterator[Endpoints]:
    """All of them, until the block ends or this process does.

    Args:
        data_dir: what they keep; the next start finds it there.

    Raises:
        RunFailed: one can't start.
    """
    with Lifeline.tied() as lifeline, started(data_dir, lifeline) as running:
        yield running.endpoints


@contextmanager
def started(
    data_dir: Path,
    lifeline: Lifeline,
    named: NamedEndpoints = NamedEndpoints(),  # noqa: B008 - frozen
    credentials: Credentials | None = None,
    region: str = REGION,
    hold: Sequence[int] = (),
) -> Iterator[RunningEngines]:
    """Those that aren't named, until the lifeline's end; the block's end waits for that.

    `named` are engines of the user's and `credentials` the ones they take; without them, credentials are made up at
    the first start. Each engine keeps the file descriptors `hold` open.

    Raises:
        RunFailed: one can't start.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    memory = _Memory.of(data_dir)
    credentials = credentials or memory.credentials
    store_dir, table_dir = data_dir / "seaweedfs", data_dir / "ministack"
    needs_store = named.store is None
    if None in (named.table, named.queue, named.secrets):
        _discard_what_a_sigkill_left(table_dir, store_dir if needs_store else None)
    engines = []
    if needs_store:
        engines.append(seaweedfs.engine(store_dir, data_dir / "s3.json", memory.ports, credentials, region))
    # Always, if only for the edge's KeyValueStore.
    engines.append(ministack.engine(table_dir, memory.ports["ministack"], region))

    logs = data_dir / "logs"
    logs.mkdir(exist_ok=True)
    running: list[RunningEngine] = []
    try:
        for engine in engines:
            running.append(RunningEngine.start(engine, logs, lifeline.watch, hold))  # noqa: PERF401 - ends if the next can't start
        for one in running:
            one.wait_until_ready()
        ministack.forget_saved_state(table_dir)
        store = named.store or seaweedfs.endpoint(memory.ports)
        rest = ministack.endpoint(memory.ports["ministack"])
        edge = ministack.endpoint(memory.ports["ministack"], "localhost")
        endpoints = Endpoints(
            store, named.table or rest, named.queue or rest, named.secrets or rest, edge, credentials, region
        )
        yield RunningEngines(endpoints, running)
    finally:
        lifeline.let_go()
        for one in running:
            one.wait_until_gone()


def _discard_what_a_sigkill_left(table_dir: Path, store_dir: Path | None) -> None:
    """Without tables nothing points to the objects in the bucket."""
    for service in ministack.drop_unreadable_state(table_dir):
        say(f"the saved state of {service} can't be read, so it starts empty")
    if store_dir is not None and store_dir.exists() and not ministack.has_saved_tables(table_dir):
        say("the tables were lost when the last run was killed, so the bucket is emptied too")
        shutil.rmtree(store_dir)


@dataclass(frozen=True)
class _Memory:
    """What the next start takes again: URLs stay good over a restart."""

    ports: dict[str, int]
    credentials: Credentials

    @classmethod
    def of(cls, data_dir: Path) -> "_Memory":
        path = data_dir / "engines.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        memory = cls(
            ports.choose((*seaweedfs.SERVERS, "ministack"), known.get("ports", {})),
            Credentials(
                known.get("access_key_id") or "local",
                known.get("secret_access_key") or secrets.token_hex(20),
            ),
        )
        write_private(path, json.dumps({"ports": memory.ports} | asdict(memory.credentials)))
        return memory

"""Starts SeaweedFS and MiniStack, which stand in for AWS, with their data in one directory. The tests use it too."""

import http.client
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dev.local.console import RunFailed, say
from dev.local.guard import POLL_SECONDS
from dev.local.process import GRPC_OFFSET, LOOPBACK, Guard, Processes, Program, choose_ports
from dev.local.template import ROOT

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"

EXECUTABLES = ROOT / ".tools" / "engines" / "bin"

START_SECONDS = 60

STOP_SECONDS = 20
"""Seconds from SIGTERM to SIGKILL. SeaweedFS takes 2 s: one for its gRPC connections, one for the volume server.
MiniStack takes 0.3 s, 3 s with a connection still open, and longer the more it has to write."""


@dataclass(frozen=True)
class Credentials:
    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True)
class NamedEndpoints:
    """Names services that run already; the others are started."""

    store: str | None = None
    table: str | None = None
    queue: str | None = None
    secrets: str | None = None


@dataclass(frozen=True)
class Endpoints:
    """Says where the emulators are, and how to get in.

    Args:
        store: URL of S3.
        table: URL of DynamoDB.
        queue: URL of SQS.
        secrets: URL of Secrets Manager.
        edge: URL of CloudFront's API and its KeyValueStores.
        credentials: Credentials that all of them take.
        region: Region that all of them are in.
    """

    store: str
    table: str
    queue: str
    secrets: str
    edge: str
    credentials: Credentials
    region: str

    def environment(self) -> dict[str, str]:
        """Return the environment variables that AWS's own tools and libraries read."""
        return {
            "AWS_ENDPOINT_URL_S3": self.store,
            "AWS_ENDPOINT_URL_DYNAMODB": self.table,
            "AWS_ENDPOINT_URL_SQS": self.queue,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.secrets,
            "AWS_ENDPOINT_URL_CLOUDFRONT": self.edge,
            "AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE": self.edge,
            "AWS_ACCESS_KEY_ID": self.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_access_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }

    def settings_with_store(self, url: str) -> dict[str, str]:
        """Return the settings of a run that reaches this store via another URL, such as a proxy's."""
        return {
            "STORE_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": self.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_access_key,
            "AWS_REGION": self.region,
        }


@dataclass(frozen=True)
class RunningEmulators:
    endpoints: Endpoints
    processes: Processes
    guard: Guard


@contextmanager
def start(data_dir: Path) -> Iterator[Endpoints]:
    """Run all emulators until the block ends, or this process does.

    Args:
        data_dir: Directory of their data; the next start finds it there.

    Raises:
        RunFailed: One can't start.
    """
    with started(data_dir) as running:
        yield running.endpoints


@contextmanager
def started(
    data_dir: Path,
    named: NamedEndpoints = NamedEndpoints(),
    credentials: Credentials | None = None,
    region: str = REGION,
    hold: Sequence[int] = (),
) -> Iterator[RunningEmulators]:
    """Run the emulators of the services that aren't named, until the block ends, or this process does.

    Args:
        data_dir: Directory of their data; the next start finds it there.
        named: Services that run already.
        credentials: Credentials of those; without them, some are made up at the first start.
        region: Region that the emulators are in.
        hold: File descriptors that stay open until the last emulator is gone, locks say.

    Raises:
        RunFailed: One can't start.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    ports, own_credentials = _ports_and_credentials(data_dir)
    credentials = credentials or own_credentials
    store_dir, table_dir = data_dir / "seaweedfs", data_dir / "ministack"
    needs_store = named.store is None
    if None in (named.table, named.queue, named.secrets):
        _discard_inconsistent_state(table_dir, store_dir if needs_store else None)
    # MiniStack always, if only for the edge's KeyValueStore.
    emulators = [_ministack(table_dir, ports["ministack"], region)]
    if needs_store:
        emulators.append(_seaweedfs(store_dir, data_dir / "s3.json", ports, credentials, region))
    with Guard.started(STOP_SECONDS, hold, _sockets(ports) if needs_store else ()) as guard:
        processes = Processes(data_dir / "logs", guard, STOP_SECONDS)
        try:
            logs = [processes.start(program) for program, _ in emulators]
            for (program, is_ready), log in zip(emulators, logs, strict=True):
                _wait_until_ready(program.name, is_ready, log, processes)
            forget_saved_state(table_dir)
            store = named.store or f"http://{LOOPBACK}:{ports['s3']}"
            rest, edge = (f"http://{host}:{ports['ministack']}" for host in (LOOPBACK, "localhost"))
            endpoints = Endpoints(
                store, named.table or rest, named.queue or rest, named.secrets or rest, edge, credentials, region
            )
            yield RunningEmulators(endpoints, processes, guard)
        finally:
            processes.stop()


def _wait_until_ready(name: str, is_ready: Callable[[], bool], log: Path, processes: Processes) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        processes.check()
        if time.monotonic() > deadline:
            raise RunFailed(f"{name} isn't ready after {START_SECONDS} s: see {log}")
        time.sleep(POLL_SECONDS)


def _discard_inconsistent_state(table_dir: Path, store_dir: Path | None) -> None:
    """Discard what a SIGKILL of MiniStack left. Without tables nothing points to the objects in the bucket."""
    for service in drop_unreadable_state(table_dir):
        say(f"the saved state of {service} can't be read, so it starts empty")
    if store_dir is not None and store_dir.exists() and not has_saved_tables(table_dir):
        say("the tables were lost when the last run was killed, so the bucket is emptied too")
        shutil.rmtree(store_dir)


def _ports_and_credentials(data_dir: Path) -> tuple[dict[str, int], Credentials]:
    """Return the ports and credentials of the last start, so that URLs stay good over a restart, or new ones."""
    path = data_dir / "emulators.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    ports = choose_ports((*SEAWEEDFS_SERVERS, "ministack"), known.get("ports", {}))
    credentials = Credentials(
        known.get("access_key_id") or "local", known.get("secret_access_key") or secrets.token_hex(20)
    )
    write_private(path, json.dumps({"ports": ports} | asdict(credentials)))
    return ports, credentials


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; it appears whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(path)


def executable(name: str) -> str:
    """Return the path of an installed emulator.

    Raises:
        RunFailed: It isn't installed.
    """
    path = EXECUTABLES / name
    if not path.exists():
        raise RunFailed(f"{path.relative_to(ROOT)} is missing: `make run` installs the emulators first")
    return str(path)


def bare_environment(directory: Path) -> dict[str, str]:
    """Return an environment without the user's settings, credentials and Python path, and with its own temporary files.

    Args:
        directory: Directory of the emulator.
    """
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(directory), "TMPDIR": str(directory)}


# ------------------------------------------------------------------ MiniStack: DynamoDB, SQS, secrets, CloudFront

MINISTACK_SERVICES = ("dynamodb", "sqs", "secretsmanager", "cloudfront", "cloudfront-keyvaluestore")


def _ministack(directory: Path, port: int, region: str) -> tuple[Program, Callable[[], bool]]:
    """Return MiniStack, and what tells whether it is ready.

    It keeps its state in memory, reads it from files when it starts, and writes them when it gets a SIGTERM, each one
    whole or not at all.
    """
    settings = {
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        # Host in the queues' URLs.
        "MINISTACK_HOST": LOOPBACK,
        "MINISTACK_REGION": region,
        "SERVICES": ",".join(MINISTACK_SERVICES),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(_state(directory)),
        "LOG_LEVEL": "WARNING",
        # Both would listen on ports of their own.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }
    program = Program("MiniStack", [executable("ministack")], bare_environment(directory) | settings, directory)
    return program, lambda: _answers(port)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/_ministack/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def drop_unreadable_state(directory: Path) -> list[str]:
    """Delete files that MiniStack can't read and might not start with, such as half a file of a disk that was full.

    Returns:
        The services whose state is lost.
    """
    lost = []
    for path in _state(directory).glob("*.json"):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            path.unlink()
            lost.append(path.stem)
    return lost


def has_saved_tables(directory: Path) -> bool:
    """Return whether MiniStack has written its tables."""
    return (_state(directory) / "dynamodb.json").exists()


def forget_saved_state(directory: Path) -> None:
    """Delete MiniStack's files once they are loaded: after a SIGKILL, stale tables would contradict the bucket."""
    for path in _state(directory).glob("*.json"):
        path.unlink()


def _state(directory: Path) -> Path:
    return directory / "state"


# ------------------------------------------------------------------ SeaweedFS: S3

SEAWEEDFS_SERVERS = ("master", "volume", "filer", "s3", "admin")

MEMORY_LIMIT = "1GiB"
"""Go's memory limit for SeaweedFS. Measured with 64 MiB PUTs, 8 at once: without a limit it grew to 1.5 GB; 512 MiB
cost 60 % more processor time and half the speed; with 1 GiB it stayed at 0.9 GB and as fast as without."""

PROBE_BUCKET = "readiness"

MIB = 1024 * 1024

NEW_STORE_BYTES = 2_560 * MIB
"""Free bytes that a new store needs: SeaweedFS has as many volumes of 1 GiB as the disk has room for; our bucket takes
one, and the readiness probe another. Measured: with 1.1 GB it wrote nothing, with 2.2 GB everything."""

KEPT_STORE_BYTES = 256 * MIB
"""Free bytes that a store with data needs to take some more."""

RESERVED_SHARE = 100
"""SeaweedFS stops writing when less than a hundredth of the disk is free."""


def _seaweedfs(
    directory: Path, config: Path, ports: Mapping[str, int], credentials: Credentials, region: str
) -> tuple[Program, Callable[[], bool]]:
    """Return SeaweedFS, and what tells whether it is ready.

    `weed mini` is `weed server` for one machine: ready in 1 s instead of 3, stopped in 2 s instead of 15.
    """
    identity = {
        "name": "local",
        "credentials": [{"accessKey": credentials.access_key_id, "secretKey": credentials.secret_access_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    write_private(config, json.dumps({"identities": [identity]}))
    command = [
        executable("weed"),
        "-logtostderr=true",
        "mini",
        "-dir=.",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        *(f"-{server}.port={ports[server]}" for server in SEAWEEDFS_SERVERS),
        *(f"-{server}.port.grpc={ports[server] + GRPC_OFFSET}" for server in SEAWEEDFS_SERVERS),
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={config}",
        "-webdav=false",
        "-admin.ui=false",
        # With the state of its last life it sometimes leads a moment too late for the volume server, whose next try
        # comes 5 s later. It loses nothing: volumes report what they hold.
        "-master.resumeState=false",
        # As many as the disk holds.
        "-volume.max=0",
        "-master.volumeSizeLimitMB=1024",
        "-master.telemetry=false",
    ]
    environment = bare_environment(directory) | {"GOMEMLIMIT": os.environ.get("GOMEMLIMIT", MEMORY_LIMIT)}
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{LOOPBACK}:{ports['s3']}",
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        region_name=region,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=5),
    )
    return Program("SeaweedFS", command, environment, directory), lambda: _keeps_objects(client)


def _keeps_objects(client: "S3Client") -> bool:
    """Return whether an object can be written and read: the gateway answers, and lists, before its volumes do."""
    try:
        if PROBE_BUCKET not in (bucket["Name"] for bucket in client.list_buckets()["Buckets"]):
            client.create_bucket(Bucket=PROBE_BUCKET)
        client.put_object(Bucket=PROBE_BUCKET, Key="probe", Body=b"probe")
        client.get_object(Bucket=PROBE_BUCKET, Key="probe")["Body"].read()
    except (ClientError, BotoCoreError):
        return False
    return True


def _sockets(ports: Mapping[str, int]) -> list[Path]:
    """Return the Unix sockets that SeaweedFS leaves in /tmp, which can't be moved, even when it ends in order."""
    names = [
        name
        for server in SEAWEEDFS_SERVERS
        for name in (f"{server}-{ports[server]}", f"{server}-grpc-{ports[server] + GRPC_OFFSET}")
    ]
    return [Path(f"/tmp/seaweedfs-{name}.sock") for name in names]  # noqa: S108 - SeaweedFS's own choice


def disk_shortage(directory: Path, *, is_new: bool = False) -> str | None:
    """Return why a directory's disk is too full for SeaweedFS, which would refuse each object with a bare 500, or None.

    Args:
        directory: An existing directory.
        is_new: Whether the store has to be created there.
    """
    usage = shutil.disk_usage(directory)
    least = max(NEW_STORE_BYTES if is_new else KEPT_STORE_BYTES, usage.total // RESERVED_SHARE)
    if usage.free >= least:
        return None
    return (
        f"the disk of {directory} has {usage.free // MIB} MiB left, and the store needs {least // MIB} MiB to write: "
        "free some, or set LOCAL_DATA_DIR to another disk"
    )

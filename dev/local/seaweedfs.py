"""SeaweedFS: the S3 of the local run."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dev.local.endpoints import Credentials
from dev.local.engine import Engine, bare_environment, executable
from dev.local.ports import GRPC_OFFSET, LOOPBACK
from dev.local.private_file import write_private

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SERVERS = ("master", "volume", "filer", "s3", "admin")

MEMORY_LIMIT = "1GiB"
"""Measured with 64 MiB PUTs, 8 at once: without a limit it grew to 1.5 GB; with 512 MiB it used 60 % more processor
time and wrote half as fast; with 1 GiB it stayed at 0.9 GB and as fast as without."""

STOP_SECONDS = 10
"""It takes 2 s: one for its gRPC connections, one for the volume server."""

PROBE_BUCKET = "readiness"

SOCKETS = Path("/tmp")  # noqa: S108 - SeaweedFS's own choice: its gRPC sockets can't be moved
"""Where it leaves some of its Unix sockets, even when it ends in order."""


def engine(directory: Path, config: Path, ports: Mapping[str, int], credentials: Credentials, region: str) -> Engine:
    """`weed mini` is `weed server` for one machine: ready in 1 s instead of 3, stopped in 2 s instead of 15."""
    _write_identity(config, credentials)
    command = [
        executable("weed"),
        "-logtostderr=true",
        "mini",
        "-dir=.",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        *(f"-{server}.port={ports[server]}" for server in SERVERS),
        *(f"-{server}.port.grpc={ports[server] + GRPC_OFFSET}" for server in SERVERS),
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
    memory_limit = {"GOMEMLIMIT": os.environ.get("GOMEMLIMIT", MEMORY_LIMIT)}
    client = _client(endpoint(ports), credentials, region)
    return Engine(
        "SeaweedFS",
        command,
        bare_environment(directory) | memory_limit,
        directory,
        lambda: _keeps_objects(client),
        STOP_SECONDS,
        [
            *(SOCKETS / f"seaweedfs-{server}-{ports[server]}.sock" for server in SERVERS),
            *(SOCKETS / f"seaweedfs-{server}-grpc-{ports[server] + GRPC_OFFSET}.sock" for server in SERVERS),
        ],
    )


def endpoint(ports: Mapping[str, int]) -> str:
    return f"http://{LOOPBACK}:{ports['s3']}"


def _write_identity(config: Path, credentials: Credentials) -> None:
    identity = {
        "name": "local",
        "credentials": [{"accessKey": credentials.access_key_id, "secretKey": credentials.secret_access_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    write_private(config, json.dumps({"identities": [identity]}))


def _client(url: str, credentials: Credentials, region: str) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        region_name=region,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=5),
    )


def _keeps_objects(client: "S3Client") -> bool:
    """The gateway answers, and lists, before its volumes are there to be read and written."""
    try:
        if PROBE_BUCKET not in (bucket["Name"] for bucket in client.list_buckets()["Buckets"]):
            client.create_bucket(Bucket=PROBE_BUCKET)
        client.put_object(Bucket=PROBE_BUCKET, Key="probe", Body=b"probe")
        client.get_object(Bucket=PROBE_BUCKET, Key="probe")["Body"].read()
    except (ClientError, BotoCoreError):
        return False
    return True

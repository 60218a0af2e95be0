"""MiniStack: DynamoDB, SQS and Secrets Manager of the local run.

It keeps its state in memory, reads it from files when it starts, and writes them when it gets a SIGTERM, each one
whole or not at all.
"""

import http.client
import json
from pathlib import Path

from dev.local.engine import Engine, bare_environment, executable
from dev.local.ports import LOOPBACK

SERVICES = ("dynamodb", "sqs", "secretsmanager", "cloudfront", "cloudfront-keyvaluestore")

STOP_SECONDS = 20
"""It takes 0.3 s, 3 s with a connection still open, and longer the more it has to write."""


def engine(directory: Path, port: int, region: str) -> Engine:
    settings = {
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        # Stands in the queues' URLs.
        "MINISTACK_HOST": LOOPBACK,
        "MINISTACK_REGION": region,
        "SERVICES": ",".join(SERVICES),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(_state(directory)),
        "LOG_LEVEL": "WARNING",
        # Both would listen on ports of their own.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }
    return Engine(
        "MiniStack",
        [executable("ministack")],
        bare_environment(directory) | settings,
        directory,
        lambda: _answers(port),
        STOP_SECONDS,
    )


def endpoint(port: int, host: str = LOOPBACK) -> str:
    return f"http://{host}:{port}"


def drop_unreadable_state(directory: Path) -> list[str]:
    """Removes what MiniStack couldn't read, and might not start with: half a file, of a disk that was full, say.

    Returns: the services whose state is lost by that.
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
    return (_state(directory) / "dynamodb.json").exists()


def forget_saved_state(directory: Path) -> None:
    """Once it is loaded: after a SIGKILL, tables of the last start but one would contradict the bucket."""
    for path in _state(directory).glob("*.json"):
        path.unlink()


def _state(directory: Path) -> Path:
    return directory / "state"


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/_ministack/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

"""Tests whether the local run's store takes objects, by writing one."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from dev.local.disk import shortage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PROBE = "health/probe"
"""Key beside `archives/`, the only prefix that cleanup lists."""


@dataclass(frozen=True)
class WritableStore:
    """Tests the local run's store.

    Args:
        directory: the engine's directory on this machine; None for a store that was named.
    """

    client: "S3Client"
    bucket: str
    directory: Path | None

    def fault(self) -> str | None:
        """Return why the store takes no object, or None. Raises nothing."""
        try:
            if self.directory is not None and (little := shortage(self.directory)) is not None:
                return little
            self.client.put_object(Bucket=self.bucket, Key=PROBE, Body=b"probe")
            self.client.delete_object(Bucket=self.bucket, Key=PROBE)
        except (ClientError, BotoCoreError, OSError) as error:
            log = f"; see {self.directory.parent / 'logs' / 'seaweedfs.log'}" if self.directory else ""
            return f"the store takes no object ({error}){log}"
        return None

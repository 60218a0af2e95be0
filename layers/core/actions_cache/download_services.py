"""Wire the streams of archives, which only the HTTP functions load."""

from dataclasses import dataclass
from functools import cached_property

from actions_cache.aws.s3_stream import S3Signer, S3Stream
from actions_cache.domain.delivery import StreamLimits
from actions_cache.download import Download
from actions_cache.services import CoreServices


@dataclass
class DownloadServices:
    core: CoreServices

    def connect(self) -> None:
        """Make the clients that requests use, so that the first one doesn't wait half a second; call no AWS service."""
        _ = self.core.bucket, self.core.queue, self.core.urls, self.stream, self.core.database.connection.client

    @cached_property
    def stream(self) -> S3Stream:
        session = self.core.session
        credentials = session.get_credentials()
        if credentials is None:
            raise RuntimeError("no AWS credentials: a Lambda has its role's, the local run its emulators'")
        return S3Stream(S3Signer(self.core.s3, self.core.settings.bucket, credentials))

    @cached_property
    def download(self) -> Download:
        core, settings = self.core, self.core.settings
        return Download(
            core.table,
            core.sources,
            core.manifests,
            self.stream,
            core.clock,
            core.claim_merge,
            core.remove_broken,
            core.lifetimes,
            limits=StreamLimits(
                max_bytes=settings.stream_max_bytes,
                burst_bytes=settings.stream_burst_bytes,
                bytes_per_second=settings.stream_bytes_per_second,
            ),
            merge_wait_seconds=settings.merge_wait_seconds,
            read_ahead_bytes=settings.read_ahead_bytes,
            checks_parts=settings.check_streamed_parts,
            telemetry=core.telemetry,
        )

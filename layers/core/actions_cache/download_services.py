"""The bytes: what only the HTTP functions load."""

from dataclasses import dataclass
from functools import cached_property

from actions_cache.aws.clients import s3_client
from actions_cache.aws.s3_stream import S3Signer, S3Stream
from actions_cache.domain.delivery import StreamLimits
from actions_cache.download import Download
from actions_cache.services import CoreServices


@dataclass
class DownloadServices:
    control: CoreServices

    def connect(self) -> None:
        """Makes the clients that requests go by: else the first one waits half a second for them. Asks AWS nothing."""
        _ = self.control.bucket, self.control.queue, self.control.urls, self.stream

    @cached_property
    def stream(self) -> S3Stream:
        session = self.control.session
        credentials = session.get_credentials()
        if credentials is None:
            raise RuntimeError("no AWS credentials: a Lambda has its role's, the local run its engines'")
        client = s3_client(session, self.control.calls)
        return S3Stream(S3Signer(client, self.control.settings.bucket, credentials))

    @cached_property
    def download(self) -> Download:
        control, settings = self.control, self.control.settings
        return Download(
            control.table,
            control.sources,
            control.manifests,
            self.stream,
            control.clock,
            control.claim_merge,
            control.remove_broken,
            control.lifetimes,
            limits=StreamLimits(
                max_bytes=settings.stream_max_bytes,
                burst_bytes=settings.stream_burst_bytes,
                bytes_per_second=settings.stream_bytes_per_second,
            ),
            merge_wait_seconds=settings.merge_wait_seconds,
            read_ahead_bytes=settings.read_ahead_bytes,
            checks_parts=settings.check_streamed_parts,
            telemetry=control.telemetry,
        )

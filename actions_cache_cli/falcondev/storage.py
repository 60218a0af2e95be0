"""Its objects: in a bucket of S3's protocol, or in a folder.

[gh-actions-cache/]<folder>/merged      all bytes, once they were read for the first time
[gh-actions-cache/]<folder>/parts/<n>   in order; deleted once merged
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from boto3.s3.transfer import TransferConfig

from actions_cache.adapters.aws import answers
from actions_cache.domain.archive import OCTET_STREAM
from actions_cache.usecases.import_entry import Piece
from actions_cache_cli.falcondev.catalogue import Row

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY_PREFIX = "gh-actions-cache"

MIB = 1024 * 1024
TRANSFER = TransferConfig(multipart_threshold=64 * MIB, multipart_chunksize=64 * MIB, max_concurrency=8)
"""Up to 640 GB. Larger pieces: fewer requests; smaller: less to send again where one fails."""


TYPED = {"ContentType": OCTET_STREAM}


class Unusable(Exception):
    """The database names an entry whose bytes aren't there; the message says why. It can't be restored there either."""


class Storage(Protocol):
    def pieces(self, row: Row) -> Sequence[Piece]:
        """Raises: Unusable, Unavailable."""
        ...


def choose(row: Row, names: Collection[str]) -> list[str]:
    """Which of a folder's objects make up the entry, in order. Raises: Unusable."""
    if row.mergedAt and "merged" in names:
        return ["merged"]
    parts = [f"parts/{number}" for number in range(row.partCount)]
    missing = [part for part in parts if part not in names]
    if missing or not parts:
        lost = len(missing)
        gone = "its merged object is gone, and " if row.mergedAt else ""
        raise Unusable(f"{gone}of its {row.partCount} parts {lost} {'is' if lost == 1 else 'are'} missing")
    return parts


@dataclass(frozen=True)
class Bringer:
    """Into our bucket, by boto3's managed transfers."""

    s3: "S3Client"
    bucket: str


@dataclass(frozen=True)
class FolderStorage:
    """STORAGE_DRIVER=filesystem; a bucket that was copied into a folder as well."""

    root: Path
    to: Bringer

    def pieces(self, row: Row) -> Sequence[Piece]:
        folder = (self.root / row.folderName).resolve()
        if not folder.is_relative_to(self.root.resolve()):
            raise Unusable(f"its folder {row.folderName!r} lies outside {self.root}")
        names = {path.relative_to(folder).as_posix() for path in folder.glob("**/*") if path.is_file()}
        return [FilePiece(folder / name, self.to) for name in choose(row, names)]


@dataclass(frozen=True)
class FilePiece:
    path: Path
    to: Bringer

    @cached_property
    def size(self) -> int:
        return self.path.stat().st_size

    def bring(self, key: str) -> None:
        # Not upload_file, whose errors are no ClientErrors.
        with answers(), self.path.open("rb") as file:
            self.to.s3.upload_fileobj(file, self.to.bucket, key, ExtraArgs=TYPED, Config=TRANSFER)


@dataclass(frozen=True)
class BucketStorage:
    """STORAGE_DRIVER=s3."""

    s3: "S3Client"
    bucket: str
    to: Bringer
    inside_s3: bool
    """Copied there; else through this machine."""

    def pieces(self, row: Row) -> Sequence[Piece]:
        prefix = f"{KEY_PREFIX}/{row.folderName}/"
        found: Mapping[str, ObjectPiece] = {piece.key.removeprefix(prefix): piece for piece in self._list(prefix)}
        return [found[name] for name in choose(row, found)]

    def _list(self, prefix: str) -> list["ObjectPiece"]:
        with answers():
            return [
                ObjectPiece(self, row["Key"], row["Size"], row["ETag"])
                for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
                for row in page.get("Contents", ())
            ]


@dataclass(frozen=True)
class ObjectPiece:
    """Pinned by its ETag: what is replaced meanwhile fails."""

    storage: BucketStorage
    key: str
    size: int
    etag: str

    def bring(self, key: str) -> None:
        storage, to = self.storage, self.storage.to
        with answers():
            if storage.inside_s3:
                to.s3.copy(
                    {"Bucket": storage.bucket, "Key": self.key},
                    to.bucket,
                    key,
                    ExtraArgs={"CopySourceIfMatch": self.etag, "MetadataDirective": "REPLACE", **TYPED},
                    SourceClient=storage.s3,
                    Config=TRANSFER,
                )
                return
            body = storage.s3.get_object(Bucket=storage.bucket, Key=self.key, IfMatch=self.etag)["Body"]
            to.s3.upload_fileobj(body, to.bucket, key, ExtraArgs=TYPED, Config=TRANSFER)

"""The manifest in the bucket: JSON, keys relative to the archive's prefix, written once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from actions_cache.domain.archive import Archive, Commit, Manifest, Part
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.domain.part_range import whole
from actions_cache.ports import Bucket, TokenSource, Unreadable


@dataclass(frozen=True, slots=True)
class Manifests:
    bucket: Bucket
    tokens: TokenSource

    def write(self, keys: ArchiveKeys, parts: Sequence[Part]) -> Part:
        """Under a key of its own each time: what an archive points to never changes under it."""
        rows = [[part.key.removeprefix(keys.prefix), part.size, part.etag] for part in parts]
        body = json.dumps({"parts": rows}, separators=(",", ":")).encode()
        return self.bucket.write_once(keys.manifest(self.tokens.new()), body)

    def commit(self, keys: ArchiveKeys, parts: Sequence[Part], digest: str) -> tuple[Commit, Part | None]:
        """What an upload of these parts is committed as, and the one object of an archive that has but one."""
        size = sum(part.size for part in parts)
        if len(parts) == 1:
            return Commit(digest, size, 1, None), parts[0]
        if size == 0:
            # S3 merges no empty parts: an empty archive is one empty object, whatever it came in.
            return Commit(digest, 0, 1, None), self.bucket.write_once(keys.merged(self.tokens.new()), b"")
        return Commit(digest, size, len(parts), self.write(keys, parts), parts[0]), None

    def of(self, archive: Archive) -> Manifest:
        """Return the parts as committed, whether or not they are merged by now.

        Raises:
            ObjectGone: the manifest is missing or changed, or no manifest at all.
        """
        if archive.commit is None or archive.commit.manifest is None:
            return Manifest((archive.object,) if archive.object else ())
        keys, manifest = ArchiveKeys(archive.id), archive.commit.manifest
        body = self.bucket.read(whole(manifest))
        try:
            rows = json.loads(body)["parts"]
            return Manifest(tuple(Part(keys.prefix + key, size, etag) for key, size, etag in rows))
        except (ValueError, KeyError, TypeError) as error:
            raise Unreadable(manifest) from error

"""Part lists: where clients that read an archive's parts themselves find them in S3 (docs/design/parts-protocol.md)."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SignedPart:
    """A part, with what completes its presigned URL."""

    path: str
    """The key, percent-encoded."""
    size: int
    etag: str
    """The ETag with its quotes, by which the reader pins each range."""
    signature: str = field(repr=False)
    """64 hexadecimal digits. They cover the path, so that they open no other part."""


@dataclass(frozen=True, slots=True)
class PartList:
    """An archive's parts in order, with presigned URLs. Its repr, and so the log, doesn't show what opens them."""

    base: str
    """The beginning of each URL, up to the path."""
    query: str = field(repr=False)
    """The query of each URL, without the signature."""
    parts: tuple[SignedPart, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def url(self, part: SignedPart) -> str:
        return f"{self.base}{part.path}?{self.query}&X-Amz-Signature={part.signature}"

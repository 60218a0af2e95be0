"""What a migration is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
"""An archive as the table has it, in JSON's types."""


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    rewrite: Callable[[Document], Document]
    """Pure; gives a document that has the version's shape already back as it is."""


def unchanged(document: Document) -> Document:
    return document

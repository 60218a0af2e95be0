"""The order in which a lookup searches, shared by the lookup itself and by its explanation."""

from collections.abc import Iterator
from dataclasses import dataclass

from actions_cache.domain.entry import EntryFamily, EntryName


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing to ask the table for in one scope: the entry of a key, or the newest entry whose key begins so."""

    family: EntryFamily
    key: str
    is_exact: bool

    @property
    def name(self) -> EntryName:
        return EntryName(self.family, self.key)


@dataclass(frozen=True, slots=True)
class Search:
    """Describes what a job looks for.

    Args:
        repository: the job's.
        scopes: those that its token may read, in the order in which they are searched.
        key: the key that it names.
        restore_keys: prefixes to fall back on, the preferred one first.
        undivided_key: the whole text of a client's comma-separated keys, since a key may hold a comma; an entry of
            exactly this name is preferred to those of the single keys.
    """

    repository: str
    scopes: tuple[str, ...]
    key: str
    restore_keys: tuple[str, ...] = ()
    undivided_key: str | None = None

    @property
    def refs(self) -> tuple[str, ...]:
        """Return the scopes, each once."""
        return tuple(dict.fromkeys(self.scopes))

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Return the key, which is a prefix too, and the restore keys.

        Some clients send the key among the restore keys too (docs/design/protocol.md#encodings).
        """
        return tuple(dict.fromkeys((self.key, *self.restore_keys)))

    def is_for(self, key: str) -> bool:
        """Return whether the job asks for exactly this key; if not, it is found by a prefix."""
        return key in (self.key, self.undivided_key)

    def probes(self, version: str) -> Iterator[Probe]:
        """Yield the probes; the first that finds something is the match.

        All keys in one scope come before the next scope; in a scope the exact key comes before the prefixes.
        """
        keys = [self.key] if self.undivided_key is None else [self.undivided_key, self.key]
        for scope in self.refs:
            family = EntryFamily(self.repository, scope, version)
            yield from (Probe(family, key, is_exact=True) for key in keys)
            yield from (Probe(family, prefix, is_exact=False) for prefix in self.prefixes)

"""Replay jobs against the product's own rules for expiry and eviction, in memory."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, cast

from actions_cache.domain.archive import Archive, Commit, ends_at, reserved, stored, used
from actions_cache.domain.budgets import NO_HITS, Budgets, Hits, Usage
from actions_cache.domain.entry import EntryFamily, EntryName
from actions_cache.domain.entry_class import EntryClass, class_of
from actions_cache.domain.eviction import MOST_HELD
from actions_cache.domain.search import Search
from actions_cache.domain.timing import DAY, Lifetimes, Millis
from actions_cache.evict import AT_A_SAVE, Evict
from actions_cache.settings import Settings
from dev.eviction.workloads import Step

WARM_UP: Millis = 7 * DAY
"""Time at the beginning that isn't counted, since every cache is empty then."""

REPOSITORY, VERSION = "42", "v1"

ClassOf = Callable[[str, Collection[str]], EntryClass]


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to expire and evict.

    Args:
        class_of: tells an entry's class.
        lifetimes: of each class.
    """

    class_of: ClassOf
    lifetimes: Lifetimes


def lifetimes(settings: Settings) -> Lifetimes:
    unused = {entry_class: seconds * 1000 for entry_class, seconds in settings.unused_seconds.items()}
    return Lifetimes(
        upload_url=1,
        download_url=1,
        reservation=DAY,
        grace=1,
        unused=unused,
        merge_lease=1,
        queue_retention=1,
    )


def by_class(settings: Settings) -> Rule:
    return Rule(class_of, lifetimes(settings))


def by_last_use_alone(settings: Settings) -> Rule:
    """Return the rule without classes: whatever was used longest ago goes first."""
    return Rule(lambda *_: EntryClass.DEFAULT_BRANCH, lifetimes(settings))


@dataclass(slots=True)
class Outcome:
    """Counts what happened in a replay after its warm-up.

    Args:
        restores: number of restores.
        misses: those that found nothing.
        main_restores: restores of jobs on the default branch.
        main_misses: those of them that found nothing.
        held: bytes that were kept, summed up over all steps.
        held_by_few: those of entries that only a pull request, a queue entry or a tag can read.
    """

    restores: int = 0
    misses: int = 0
    main_restores: int = 0
    main_misses: int = 0
    held: int = 0
    held_by_few: int = 0

    @property
    def miss_rate(self) -> float:
        return self.misses / self.restores

    @property
    def main_miss_rate(self) -> float:
        return self.main_misses / self.main_restores

    @property
    def share_of_few(self) -> float:
        return self.held_by_few / self.held


@dataclass
class Store:
    """The entries of one repository: what `Evict` needs of the tables."""

    rule: Rule
    archives: dict[EntryClass, OrderedDict[str, Archive]] = field(
        default_factory=lambda: {entry_class: OrderedDict() for entry_class in EntryClass}
    )
    """Archives of each class by their id, in the order of their noted use."""
    by_name: dict[EntryFamily, dict[str, Archive]] = field(default_factory=dict)
    """Archives of each family by their key, in the order of their creation."""
    last_hits: dict[str, Millis] = field(default_factory=dict)
    kept: Usage = field(default_factory=Usage)
    held_by_few: int = 0

    # ------------------------------------------------ the ports' methods

    def stored_archives(self, _repository: str, *, entry_class: EntryClass) -> Iterator[Archive]:
        """Yield as many as one save reads, in a copy, since what is evicted is removed meanwhile."""
        return iter([*islice(self.archives[entry_class].values(), AT_A_SAVE + MOST_HELD)])

    def usage(self, _repository: str) -> Usage:
        return self.kept

    def hits_of(self, _repository: str, archive_id: str) -> Hits:
        at = self.last_hits.get(archive_id)
        return NO_HITS if at is None else Hits(1, at)

    def remove_entry(self, archive_id: str, still_wanted: Callable[[Archive], bool]) -> bool:
        for archives in self.archives.values():
            if (archive := archives.get(archive_id)) is not None:
                if not still_wanted(archive):
                    return False
                self.remove(archive)
                return True
        return False

    # ------------------------------------------------ what jobs do

    def find(self, scopes: tuple[str, ...], key: str, restore_key: str) -> Archive | None:
        for probe in Search(REPOSITORY, scopes, key, (restore_key,) if restore_key else ()).probes(VERSION):
            entries = self.by_name.get(probe.family, {})
            if probe.is_exact:
                if probe.key in entries:
                    return entries[probe.key]
            elif newest := next((entries[key] for key in reversed(entries) if key.startswith(probe.key)), None):
                return newest
        return None

    def use(self, archive: Archive, now: Millis) -> None:
        self.last_hits[archive.id] = now
        if (noted := used(archive, now, self.rule.lifetimes)) is not None:
            self._put(noted)

    def add(self, archive: Archive) -> None:
        self._put(archive)
        self.kept += Usage.of(archive)
        if class_of(archive.name.family.scope, ()) is EntryClass.TRANSIENT:
            self.held_by_few += archive.size

    def remove(self, archive: Archive) -> None:
        del self.archives[archive.entry_class][archive.id]
        del self.by_name[archive.name.family][archive.name.key]
        self.kept -= Usage.of(archive)
        if class_of(archive.name.family.scope, ()) is EntryClass.TRANSIENT:
            self.held_by_few -= archive.size

    def expire(self, now: Millis) -> None:
        for archives in self.archives.values():
            while archives and self._is_over(first := next(iter(archives.values())), now):
                self.remove(first)

    def _is_over(self, archive: Archive, now: Millis) -> bool:
        return ends_at(archive, archive.last_used_at, self.rule.lifetimes) <= now

    def _put(self, archive: Archive) -> None:
        archives = self.archives[archive.entry_class]
        archives[archive.id] = archive
        archives.move_to_end(archive.id)
        self.by_name.setdefault(archive.name.family, {})[archive.name.key] = archive


class Silent:
    """Telemetry that nobody looks at."""

    def emit(self, _event: object) -> None:
        """Emit nothing."""


def replay(steps: Sequence[Step], rule: Rule, budgets: Budgets) -> Outcome:
    store, outcome = Store(rule), Outcome()
    ports = cast("Any", store)
    evict = Evict(ports, ports, ports.remove_entry, budgets, rule.lifetimes, cast("Any", Silent()), lambda: None)
    for number, step in enumerate(steps):
        store.expire(step.at)
        found = store.find(step.scopes, step.key, step.restore_key)
        if found is not None:
            store.use(found, step.at)
        if step.at >= WARM_UP:
            outcome.restores += 1
            outcome.misses += found is None
            outcome.main_restores += step.is_main
            outcome.main_misses += step.is_main and found is None
            outcome.held += store.kept.bytes
            outcome.held_by_few += store.held_by_few
        if found is None or found.name.key != step.key:
            saved = _saved(f"{number:032x}", step, rule)
            store.add(saved)
            evict.after_save(saved)
    return outcome


def _saved(archive_id: str, step: Step, rule: Rule) -> Archive:
    scope = step.scopes[0]
    name = EntryName(EntryFamily(REPOSITORY, scope, VERSION), step.key)
    archive = reserved(archive_id, name, step.at, rule.lifetimes, rule.class_of(scope, step.scopes))
    visible = stored(replace(archive, commit=Commit("digest", step.size, 1, None)), step.at)
    if visible is None:
        raise RuntimeError("a reservation made now has expired")
    return visible

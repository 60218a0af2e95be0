"""Class entries by the ref that they are saved to, which decides who goes first (docs/deploy/eviction.md)."""

from collections.abc import Collection
from enum import StrEnum


class EntryClass(StrEnum):
    """The classes, those that most jobs can read first."""

    DEFAULT_BRANCH = "default-branch"
    """Every job of the repository can read these entries."""
    BRANCH = "branch"
    """The branch's own jobs, and those of pull requests into it, can read these."""
    TRANSIENT = "transient"
    """Few jobs can read these, and not for long: those of one pull request, merge queue entry or tag."""


_TRANSIENT = ("refs/pull/", "refs/tags/", "gh-readonly-queue/", "refs/heads/gh-readonly-queue/")
"""Beginnings of refs that are transient whatever else the token says. The queue's refs are branches; a scope may name
them with or without `refs/heads/`."""


def class_by_form(scope: str) -> EntryClass:
    """Return the class as far as the ref tells it.

    It doesn't tell the default branch from others. Any branch counts as the default one then: an entry whose token
    isn't known any more had been promised the longest life when it was saved.
    """
    return EntryClass.TRANSIENT if scope.startswith(_TRANSIENT) else EntryClass.DEFAULT_BRANCH


def class_of(scope: str, named: Collection[str]) -> EntryClass:
    """Return the class of an entry that a job saves.

    A token names its own ref, the base of its pull request and the default branch, each once. So a branch that stands
    there alone is the default one.

    Args:
        scope: the ref that is written to.
        named: all scopes that the job's token names.
    """
    by_form = class_by_form(scope)
    is_alone = set(named) <= {scope}
    return by_form if by_form is EntryClass.TRANSIENT or is_alone else EntryClass.BRANCH

"""Which repository is meant: people say `owner/repository`, tables have ids."""

from dataclasses import dataclass

from actions_cache.domain.errors import InvalidRequest, NotFound
from actions_cache.domain.repository import Repository, is_name, may_be_id, same_name
from actions_cache.ports import Repositories


@dataclass(frozen=True, slots=True)
class FindRepository:
    repositories: Repositories

    def __call__(self, named: str) -> Repository:
        """Args: named: by its name, or its id.

        Raises:
            NotFound: nobody has saved here under it.
            InvalidRequest: several issuers have a repository of this name.
        """
        return self._by_name(named) if is_name(named) else self._by_id(named)

    def _by_id(self, repository_id: str) -> Repository:
        found = self.repositories.repository(repository_id) if may_be_id(repository_id) else None
        if found is None:
            raise NotFound(f"no repository {repository_id[:100]!r} has saved anything here")
        return found

    def _by_name(self, name: str) -> Repository:
        """The one that has the name now; without one, the one that had it before it was renamed."""
        known = [it for it in map(self.repositories.repository, self.repositories.ids_named(name)) if it is not None]
        meant = [it for it in known if same_name(it.name, name)] or known
        if not meant:
            raise NotFound(f"no repository {name} has saved anything here")
        if len(meant) > 1:
            ids = ", ".join(it.id for it in meant)
            raise InvalidRequest(f"several repositories are called {name}: {ids}; name the one you mean by its id")
        return meant[0]

"""That there is a repository, where no job has named it: its name comes with its first save here."""

from actions_cache.domain.repository import Repository
from actions_cache.domain.timing import Millis
from actions_cache.ports import Repositories


def note_unnamed(repositories: Repositories, repository_id: str, now: Millis) -> None:
    """Leaves one that is known as it is."""
    if repositories.repository(repository_id) is None:
        repositories.note(Repository(repository_id, None, now))

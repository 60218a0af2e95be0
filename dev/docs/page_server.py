"""Serves the management page on moto, for a store with a made-up history: for screenshots and the browser's tests.

The history is made by the core's own transitions. No bytes stand behind it: an archive of 2 GiB is what its commit
says.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch

import boto3
from moto import mock_aws

from actions_cache.domain.access import ManagementTokens
from actions_cache.domain.archive import Commit, Merge, MergeState, Part, committed, reserved, stored
from actions_cache.domain.budgets import HOUR, Repository, Tally
from actions_cache.domain.entry import Entry, EntryFamily, EntryName
from actions_cache.domain.key_family import FamilyPair
from actions_cache.domain.timing import DAY, Millis
from actions_cache.management_services import ManagementServices
from dev.clients.driver import CREDENTIALS, CacheDriver
from dev.emulation.asgi_server import served
from dev.local.template import Template
from dev.services import AllServices
from functions.manage.handler import create_app

MAIN = "refs/heads/main"
PARTS = 12


@contextmanager
def page_server(template: Template, prefix: str, **changes: str) -> Iterator["PageServer"]:
    """Serve the page until the block ends.

    Args:
        template: declares the resources.
        prefix: of the resources' names, since all of a process share one emulator.
        changes: settings that differ from the template's.
    """
    with patch.dict(os.environ, CREDENTIALS), mock_aws():
        session = boto3.Session()
        # With the default, the bars of the made-up repositories would be too short to see.
        budget = {"repository_budget_bytes": str(10 * 1024**3)}
        services = CacheDriver.create(template, session, prefix, **budget | changes).services
        assert services.settings.admin_secret_arn
        secret = session.client("secretsmanager").get_secret_value(SecretId=services.settings.admin_secret_arn)
        tokens = ManagementTokens(json.loads(secret["SecretString"])["admin"])
        with served(create_app(ManagementServices(services))) as url:
            yield PageServer(url, tokens, services)


@dataclass
class PageServer:
    url: str
    tokens: ManagementTokens
    services: AllServices

    @property
    def now(self) -> Millis:
        return self.services.clock.now()

    def repository(self, repository_id: str, name: str | None) -> str:
        self.services.repositories.note(Repository(repository_id, name, self.now))
        return repository_id

    def entry(
        self,
        repository: str,
        key: str,
        size: int,
        *,
        ref: str = MAIN,
        version: str = "v",
        created: Millis = DAY,
        used: Millis = HOUR,
        hits: int = 0,
        merge: MergeState = MergeState.MERGED,
    ) -> Entry:
        """Add an entry with its archive.

        Args:
            repository: its id.
            key: the entry's.
            size: bytes of the archive.
            ref: the entry's scope.
            version: text whose digest is the version.
            created: time since its creation.
            used: time since its last use.
            hits: number of hits at that time.
            merge: state of the archive's merge.
        """
        table, at = self.services.table, self.now - created
        family = EntryFamily(repository, ref, hashlib.sha256(version.encode()).hexdigest())
        archive_id = hashlib.sha256(json.dumps([repository, ref, version, key]).encode()).hexdigest()[:32]
        archive = reserved(archive_id, EntryName(family, key), at, self.services.lifetimes)
        table.reserve(archive, at)
        manifest = Part(f"archives/{archive_id}/manifest/m", 99, '"m"')
        by_parts = committed(replace(archive, revision=1), Commit("digest", size, PARTS, manifest), None)
        assert by_parts is not None
        with_parts = table.replace_archive(by_parts, by_parts)
        visible = stored(with_parts, at)
        assert visible is not None
        merged = Part(f"archives/{archive_id}/merged/r", size, '"o"') if merge is MergeState.MERGED else None
        state = Merge(state=merge, attempts=5 if merge is MergeState.FAILED else 1, ended_at=self.now - used)
        last_used_at = self.now - min(created, used)
        published = table.publish_entry(
            with_parts, replace(visible, merge=state, object=merged, last_used_at=last_used_at)
        )
        for _ in range(hits):
            self.services.repositories.add_hit(repository, archive_id, last_used_at, self.now + 7 * DAY)
        return published.entry

    def hour(self, repository: str, ago: int, tally: Tally, pair: FamilyPair | None = None) -> None:
        """Add the tally of one hour of a repository, so many hours ago, for a pair of key families or for none."""
        self.services.repositories.add_tally(repository, self.now - self.now % HOUR - ago * HOUR, tally, pair)

"""The use cases in this process, on real engines: for what is counted, or timed without HTTP before it."""

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import boto3

from actions_cache.domain.entry import EntryName
from actions_cache.domain.object_keys import ArchiveKeys
from dev.bench.environment import Store, presigned, put_all
from dev.clients.driver import CacheDriver, SetClock, block_ids, settings_for
from dev.local.resources import Clients, create
from dev.local.template import Template
from dev.services import AllServices


@dataclass(frozen=True)
class Workbench:
    driver: CacheDriver
    variables: Mapping[str, str]
    """For a process that does the same."""

    def presigned(self, method: str, key: str) -> str:
        """Args: method: as boto3 calls it."""
        return presigned(self.driver.s3, method, self.driver.services.settings.bucket, key)

    def put_blocks(self, entry_name: EntryName, sizes: Sequence[int]) -> tuple[str, list[str]]:
        """Reserves, and puts blocks of random bytes. Returns what the block list needs: the archive's id and theirs."""
        archive_id = self.driver.reserve(entry_name)
        ids, keys, now = block_ids(len(sizes)), ArchiveKeys(archive_id), self.driver.clock.now()
        objects = [keys.block(block_id, now, "0") for block_id in ids]
        put_all([(self.presigned("put_object", it), size) for it, size in zip(objects, sizes, strict=True)], at_once=8)
        return archive_id, ids

    def upload(self, entry_name: EntryName, sizes: Sequence[int]) -> list[str]:
        """Up to the block list. Returns the keys of the parts."""
        archive_id, ids = self.put_blocks(entry_name, sizes)
        self.driver.services.commit_blocks(archive_id, ids)
        return [ArchiveKeys(archive_id).block(block_id, self.driver.clock.now(), "0") for block_id in ids]


@contextmanager
def workbench(store: Store, **endpoints: str) -> Iterator[Workbench]:
    """On tables and a bucket of its own. Args: endpoints: variables that name other ones than the store's run has."""
    environment = store.endpoints.environment() | endpoints
    with patch.dict(os.environ, environment):
        keys = store.endpoints.credentials
        session = boto3.Session(keys.access_key_id, keys.secret_access_key, region_name=store.endpoints.region)
        clients = Clients.of(session)
        resources = create(Template.load(), clients, prefix=f"bench-{uuid.uuid4().hex[:8]}")
        clock = SetClock()
        variables = resources.environment("ApiFunction")
        services = AllServices(settings_for(variables), clock)
        services.session = session
        yield Workbench(CacheDriver(services, clock, clients.s3, clients.sqs), environment | variables)

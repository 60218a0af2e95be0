"""Answers of the management API among 10,000 entries of one repository, and among 10,000 repositories.

On DynamoDB Local, whose answers take other time than DynamoDB's; processor time is this process's, and the units are
those that DynamoDB Local counts.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import urllib3

from actions_cache.aws.dynamodb_items import archive_attributes
from actions_cache.domain.budgets import Repository
from actions_cache.management_services import ManagementServices
from dev.bench.environment import Emulators, Row, running_driver
from dev.clients.driver import REPOSITORY, CacheDriver, name
from dev.emulation import dynamodb_local
from dev.emulation.asgi_server import served
from dev.emulation.dynamodb_usage import metered
from functions.manage.handler import create_app

MANY = 10_000

TOKEN = "a" * 64

REQUESTS = {
    "entries, in the order of their last use": "/repositories/{}/actions/caches",
    "entries by a key's beginning, by size": "/repositories/{}/actions/caches?key=npm-00001&sort=size_in_bytes",
    "entries by a part of the key, by key": "/manage/repositories/{}/entries?search=099&sort=key",
    "all entries by hits": "/manage/repositories/{}/entries?sort=hits",
    "repositories": "/manage/repositories",
    "an owner's usage": "/orgs/example/actions/cache/usage",
    "an owner's usage by repository": "/orgs/example/actions/cache/usage-by-repository",
}


def listings(emulators: Emulators, rounds: int) -> Iterator[Row]:
    with (
        tempfile.TemporaryDirectory() as directory,
        dynamodb_local.running(Path(directory)) as table,
        running_driver(emulators, **table.environment) as driver,
    ):
        add_archives(driver, MANY)
        add_repositories(driver, MANY)
        arn = driver.services.settings.admin_secret_arn
        assert arn is not None
        secrets = driver.services.session.client("secretsmanager")
        secrets.put_secret_value(SecretId=arn, SecretString=json.dumps({"admin": TOKEN}))
        with served(create_app(ManagementServices(driver.services))) as url:
            yield _noting(driver)
            for what, path in REQUESTS.items():
                yield _measured(driver, what, url + path.format(REPOSITORY), rounds)


def _noting(driver: CacheDriver) -> Row:
    began, used = time.perf_counter(), time.process_time()
    with metered(driver.services) as requests:
        noted = driver.services.note_usages(lambda: True)
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    units = sum(request.units for request in requests)
    more = f"{len(requests)} requests, {units:g} units; {processor:.0f} s of the processor"
    return Row(
        "noting usages, by cleanup, every six hours", f"{noted:,} repositories", f"{seconds:.0f} s", None, "", more
    )


def _measured(driver: CacheDriver, what: str, url: str, rounds: int) -> Row:
    asked = [_ask(driver, url) for _ in range(rounds)]
    seconds, processor = (min(times) for times in zip(*(times for times, _ in asked), strict=True))
    more = f"{asked[0][1]}; {processor:.2f} s of the processor"
    return Row(what, f"among {MANY:,}", f"{seconds:.2f} s", None, "under 1 s", more)


def _ask(driver: CacheDriver, url: str) -> tuple[tuple[float, float], str]:
    """Return the seconds that an answer took, those of the processor, and what it took else."""
    with metered(driver.services) as requests:
        began, used = time.perf_counter(), time.process_time()
        answer = urllib3.request("GET", url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
        seconds = time.perf_counter() - began, time.process_time() - used
    assert answer.status == 200, answer.data
    units = sum(request.units for request in requests)
    return seconds, f"{len(requests)} requests, {units:g} units, {len(answer.data):,} bytes"


def add_archives(driver: CacheDriver, count: int) -> None:
    """Add merged archives of one repository, each found once, past all flows."""
    table, repositories, now = driver.services.table, driver.services.repositories, driver.clock.now()
    driver.services.repositories.note(Repository(REPOSITORY, "example/many", now))
    saved = driver.archive(driver.save(name("npm-0"), b"one", b"two").archive_id)
    assert saved.commit is not None
    with table._archives.batch_write() as batch:
        for number in range(1, count):
            made = replace(
                saved,
                id=f"{number:032x}",
                name=name(f"npm-{number:07d}", scope=f"refs/heads/{number % 7}"),
                commit=replace(saved.commit, size=number),
                last_used_at=now - number,
                revision=1,
            )
            batch.save(table._archives(**archive_attributes(made, now)))
    with repositories._items.batch_write() as batch:
        for number in range(1, count):
            batch.save(repositories._items(REPOSITORY, f"hits#{number:032x}", hits=number % 13, last_hit_at=now))


def add_repositories(driver: CacheDriver, count: int) -> None:
    """Add repositories of which each has an entry."""
    table, repositories, now = driver.services.table, driver.services.repositories, driver.clock.now()
    saved = driver.archive(driver.save(name("npm-1"), b"content").archive_id)
    with repositories._items.batch_write() as batch, table._archives.batch_write() as archives:
        for number in range(count):
            repository = Repository(f"{1_000_000 + number}", f"example/r{number}", now)
            batch.save(repositories._items(repository.id, "profile", name=repository.name, noted_at=now))
            batch.save(repositories._items("*", f"repository#{repository.id}", name=repository.name))
            batch.save(repositories._items(f"name#{repository.name}", repository.id))
            batch.save(repositories._items(repository.id, "usage#0", bytes=1000 + number, entries=1))
            named = name("npm-1", repository=repository.id)
            made = replace(saved, id=f"{number:024x}feedfeed", name=named, revision=1)
            archives.save(table._archives(**archive_attributes(made, now)))

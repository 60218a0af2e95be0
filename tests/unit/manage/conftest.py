import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3
from fastapi import FastAPI

from actions_cache.aws import secrets
from actions_cache.domain.access import Caller, read_only_token
from actions_cache.management_services import ManagementServices
from dev.clients.driver import REPOSITORY, CacheDriver, name
from dev.emulation.asgi_server import served
from functions.manage.handler import create_app

ADMIN = "a" * 64
READ_ONLY = read_only_token(ADMIN)


@dataclass
class Manager:
    """Sends requests to the app, with a token or without."""

    app: FastAPI
    url: str
    driver: CacheDriver

    def ask(self, method: str, path: str, token: str | None = ADMIN, scheme: str = "Bearer", **headers: str) -> Any:
        authorization = {} if token is None else {"Authorization": f"{scheme} {token}"}
        return urllib3.request(method, f"{self.url}{path}", headers=authorization | headers, retries=False, timeout=60)

    def get(self, path: str, **query: Any) -> Any:
        encoded = f"?{urlencode(query, doseq=True)}" if query else ""
        answer = self.ask("GET", f"{path}{encoded}", READ_ONLY)
        assert answer.status == 200, answer.data
        return answer.json()

    def save(self, *keys: str, **where: str) -> None:
        for key in keys:
            self.driver.clock.advance(1)
            self.driver.save(name(key, **where), b"content")

    def put_secret(self, **tokens: str) -> None:
        secrets = self.driver.services.session.client("secretsmanager")
        arn = self.driver.services.settings.admin_secret_arn
        assert arn is not None
        secrets.put_secret_value(SecretId=arn, SecretString=json.dumps(tokens))


@pytest.fixture(scope="module")
def url_of_app(module_driver: CacheDriver) -> Iterator[tuple[str, FastAPI]]:
    app = create_app(ManagementServices(module_driver.services))
    with served(app) as url:
        yield url, app


@pytest.fixture
def manager(emptied_driver: CacheDriver, url_of_app: tuple[str, FastAPI], monkeypatch: pytest.MonkeyPatch) -> Manager:
    """Return a manager of a server that knows example/tools, which has saved nothing yet."""
    monkeypatch.setattr("actions_cache.manage.SIDE_BY_SIDE", 1)  # see tests/unit/flows/test_managing.py
    monkeypatch.setattr(secrets, "MANAGEMENT_CACHED_SECONDS", 0)
    emptied_driver.services.note_repository(Caller(REPOSITORY, (), "example/tools"))
    url, app = url_of_app
    manager = Manager(app, url, emptied_driver)
    manager.put_secret(admin=ADMIN)
    return manager

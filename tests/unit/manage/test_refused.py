"""The management API lists the jobs that TOKEN_CLAIMS keeps out."""

from actions_cache.domain.access import GITHUB, parse_rule
from actions_cache.domain.refused_job import KEPT, Refusals, RefusedJob
from actions_cache.http.schemas import format_timestamp
from actions_cache.management_services import ManagementServices
from dev.emulation.asgi_server import served
from dev.services import AllServices
from functions.manage.handler import create_app
from tests.unit.manage.conftest import Manager

JOB = RefusedJob(GITHUB, "42", "octo/app", "7", "octo", ("repository_id=42", "repository_owner_id=7"))


def test_refused_job_is_listed_with_setting(manager: Manager):
    driver = manager.driver
    assert manager.get("/manage/refused-tokens") == {"refused_tokens": []}
    now = driver.clock.now()
    driver.services.repositories.add_refusals(Refusals(JOB, 3, now), now + KEPT)
    assert manager.get("/manage/refused-tokens") == {"refused_tokens": []}, "the fixture's TOKEN_CLAIMS is any"

    settings = driver.services.settings.model_copy(update={"token_claims": (parse_rule("repository_id=1"),)})
    services = AllServices(settings, driver.clock)
    services.session = driver.services.session
    with served(create_app(ManagementServices(services))) as url:
        answer = Manager(manager.app, url, driver).get("/manage/refused-tokens")
    assert answer == {
        "refused_tokens": [
            {
                "issuer": GITHUB,
                "repository_id": "42",
                "repository": "octo/app",
                "owner_id": "7",
                "owner": "octo",
                "times": 3,
                "last_at": format_timestamp(now),
                "to_admit": ["repository_id=42", "repository_owner_id=7"],
            }
        ]
    }

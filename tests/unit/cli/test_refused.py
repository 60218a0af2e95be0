"""`refused` lists the jobs that TOKEN_CLAIMS keeps out, and what to add to it."""

from actions_cache.domain.access import GITHUB
from actions_cache.domain.refused_job import RefusedJob
from tests.unit.cli.conftest import Operated

JOB = RefusedJob(GITHUB, "42", "octo/app", "7", "octo", ("repository_id=42", "repository_owner_id=7"))
NAMELESS = RefusedJob(GITHUB, "43", None, None, None, ())


def test_refused_jobs_are_listed_with_the_very_value_to_set(operated: Operated):
    operated.refuse("repository_id=1", JOB, NAMELESS)
    answer = operated.run("refused")
    titles, first, second, last = answer.out.splitlines()
    assert titles.endswith("issuer                                       to let it in, add")
    assert first.split()[2:6] == ["3", "octo/app", "42", "octo"]
    assert first.endswith("repository_id=42 or repository_owner_id=7")
    assert second.split()[2:] == ["3", "43", GITHUB]
    assert (answer.code, last) == (0, "jobs of 2 repositories were refused")
    [shown, _] = operated.run.json("refused")["refused_tokens"]
    assert (shown["repository"], shown["to_admit"]) == ("octo/app", ["repository_id=42", "repository_owner_id=7"])


def test_who_comes_in_by_now_is_not_listed(operated: Operated):
    operated.refuse("repository_owner_id=7", JOB)
    assert operated.run("refused").out == "jobs of 0 repositories were refused\n"

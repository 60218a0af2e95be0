"""`list`, `usage`, `match` and `delete`: a repository's entries, as people ask for them."""

import pytest

from actions_cache import manage
from actions_cache.domain.budgets import Repository
from tests.support.journey import name
from tests.unit.cli.command import process
from tests.unit.cli.conftest import Operated

HOUR = 3600


@pytest.fixture
def saved(operated: Operated) -> Operated:
    """Three entries, an hour apart, the last of them just now, and another repository's."""
    journey = operated.journey
    for repository, called in (("42", "acme/app"), ("43", "acme/lib")):
        journey.services.repositories.note(Repository(repository, called, journey.clock.now()))
    journey.clock.advance(-2 * HOUR)
    journey.save(name("npm-1"), b"first", b"!")
    journey.clock.advance(HOUR)
    journey.save(name("npm-2"), b"second")
    journey.clock.advance(HOUR)
    journey.save(name("pip-1", scope="refs/heads/feature"), b"third")
    journey.save(name("npm-1", repository="43"), b"another's")
    return operated


def test_list_shows_entries_by_name_or_id_filtered_sorted_and_in_pages(saved: Operated):
    def keys(*arguments: str) -> list[str]:
        return [it["key"] for it in saved.run.json("list", *arguments)["entries"]]

    assert keys("acme/app") == keys("42") == ["pip-1", "npm-2", "npm-1"]
    assert keys("42", "--key-prefix", "npm-", "--sort", "created_at", "--ascending") == ["npm-1", "npm-2"]
    assert keys("42", "--older-than", "90m") == ["npm-1"]
    assert keys("42", "--ref", "refs/heads/feature") == ["pip-1"]
    assert keys("42", "--per-page", "2", "--page", "2") == ["npm-1"]
    saved.journey.look_up("npm-1")
    by_hits = saved.run.json("list", "42", "--sort", "hits")["entries"]
    assert (by_hits[0]["key"], by_hits[0]["hits"]) == ("npm-1", 1)
    answer = saved.run("list", "acme/app", "--search", "PIP")
    assert answer.last_line == "page 1 of 1, 1 entry in all"
    assert "refs/heads/feature" in answer.out


def test_usage_is_held_against_the_budget(saved: Operated):
    overview = saved.run.json("usage")
    assert [(it["name"], it["bytes"], it["entries"]) for it in overview["repositories"]] == [
        ("acme/app", 17, 3),
        ("acme/lib", 9, 1),
    ]
    assert (overview["store"]["bytes"], overview["store"]["entries"]) == (26, 4)
    assert saved.run.json("usage", "acme/lib")["bytes"] == 9
    assert saved.run("usage").last_line == "2 repositories, 4 entries, 26 B"
    assert "17 B of 10.7 GB" in saved.run("usage", "acme/app").out


def test_match_says_what_a_job_would_get_and_what_was_asked_before(saved: Operated):
    before = saved.everything()
    answer = saved.run("match", "acme/app", "npm-3", "npm-", "--ref", "refs/heads/feature", "--ref", "refs/heads/main")
    assert answer.code == 0
    assert "restores npm-2 of refs/heads/main" in answer.last_line
    asked = saved.run.json("match", "acme/app", "npm-3", "--ref", "refs/heads/main", "--version", "v1", code=1)
    assert [it["exact"] for it in asked["matches"][0]["attempts"]] == [True, False]
    assert saved.everything() == before, "it counts as no use"


def test_delete_takes_what_it_names_only_by_yes_and_nothing_else(saved: Operated):
    before = saved.everything()
    dry = saved.run("delete", "acme/app", "--key-prefix", "npm-")
    assert (dry.code, dry.last_line) == (0, "2 entries (12 B); nothing was changed: --yes deletes")
    assert saved.everything() == before

    assert saved.run("delete", "acme/app", "--key-prefix", "npm-", "--yes").last_line == "2 entries (12 B) deleted"
    assert saved.journey.look_up("npm-2") is None
    assert saved.journey.look_up("npm-1", repository="43") is not None
    [left] = saved.run.json("list", "acme/app")["entries"]
    assert left["key"] == "pip-1"
    deleted = saved.run.json("delete", "acme/app", "--id", str(left["id"]), "--yes")
    assert [it["key"] for it in deleted["deleted"]] == ["pip-1"]
    assert saved.run.json("usage")["store"]["entries"] == 1


def test_delete_goes_on_until_all_that_it_names_are_gone(saved: Operated, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(manage, "AT_ONCE", 1)
    dry = saved.run("delete", "42", "--older-than", "30m")
    assert dry.last_line == "1 entry (6 B), and 1 more; nothing was changed: --yes deletes"
    assert saved.run("delete", "42", "--older-than", "30m", "--yes").last_line == "2 entries (12 B) deleted"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["delete", "acme/app", "--yes"], "nothing says which entries are to go"),
        (["delete", "acme/app", "--id", "7"], "no entry of acme/app has the id 7"),
        (["delete", "acme/app", "--id", "7", "--key", "k"], "--id names one entry"),
        (["delete", "acme/app", "--older-than", "soon"], "neither an age like 30d"),
        (["list", "acme/other"], "no repository acme/other has saved anything here"),
        (["usage", "99"], "no repository '99'"),
    ],
)
def test_what_cant_be_meant_is_refused_with_words(operated: Operated, arguments, said):
    operated.journey.services.repositories.note(Repository("42", "acme/app", 0))
    answer = operated.run(*arguments)
    assert answer.code == 2
    assert said in answer.err


def test_each_as_a_user_starts_it(saved: Operated):
    assert process("list", "acme/app", "--local", "--json").document["total"] == 3
    assert process("usage", "--local").code == 0
    assert process("match", "acme/app", "npm-", "--ref", "refs/heads/main", "--local").code == 0
    deleted = process("delete", "acme/app", "--key", "npm-1", "--local", "--yes", "--json")
    assert (len(deleted.document["deleted"]), deleted.err) == (1, "")
    assert process("doctor", "--help").out.startswith("usage: actions-cache-doctor")

"""`list`, `usage`, `families`, `match`, `delete` and `refused`: what repositories keep, as people ask for it."""

import pytest

from actions_cache import manage
from actions_cache.domain.access import GITHUB
from actions_cache.domain.budgets import Repository, Tally
from actions_cache.domain.refused_job import RefusedJob
from actions_cache_cli import entries
from dev.clients.driver import name
from tests.unit.cli.conftest import Operated, process

HOUR = 3600


@pytest.fixture
def saved(operated: Operated) -> Operated:
    """Save three entries an hour apart, the last one just now, and one of another repository."""
    driver = operated.driver
    for repository, called in (("42", "acme/app"), ("43", "acme/lib")):
        driver.services.repositories.note(Repository(repository, called, driver.clock.now()))
    driver.clock.advance(-2 * HOUR)
    driver.save(name("npm-1"), b"first", b"!")
    driver.clock.advance(HOUR)
    driver.save(name("npm-2"), b"second")
    driver.clock.advance(HOUR)
    driver.save(name("pip-1", scope="refs/heads/feature"), b"third")
    driver.save(name("npm-1", repository="43"), b"another's")
    return operated


def test_list_filters_sorts_and_pages(saved: Operated):
    def keys(*arguments: str) -> list[str]:
        return [row["key"] for row in saved.run.json("list", *arguments)["entries"]]

    assert keys("acme/app") == keys("42") == ["pip-1", "npm-2", "npm-1"]
    assert keys("42", "--key-prefix", "npm-", "--sort", "created_at", "--ascending") == ["npm-1", "npm-2"]
    assert keys("42", "--older-than", "90m") == ["npm-1"]
    for asked in (("--ref", "feature"), ("--ref", "refs/heads/feature"), ("--family", "pip-*")):
        assert keys("42", *asked) == ["pip-1"]
    assert keys("42", "--class", "default-branch", "--unused-since", "1s", "--family", "npm-*") == ["npm-1"]
    assert keys("42", "--per-page", "2", "--page", "2") == ["npm-1"]
    saved.driver.look_up("npm-1")
    by_hits = saved.run.json("list", "42", "--sort", "hits")["entries"]
    assert (by_hits[0]["key"], by_hits[0]["hits"]) == ("npm-1", 1)
    answer = saved.run("list", "acme/app", "--search", "PIP")
    assert answer.last_line == "page 1 of 1, 1 entry in all"
    assert "refs/heads/feature" in answer.out
    assert saved.run("list", "42", "--page", "9").out == "there is no page 9: 3 entries are 1 page\n"


def test_families_show_what_misses_most(saved: Operated):
    for keys in (("pip-2",), ("npm-7", "npm-"), ("npm-1",)):
        saved.driver.look_up(*keys)
    shown = saved.run.json("families", "acme/app", "--hours", "2")
    assert [(row["family"], row["misses"], row["partial_hits"]) for row in shown["families"]] == [
        ("pip-*", 1, 0),
        ("npm-*", 0, 1),
    ]
    assert (shown["repository"], shown["more"], shown["rest"]["lookups"]) == ("42", False, 0)
    answer = saved.run("families", "42")
    columns = [line.split() for line in answer.out.splitlines()]
    assert columns[1] == ["pip-*", "1", "0", "0", "0%", "0", "B", "5", "B"]
    assert columns[2] == ["npm-*", "0", "1", "1", "100%", "12", "B", "12", "B", "npm-*"]
    assert answer.last_line.startswith("lookups since ")
    saved.driver.services.repositories.add_tally("42", saved.driver.clock.at, Tally(misses=3))
    assert "all others" in saved.run("families", "42").out


def test_match_explains_a_lookup(saved: Operated):
    before = saved.everything()
    answer = saved.run("match", "acme/app", "npm-3", "npm-", "--ref", "feature", "--ref", "main")
    assert answer.code == 0
    assert "restores npm-2 of refs/heads/main" in answer.last_line
    asked = saved.run.json("match", "acme/app", "npm-3", "--ref", "refs/heads/main", "--version", "v1", code=1)
    assert [row["exact"] for row in asked["matches"][0]["attempts"]] == [True, False]
    assert saved.everything() == before, "it counts as no use"


def test_delete_removes_matches_with_yes(saved: Operated, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(manage, "AT_ONCE", 1)
    monkeypatch.setattr(entries, "MOST_SHOWN", 1)
    before = saved.everything()
    dry = saved.run("delete", "acme/app", "--key-prefix", "npm-")
    _, row, more, _, summed, total, hint = dry.out.splitlines()
    assert (dry.code, "npm-1" in row, more) == (0, True, "and 1 more, which `list` shows")
    assert summed.split() == ["refs/heads/main", "default-branch", "2", "12", "B"]
    assert total == "2 entries (12 B); nothing was changed: --yes deletes"
    assert hint.startswith("--yes --as-of 20")
    assert saved.everything() == before
    usages = [(row["name"], row["bytes"], row["entries"]) for row in saved.run.json("usage")["repositories"]]
    assert usages == [("acme/app", 17, 3), ("acme/lib", 9, 1)]

    assert saved.run("delete", "acme/app", "--key-prefix", "npm-", "--yes").last_line == "2 entries (12 B) deleted"
    assert saved.driver.look_up("npm-2") is None
    assert saved.driver.look_up("npm-1", repository="43") is not None
    [left] = saved.run.json("list", "acme/app")["entries"]
    assert left["key"] == "pip-1"
    deleted = saved.run.json("delete", "acme/app", "--id", str(left["id"]), "--yes")
    assert [row["key"] for row in deleted["deleted"]] == ["pip-1"]
    store = saved.run.json("usage")["store"]
    assert (store["bytes"], store["entries"]) == (9, 1)


def test_delete_spares_what_changed_since_the_look(saved: Operated, monkeypatch: pytest.MonkeyPatch):
    driver = saved.driver
    asked = ("delete", "acme/app", "--family", "npm-*", "--unused-since", "1s", "--json")
    look = saved.run(*asked).document
    assert [row["key"] for row in look["deleted"]] == ["npm-1"]
    driver.clock.advance(60)  # the commands' clock is the machine's, and ahead of this one
    driver.save(name("npm-8"), b"saved since")
    remove = manage.DeleteEntries.remove

    def used_first(self, selected):
        driver.look_up("npm-1")
        return remove(self, selected)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(manage.DeleteEntries, "remove", used_first)
        answer = saved.run(*asked[:-1], "--as-of", look["as_of"], "--yes")
    assert answer.out.splitlines()[-2:] == [
        "0 entries (0 B) deleted",
        "1 entry stayed: used, deleted or being written meanwhile",
    ]
    deleted = saved.run.json("delete", "acme/app", "--key-prefix", "npm-", "--as-of", look["as_of"], "--yes")
    assert sorted(row["key"] for row in deleted["deleted"]) == ["npm-1", "npm-2"]
    assert {row["key"] for row in saved.run.json("list", "acme/app")["entries"]} == {"npm-8", "pip-1"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["delete", "acme/app", "--yes"], "nothing says which entries are to go"),
        (["delete", "acme/app", "--id", "7"], "no entry of acme/app has the id 7"),
        (["delete", "acme/app", "--id", "7", "--key", "k"], "--id names one entry"),
        (["delete", "acme/app", "--older-than", "soon"], "neither an age like 30d"),
        (["delete", "acme/app", "--as-of", "1d", "--yes"], "nothing says which entries are to go"),
        (["delete", "acme/app", "--older-than", "0s"], "--older-than: '0s' leaves no entry out"),
        (
            ["delete", "acme/app", "--family", "npm-1"],
            "--family: 'npm-1' is no key family",
        ),
        (["delete", "acme/app", "--class", "main"], "'main' is not one of 'default-branch', 'branch', 'transient'"),
        (["list", "acme/app", "--unused-since", "0d"], "--unused-since: '0d' leaves no entry out"),
        (["list", "acme/other"], "no repository acme/other has saved anything here"),
        (["families", "acme/other"], "no repository acme/other has saved anything here"),
        (["families", "acme/app", "--hours", "841"], "841 is not in the range"),
        (["usage", "99"], "no repository '99'"),
    ],
)
def test_invalid_arguments_are_explained(operated: Operated, arguments, said):
    operated.driver.services.repositories.note(Repository("42", "acme/app", 0))
    answer = operated.run(*arguments)
    assert answer.code == 2
    assert said in answer.err


@pytest.mark.slow
def test_commands_run_as_processes(saved: Operated):
    assert process("list", "acme/app", "--local", "--json").document["total"] == 3
    assert process("match", "acme/app", "npm-", "--ref", "refs/heads/main", "--local").code == 0
    deleted = process("delete", "42", "--family", "npm-*", "--older-than", "90m", "--local", "--yes", "--json")
    assert (len(deleted.document["deleted"]), deleted.err) == (1, "")
    assert process("doctor", "--help").out.startswith("usage: actions-cache-doctor")


JOB = RefusedJob(GITHUB, "42", "octo/app", "7", "octo", ("repository_id=42", "repository_owner_id=7"))
NAMELESS = RefusedJob(GITHUB, "43", None, None, None, ())


def test_refused_jobs_are_listed_with_the_value_to_add(operated: Operated):
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
    settings = operated.data / "settings"
    settings.write_text(settings.read_text().replace("TOKEN_CLAIMS=repository_id=1", "TOKEN_CLAIMS=any"))
    assert operated.run("refused").out == "jobs of 0 repositories were refused\n", "all come in by now"

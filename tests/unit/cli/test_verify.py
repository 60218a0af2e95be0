"""`verify` and `reconcile`: table and bucket held against each other."""

import pytest

from actions_cache.domain.budgets import Repository, Usage
from actions_cache_cli.__main__ import main
from tests.support.journey import name
from tests.unit.cli.command import process
from tests.unit.cli.conftest import Operated

BODY = b"modules " * 100


def flip_a_byte(operated: Operated, archive_id: str) -> str:
    """Of an archive's only object, with its length as it was. Returns its key."""
    key = operated.journey.archive(archive_id).object.key
    operated.journey.overwrite(key, BODY[:99] + b"X" + BODY[100:])
    return key


def test_a_flipped_byte_is_found_and_its_entry_removed_only_by_repair_and_yes(operated: Operated):
    entry = operated.journey.save(name("npm-1"), BODY)
    operated.journey.save(name("npm-2"), BODY)
    assert operated.run("verify", "--deep").last_line == "2 archives, 1.6 kB: 0 damaged"
    key = flip_a_byte(operated, entry.archive_id)
    before = operated.everything()

    found = operated.run.json("verify", code=1)
    assert found["archives"] == 2
    assert found["damaged"] == [
        {
            "archive_id": entry.archive_id,
            "repository": "42",
            "scope": "refs/heads/main",
            "version": "v1",
            "key": "npm-1",
            "object": key,
            "damage": "it has another size or ETag",
            "removed": False,
        }
    ]
    seen = operated.run("verify", "--repair")
    assert seen.code == 1
    assert seen.last_line == "2 archives, 1.6 kB: 1 damaged; nothing was changed: --yes removes their entries"
    assert operated.everything() == before

    assert operated.run("verify", "--repair", "--yes").last_line.endswith("1 entry removed")
    assert operated.journey.look_up("npm-1") is None
    assert operated.journey.look_up("npm-2") is not None
    assert operated.run("verify").code == 0


def test_yes_without_repair_is_a_mistake(operated: Operated):
    answer = operated.run("verify", "--yes")
    assert answer.code == 2
    assert "--repair" in answer.err


def test_reconcile_finds_what_nobody_owns_and_deletes_it_only_by_yes(operated: Operated):
    kept = operated.journey.save(name("npm-1"), BODY).archive_id
    orphan = "0" * 32
    for number in range(2):
        operated.journey.services.bucket.write_once(f"archives/{orphan}/parts/blob/{number}", b"nobody's")
    before = operated.everything()

    orphans = [{"archive_id": orphan, "objects": 2, "bytes": 16, "deleted": False}]
    assert operated.run.json("reconcile")["orphans"] == orphans
    assert operated.everything() == before
    assert operated.run("reconcile", "--yes").last_line.endswith("0 counted wrong; mended")
    assert {part.key.split("/")[1] for part in operated.journey.services.bucket.list("")} == {kept}


def test_reconcile_corrects_a_wrong_count_and_no_right_one(operated: Operated):
    operated.journey.save(name("npm-1"), BODY)
    operated.journey.save(name("npm-1", repository="43"), BODY)
    repositories = operated.journey.services.repositories
    for repository in ("42", "43"):
        repositories.note(Repository(repository, None, 0))
    repositories.correct_usage("42", Usage(1_000, 3))

    wrong = {
        "repository": "42",
        "counted": {"entries": 4, "bytes": 1_800},
        "stored": {"entries": 1, "bytes": 800},
        "corrected": False,
    }
    assert operated.run.json("reconcile")["miscounted"] == [wrong]
    assert operated.run.json("reconcile", "--yes")["miscounted"] == [wrong | {"corrected": True}]
    assert repositories.usage("42") == repositories.usage("43") == Usage(800, 1)
    assert repositories.store_usage() == Usage(1_600, 2)
    assert operated.run.json("reconcile")["miscounted"] == []


def test_both_as_a_user_starts_them(operated: Operated):
    operated.journey.save(name("npm-1"), BODY)
    verified = process("verify", "--local", "--deep")
    assert (verified.code, verified.out, verified.err) == (0, "1 archive, 800 B: 0 damaged\n", "")
    assert process("reconcile", "--local", "--json").document["archives"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify"], "--stack NAME"),
        (["verify", "--local"], "make run"),
        (["verify", "--local", "--stack", "cache"], "say one of them"),
    ],
)
def test_without_a_server_a_command_says_what_to_do(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LOCAL_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("ACTIONS_CACHE_STACK", raising=False)
    assert main(arguments) == 2
    assert said in capsys.readouterr().err

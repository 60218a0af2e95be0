"""`import falcondev`: what github-actions-cache-server 9.4.7 wrote (tests/unit/cli/falcondev), found here by jobs."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from actions_cache.domain.access import qualified
from actions_cache.ports import Unavailable
from actions_cache.usecases.import_entry import ImportEntry
from actions_cache_cli.console import CommandFailed
from actions_cache_cli.falcondev.catalogue import QUERY, Row, in_order, read_database, read_rows
from actions_cache_cli.falcondev.storage import Bringer, FilePiece, Unusable, choose
from tests.support.journey import SCOPE, name
from tests.unit.cli.command import process
from tests.unit.cli.conftest import Operated

SAVED = Path(__file__).parent / "falcondev"
STORAGE = SAVED / "storage"
VERSION = "1482f18c83418a2df1e5813841557f33c8612362dfb3678c138abb47f27db43e"
ODD = 'odd, "quoted" \N{SNOWMAN} key'
SAVED_ON = 1_795_820_000_000
"""The day on which it was written, to the second or so."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """As if it had been written a minute ago."""
    path = tmp_path / "sqlite.db"
    with closing(sqlite3.connect(path)) as written:
        written.executescript((SAVED / "database.sql").read_text())
        for table, column in (("cache_entries", "updatedAt"), ("storage_locations", "lastDownloadedAt")):
            written.execute(
                f"UPDATE {table} SET {column} = {column} - {SAVED_ON} + (strftime('%s', 'now') - 60) * 1000"
            )
        written.commit()
    return path


def from_folder(database: Path, *more: str) -> tuple[str, ...]:
    return ("import", "falcondev", "--database", str(database), "--directory", str(STORAGE), *more)


def restored(operated: Operated, key: str, repository: str = "1001", scope: str = SCOPE) -> bytes | None:
    hit = operated.journey.look_up(key, version=VERSION, repository=repository, scopes=(scope,))
    return operated.journey.content(hit.entry.archive_id) if hit else None


def test_every_entry_that_can_be_restored_there_can_be_restored_here(operated: Operated, database: Path):
    before = operated.everything()
    dry = operated.run(*from_folder(database))
    assert dry.last_line == (
        "6 entries there, 6 chosen: 5 would be imported, 1 unusable (67 B); nothing was changed: --yes imports"
    )
    assert operated.everything() == before

    imported = operated.run.json(*from_folder(database, "--yes"), code=1)
    [broken] = [it for it in imported["entries"] if it["outcome"] != "imported"]
    assert (broken["key"], broken["because"]) == ("broken", "of its 2 parts 1 is missing")
    operated.journey.merge_all()
    assert restored(operated, "npm-older") == b"older modules"
    assert restored(operated, "npm-newer") == b"newer modules"
    assert restored(operated, "npm-newer", scope="refs/pull/7/merge") == b"of a pull request"
    assert restored(operated, "npm-newer", repository="2002") == b"of another repository"
    assert restored(operated, ODD) == b"odd"
    assert restored(operated, "broken") is None
    assert restored(operated, "npm-") == b"newer modules", "the newest wins, as there"
    usage = operated.journey.control.repositories.usage
    assert (usage("1001").entries, usage("2002").entries) == (4, 1)

    again = operated.everything()
    answer = operated.run(*from_folder(database, "--yes"))
    assert answer.last_line == "6 entries there, 6 chosen: 5 there already, 1 unusable (0 B)"
    assert operated.everything() == again


def test_from_a_bucket_too_and_only_what_is_chosen_under_the_names_that_are_chosen(operated: Operated, database: Path):
    bucket = operated.journey.control.settings.bucket
    for path in STORAGE.glob("**/*"):
        if path.is_file():
            key = f"gh-actions-cache/{path.relative_to(STORAGE).as_posix()}"
            operated.journey.s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    issuer = "https://ghes.example.com/_services/token"
    source = ("import", "falcondev", "--database", str(database), "--bucket", bucket, "--yes", "--issuer", issuer)

    inside = operated.run.json(
        *source, "--repository", "1001=7", "--scope", "refs/heads/npm*", "--scope", "refs/pull/*"
    )
    assert [(it["repository"], it["key"]) for it in inside["entries"]] == [(qualified("7", issuer), "npm-newer")]
    here = qualified("7", issuer)
    assert restored(operated, "npm-newer", repository=here, scope="refs/pull/7/merge") == b"of a pull request"

    url = operated.journey.s3.meta.endpoint_url
    through = operated.run.json(*source, "--endpoint-url", url, "--repository", "2002", "--repository", "1001", code=1)
    assert sorted(it["outcome"] for it in through["entries"]) == ["imported"] * 5 + ["unusable"]
    assert restored(operated, "npm-older", repository=qualified("1001", issuer)) == b"older modules"


def test_what_was_unused_for_longer_than_entries_are_kept_here_stays_there(operated: Operated, database: Path):
    with closing(sqlite3.connect(database)) as written:
        written.execute("UPDATE cache_entries SET updatedAt = updatedAt - 8 * 86400000")
        written.commit()
    outcomes = {it["key"]: it["outcome"] for it in operated.run.json(*from_folder(database, "--yes"))["entries"]}
    assert outcomes.pop("npm-older") == "imported", "it was restored since"
    assert set(outcomes.values()) == {"unused for too long to be kept here"}


def test_an_import_that_breaks_off_leaves_the_key_free_and_goes_on_when_run_again(
    operated: Operated, database: Path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(ImportEntry, "_bring", interrupted)
        assert operated.run(*from_folder(database, "--yes")).code == 130
    assert operated.journey.control.table.reservation(name("npm-older", version=VERSION, repository="1001")) is None
    assert operated.run(*from_folder(database, "--yes")).last_line.startswith("6 entries there, 6 chosen: 5 imported")


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_rows_from_another_database_are_read_as_well(operated: Operated, database: Path, tmp_path: Path):
    with closing(sqlite3.connect(database)) as written:
        written.row_factory = sqlite3.Row
        rows = [json.dumps(dict(row)) for row in written.execute(QUERY)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    source = ("import", "falcondev", "--rows", str(tmp_path / "rows.jsonl"), "--directory", str(STORAGE), "--local")
    answer = process(*source, "--json")
    assert [it["outcome"] for it in answer.document["entries"]].count("would be imported") == 5


# ------------------------------------------------------------------ what is there, without a server


def row(**changes: object) -> Row:
    fields = {
        "key": "k",
        "version": "v",
        "scope": "s",
        "repoId": "1",
        "updatedAt": 1,
        "folderName": "f",
        "partCount": 2,
    }
    return Row.model_validate(fields | changes)


def test_of_two_entries_of_one_name_the_newer_counts_and_the_oldest_comes_first():
    rows = [row(updatedAt=3), row(updatedAt=1), row(key="other", updatedAt=2)]
    assert [(it.key, it.updatedAt) for it in in_order(rows)] == [("other", 2), ("k", 3)]


@pytest.mark.parametrize(
    ("merged_at", "names", "chosen"),
    [
        (1, {"merged"}, ["merged"]),
        (1, {"merged", "parts/0", "parts/1"}, ["merged"]),
        (1, {"parts/0", "parts/1"}, ["parts/0", "parts/1"]),
        (None, {"parts/1", "parts/0"}, ["parts/0", "parts/1"]),
        (None, {"merged", "parts/0", "parts/1"}, ["parts/0", "parts/1"]),
        (None, {"parts/0", "parts/1", "parts/2"}, ["parts/0", "parts/1"]),
    ],
)
def test_the_merged_object_counts_only_once_it_is_done(merged_at, names, chosen):
    assert choose(row(mergedAt=merged_at), names) == chosen


@pytest.mark.parametrize(
    ("merged_at", "names"), [(None, {"merged"}), (1, {"parts/0"}), (None, {"parts/1"}), (1, set())]
)
def test_without_all_parts_or_the_merged_object_nothing_can_be_restored(merged_at, names):
    with pytest.raises(Unusable, match="missing"):
        choose(row(mergedAt=merged_at), names)


def test_what_is_no_database_of_that_server_is_refused_with_words(tmp_path: Path):
    (tmp_path / "sqlite.db").write_bytes(b"")
    with pytest.raises(CommandFailed, match="github-actions-cache-server 9"):
        read_database(tmp_path / "sqlite.db")
    (tmp_path / "rows.jsonl").write_text('{"key": "k"}\n')
    with pytest.raises(CommandFailed, match="line 1: version"):
        read_rows(tmp_path / "rows.jsonl")
    for text in ("key,version\n", "[" * 100_000):
        (tmp_path / "rows.jsonl").write_text(text)
        with pytest.raises(CommandFailed, match="line 1, isn't JSON"):
            read_rows(tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl").write_bytes(b"\xff")
    with pytest.raises(CommandFailed, match="can't be read"):
        read_rows(tmp_path / "rows.jsonl")


def test_an_upload_that_is_refused_is_one_entrys_failure(operated: Operated, tmp_path: Path):
    piece = tmp_path / "piece"
    piece.write_bytes(b"bytes")
    control = operated.journey.control
    s3 = control.session.client("s3", aws_access_key_id="nobody", aws_secret_access_key="nobodys")
    with pytest.raises(Unavailable, match="InvalidAccessKeyId"):
        FilePiece(piece, Bringer(s3, control.settings.bucket)).bring("key")

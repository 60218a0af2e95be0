"""Tables are cut to a terminal's width and whole in a pipe; sizes, times and refs are written one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from actions_cache.domain.refs import full_ref
from actions_cache.http.schemas import parse_timestamp
from actions_cache_cli.console import Output, amount, moment, short_ref
from actions_cache_cli.table import LEAST_CELLS, Column

COLUMNS = (
    Column.name("key"),
    Column.name("ref"),
    Column.number("size"),
    Column.text("created", is_spare=True),
    Column.text("state"),
)
ROWS = [
    ("npm-" + "k" * 508, "refs/heads/main", "7.6 MiB", "2026-12-01 13:53Z", ""),
    ("pip-日本語-1", "refs/pull/118/merge", "10 B", "2026-12-01 13:53Z", ""),
]


def shown(capsys: pytest.CaptureFixture[str], width: int | None) -> list[str]:
    Output(as_json=False, width=width).rows(COLUMNS, ROWS)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [80, 120, 10_000])
def test_lines_fit_a_terminal_and_columns_align(capsys: pytest.CaptureFixture[str], width: int):
    lines = shown(capsys, width)
    assert max(map(cell_len, lines)) <= width
    assert len({cell_len(line[: line.index(" ref") + 1]) for line in lines if " ref" in line}) == 1
    ends = [cell_len(line[: line.index(unit)]) for line, unit in zip(lines[1:], (" MiB", " B"), strict=True)]
    assert ends[0] + len(" MiB") == ends[1] + len(" B"), "numbers end at the same place"
    assert "state" not in lines[0], "a column without content"
    assert ("…" in lines[1]) is (width < 10_000)


def test_narrow_terminal_loses_spare_columns_first(capsys: pytest.CaptureFixture[str]):
    assert "created" in shown(capsys, 80)[0]
    lines = shown(capsys, 40)
    assert "created" not in lines[0]
    assert max(map(cell_len, lines)) <= 40
    narrowest = shown(capsys, 1)
    assert narrowest[1].startswith("npm-" + "k" * (LEAST_CELLS - 5) + "…  refs/heads/…")


def test_pipe_gets_whole_values(capsys: pytest.CaptureFixture[str]):
    lines = shown(capsys, None)
    assert all(cell in line for line, row in zip(lines[1:], ROWS, strict=True) for cell in row)
    assert Output(as_json=False).ref("refs/heads/main") == "refs/heads/main"
    assert Output(as_json=False).brief("k" * 512) == "k" * 512


@pytest.mark.parametrize(
    ("size", "written"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (50 * 1024**3, "50.0 GiB"),
        (2 * 1024**5, "2048.0 TiB"),
    ],
)
def test_sizes_are_binary(size: int, written: str):
    assert amount(size) == written


def test_times_have_a_zone_and_are_taken_by_options():
    assert moment(1_796_133_212_345) == "2026-12-01 13:53Z"
    assert parse_timestamp("--older-than", moment(1_796_133_212_345), 0) == 1_796_133_180_000


@pytest.mark.parametrize(
    ("ref", "short"),
    [
        ("refs/heads/main", "main"),
        ("refs/heads/feature/x", "feature/x"),
        ("refs/pull/118/merge", "#118"),
        ("refs/tags/v1", "tags/v1"),
        ("refs/heads/#118", "refs/heads/#118"),
        ("refs/heads/tags/v1", "refs/heads/tags/v1"),
        ("refs/pull/118/head", "refs/pull/118/head"),
        ("", ""),
    ],
)
def test_refs_are_shown_as_people_write_them(ref: str, short: str):
    assert Output(as_json=False, width=80).ref(ref) == short


@given(st.sampled_from(["refs/heads/", "refs/pull/", "refs/tags/", "refs/"]), st.text("#/ahedstgpul1 "))
def test_short_ref_means_the_ref(begin: str, rest: str):
    ref = begin + rest
    assert short_ref(ref) == ref or full_ref(short_ref(ref)) == ref

"""The demo's picture is drawn from the recording beside it, shows today's demo, and depends on nothing else."""

import os
import re
import sys
from signal import SIGINT
from subprocess import PIPE, CalledProcessError, Popen
from textwrap import dedent

import pytest
from defusedxml import ElementTree

from dev.demo.__main__ import NEXT
from dev.docs.record_demo import (
    CAST,
    COLUMNS,
    FRAME_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PICTURE,
    ROWS,
    SPEED,
    Line,
    Output,
    Terminal,
    Unreadable,
    as_cast,
    frames,
    lines_of,
    of_cast,
    picture,
    recorded,
)
from dev.local.template import ROOT

SVG = "{http://www.w3.org/2000/svg}"


def shown_at_the_end() -> list[str]:
    """Return the picture's lines where nothing moves: with CSS animation off, or once it has ended."""
    groups = ElementTree.fromstring(PICTURE.read_text()).iter(f"{SVG}g")
    return [" ".join(group.itertext()) for group in groups if "gone" not in group.get("class", "")]


def written(*texts: str) -> list[str]:
    terminal = Terminal()
    for text in texts:
        terminal.write(text)
    return terminal.lines


# ------------------------------------------------------------------ the picture in the repository


def test_picture_matches_recording():
    assert PICTURE.read_text() == picture(of_cast(CAST.read_text())), "make recording RECORD_OPTIONS=--render"


def test_picture_ends_like_current_demo():
    lines = shown_at_the_end()
    text = "\n".join(lines)
    assert lines[0] == "$ make demo"
    for named in ("✓ save", "✓ restore ", "✓ restore again", "every byte came back, twice", "What to do next:"):
        assert named in text
    assert re.search(r"│ Saved \d+ MB in [\d,]+ files by the real @actions/cache: \d+ MB/s", text)
    assert [f"{command} {told}" for command, told in NEXT.items()] == lines[-len(NEXT) :], "make recording"


def test_picture_is_small_and_self_contained():
    text = PICTURE.read_text()
    assert len(text.encode()) < 200_000
    assert {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(text).iter()} == {
        *("svg", "title", "desc", "style", "rect", "text", "g")
    }
    assert re.findall(r"url\(|@import|@font-face|href|https?://(?!127\.0\.0\.1:|www\.w3\.org/2000/svg\")", text) == []


@pytest.mark.parametrize("file", [CAST, PICTURE], ids=["recording", "picture"])
def test_files_contain_no_local_paths(file):
    """A URL's path has its host before it, and `MB/s` a letter."""
    assert re.findall(r"(?<![\w<:/.])/(?!>)\w[\w.-]*/\S*", file.read_text()) == []
    assert str(ROOT) not in file.read_text()


def test_readme_shows_picture():
    assert f'<img src="{PICTURE.relative_to(ROOT)}"' in (ROOT / "README.md").read_text()


# ------------------------------------------------------------------ the recorder


def test_recording_terminal_has_fixed_size():
    program = "import os; print(os.isatty(1), *os.get_terminal_size(), os.environ.get('NO_COLOR'), 'ü')"
    outputs = recorded([sys.executable, "-c", program])
    assert "".join(output.text for output in outputs) == f"True {COLUMNS} {ROWS} None ü\r\n"
    assert of_cast(as_cast(outputs)) == outputs


def test_failed_command_is_not_recorded():
    with pytest.raises(CalledProcessError) as failed:
        recorded([sys.executable, "-c", "print('told'); raise SystemExit(3)"])
    assert (failed.value.returncode, failed.value.output) == (3, "told\r\n")


def test_interrupted_command_can_clean_up(tmp_path):
    """The command meanwhile writes more than a terminal buffers."""
    ready, stopped = tmp_path / "ready", tmp_path / "stopped"
    os.mkfifo(ready)
    program = dedent(f"""
        import pathlib, signal, time
        def stop(*_):
            print("x" * 100_000, flush=True)
            pathlib.Path({str(stopped)!r}).touch()
            raise SystemExit(1)
        signal.signal(signal.SIGTERM, stop)
        pathlib.Path({str(ready)!r}).write_text('now')
        time.sleep(60)
    """)
    recorder = f"import sys; from dev.docs.record_demo import recorded; recorded([sys.executable, '-c', {program!r}])"
    with Popen([sys.executable, "-c", recorder], cwd=ROOT, stderr=PIPE, text=True) as process:
        assert ready.read_text() == "now"
        process.send_signal(SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]
    assert stopped.exists()


# ------------------------------------------------------------------ the terminal


def test_erased_line_is_overwritten():
    assert written("one", "\r\x1b[2K", "two\r\n\x1b[?25h", "\r\x1b[1A\x1b[2K", "three\r\n") == ["three", ""]


def test_escape_sequence_may_be_split():
    assert written("\x1b[32", "mgreen\x1b", "[0m") == ["\x1b[32mgreen\x1b[0m"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\x1b[5;5H", r"'\\x1b\[5;5H' in line 1"),
        ("one\rtwo", "wasn't erased"),
        ("one\x1b[1A", "in line 1"),
        ("\r\n" * ROWS, f"more than {ROWS} lines"),
        ("x" * (COLUMNS + 1), f"wider than {COLUMNS} columns"),
    ],
)
def test_unsupported_output_is_reported(text, why):
    with pytest.raises(Unreadable, match=why):
        written(text)


def test_full_screen_is_shown():
    assert written("\r\n".join(["x" * COLUMNS] * ROWS)) == ["x" * COLUMNS] * ROWS


def test_unknown_colour_is_reported():
    with pytest.raises(Unreadable, match="COLOURS"):
        picture([Output(1, "\x1b[38;5;99mviolet\x1b[0m")])


# ------------------------------------------------------------------ time


def test_frames_speed_up_and_pauses_shrink():
    first, second, third = frames([Output(3 * SPEED * FRAME_SECONDS, "a"), Output(1000, "b")])
    assert first == (0, ("$ \x1b[1mmake demo\x1b[0m", ""))
    assert second[0] == pytest.approx(3 * FRAME_SECONDS)
    assert second[1][1] == "a"
    assert third[0] == pytest.approx(second[0] + LONGEST_PAUSE_SECONDS / SPEED, abs=FRAME_SECONDS)
    assert third[1][1] == "ab"


def test_line_stays_until_replaced():
    screens = [(0.0, ("a",)), (1.0, ("a", "b")), (2.0, ("a", "c")), (3.0, ("a", ""))]
    assert lines_of(screens) == [Line(1, "b", 1, 2), Line(1, "c", 2, 3), Line(0, "a", 0)]

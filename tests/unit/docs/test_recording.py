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
    PICTURE,
    ROWS,
    Output,
    Unreadable,
    as_cast,
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


def test_picture_matches_recording():
    """The recording has every kind of output that the terminal knows, so this holds its drawing too."""
    assert PICTURE.read_text() == picture(of_cast(CAST.read_text())), "make recording RECORD_OPTIONS=--render"
    assert f'<img src="{PICTURE.relative_to(ROOT)}"' in (ROOT / "README.md").read_text()


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


def test_recording_terminal_has_fixed_size():
    program = "import os; print(os.isatty(1), *os.get_terminal_size(), os.environ.get('NO_COLOR'), 'ü')"
    outputs = recorded([sys.executable, "-c", program])
    assert "".join(output.text for output in outputs) == f"True {COLUMNS} {ROWS} None ü\r\n"
    assert of_cast(as_cast(outputs)) == outputs
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


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\x1b[5;5H", r"'\\x1b\[5;5H' in line 2"),
        ("one\rtwo", "wasn't erased"),
        ("one\x1b[1A", "in line 2"),
        ("\r\n" * ROWS, f"more than {ROWS} lines"),
        ("x" * (COLUMNS + 1), f"wider than {COLUMNS} columns"),
        ("\x1b[38;5;99mviolet\x1b[0m", "COLOURS"),
    ],
)
def test_unsupported_output_is_reported(text, why):
    with pytest.raises(Unreadable, match=why):
        picture([Output(1, text)])

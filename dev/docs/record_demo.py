"""`make recording`: docs/images/demo.svg, an animation of what `make demo` shows on a terminal.

The demo runs once, on a terminal of its own. What it wrote, and when, is kept beside the picture as an asciicast, so
`--render` makes the picture anew without a run.
"""

import argparse
import codecs
import json
import os
import pty
import re
import subprocess
import sys
import termios
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from dev.local.template import ROOT

CAST = ROOT / "docs" / "images" / "demo.cast"
PICTURE = CAST.with_suffix(".svg")

COLUMNS, ROWS = 100, 30
PROMPT = "$ \x1b[1mmake demo\x1b[0m"

SPEED = 2
LONGEST_PAUSE_SECONDS = 1.5
"""Longest pause of the recording that is played; the demo is silent while it stops its emulators."""

FRAME_SECONDS = 0.15
HOLD_SECONDS = 8.0
"""Time for reading the result before it all begins again."""

CELL_WIDTH, LINE_HEIGHT, FONT_SIZE, MARGIN = 8.4, 17, 14, 16

FOREGROUND, BACKGROUND, DIM = ("#1f2328", "#e6edf3"), ("#ffffff", "#0d1117"), ("#59636e", "#9198a1")
COLOURS = {
    1: ("#cf222e", "#ff7b72"),
    2: ("#1a7f37", "#3fb950"),
    6: ("#1b7c83", "#39c5cf"),
    70: ("#4d8f00", "#5faf00"),
    197: ("#d61f63", "#f92672"),
    237: ("#d0d7de", "#3a3f47"),
}
"""Maps each colour's number to its shade in a light window and in a dark one."""

PIECE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+")
CUT_SHORT = re.compile(r"\x1b(\[[0-9;?]*)?\Z")


class Unreadable(Exception):
    """Raised for output that the small terminal below can't show."""


@dataclass(frozen=True)
class Output:
    """Describes a piece of output, and how many seconds after the beginning it was written."""

    seconds: float
    text: str


# ------------------------------------------------------------------ record


def recorded(command: Sequence[str]) -> list[Output]:
    """Run the command on a terminal, and return what it wrote.

    Raises:
        CalledProcessError: the command fails.
    """
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (ROWS, COLUMNS))
    others = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    environment = {name: value for name, value in os.environ.items() if name not in others}
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=its,
        stdout=its,
        stderr=its,
        env=environment | {"TERM": "xterm-256color", "PYTHONUTF8": "1"},
        start_new_session=True,
    )
    os.close(its)
    try:
        outputs = [Output(round(time.monotonic() - began, 3), text) for text in _read(ours)]
    except BaseException:
        process.terminate()
        for _ in _read(ours):
            # A terminal that nobody reads is full soon, and then the command waits instead of stopping its emulators.
            pass
        raise
    finally:
        code = process.wait()
        os.close(ours)
    if code:
        raise subprocess.CalledProcessError(code, command, "".join(output.text for output in outputs))
    return outputs


def _read(terminal: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            # Linux's way to say that nobody has the other end open any more.
            return
        if not data:
            return
        yield decoder.decode(data)


def as_cast(outputs: Iterable[Output]) -> str:
    """Return an asciicast of version 2: https://docs.asciinema.org/manual/asciicast/v2/."""
    header = {"version": 2, "width": COLUMNS, "height": ROWS}
    events = [[output.seconds, "o", output.text] for output in outputs]
    return "".join(json.dumps(line) + "\n" for line in (header, *events))


def of_cast(cast: str) -> list[Output]:
    _, *events = map(json.loads, cast.splitlines())
    return [Output(seconds, text) for seconds, _, text in events]


# ------------------------------------------------------------------ what stood on the screen


@dataclass
class Terminal:
    """Knows what rich writes, which erases a line before it writes it anew. Lines keep their colours' sequences."""

    lines: list[str] = field(default_factory=lambda: [""])
    _row: int = 0
    _at_left: bool = True
    _rest: str = ""

    def write(self, text: str) -> None:
        """Take what a program writes to the terminal.

        Raises:
            Unreadable: this small terminal can't show it.
        """
        text = self._rest + text
        cut_short = CUT_SHORT.search(text)
        self._rest = cut_short[0] if cut_short else ""
        for piece in PIECE.findall(text.removesuffix(self._rest)):
            self._take(piece)

    def _take(self, piece: str) -> None:
        if piece == "\r":
            self._at_left = True
        elif piece == "\n":
            self._row += 1
            self.lines += [""] * (self._row + 1 - len(self.lines))
            if len(self.lines) > ROWS:
                raise Unreadable(f"more than {ROWS} lines")
        elif piece == "\x1b[2K":
            self.lines[self._row] = ""
        elif piece == "\x1b[1A" and self._at_left and self._row:
            self._row -= 1
        elif piece.startswith("\x1b") and piece.endswith("m"):
            self.lines[self._row] += piece
        elif not piece.startswith("\x1b"):
            self._put(piece)
        elif piece not in {"\x1b[?25l", "\x1b[?25h"}:
            raise Unreadable(f"{piece!r} in line {self._row + 1}")

    def _put(self, text: str) -> None:
        line = self.lines[self._row]
        if self._at_left and Text.from_ansi(line).plain:
            raise Unreadable(f"{text!r} is written over line {self._row + 1}, which wasn't erased")
        self._at_left = False
        self.lines[self._row] = line + text
        if Text.from_ansi(line + text).cell_len > COLUMNS:
            raise Unreadable(f"line {self._row + 1} is wider than {COLUMNS} columns")


Frame = tuple[float, tuple[str, ...]]


def frames(outputs: Sequence[Output]) -> list[Frame]:
    """Return the screens with the second, of the played recording, at which each appears."""
    terminal = Terminal()
    terminal.write(PROMPT + "\r\n")
    shown = {0: tuple(terminal.lines)}
    played = 0.0
    for before, output in pairwise([Output(0, ""), *outputs]):
        played += min(output.seconds - before.seconds, LONGEST_PAUSE_SECONDS) / SPEED
        terminal.write(output.text)
        shown[int(played / FRAME_SECONDS)] = tuple(terminal.lines)
    return [(tick * FRAME_SECONDS, lines) for tick, lines in shown.items()]


@dataclass(frozen=True)
class Line:
    """A line of the screen for some time; one that has no end stands there when all is over."""

    row: int
    text: str
    begins: float
    ends: float | None = None


def lines_of(screens: Iterable[Frame]) -> list[Line]:
    standing: dict[int, Line] = {}
    gone = []
    for at, screen in screens:
        for row in range(max(len(screen), len(standing))):
            text = screen[row] if row < len(screen) else ""
            before = standing.get(row)
            if before is None or before.text != text:
                if before:
                    gone.append(Line(row, before.text, before.begins, at))
                standing[row] = Line(row, text, at)
    return [line for line in (*gone, *standing.values()) if Text.from_ansi(line.text).plain.strip()]


# ------------------------------------------------------------------ the picture


def picture(outputs: Sequence[Output]) -> str:
    """Return an SVG without scripts and foreign fonts, which shows the end where nothing moves.

    Raises:
        Unreadable: the small terminal can't show the output, or COLOURS lacks one of its colours.
    """
    screens = frames(outputs)
    lines = sorted(lines_of(screens), key=lambda line: (line.row, line.begins))
    seconds = screens[-1][0] + HOLD_SECONDS
    width = COLUMNS * CELL_WIDTH + 2 * MARGIN
    height = (max(line.row for line in lines) + 1) * LINE_HEIGHT + 2 * MARGIN
    moments = dict.fromkeys((line.begins, line.ends) for line in lines if line.begins or line.ends)
    names = {moment: f"m{number}" for number, moment in enumerate(moments)}
    keyframes = [_keyframes(name, *moment, seconds) for moment, name in names.items()]
    body = [_drawn(line, names.get((line.begins, line.ends))) for line in lines]
    end = "\n".join(Text.from_ansi(line).plain for line in screens[-1][1]).strip()
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" role="img"',
            f'viewBox="0 0 {width:g} {height:g}">',
            "<title>make demo</title>",
            f"<desc>{escape(end)}</desc>",
            "<style>",
            f"text{{font:{FONT_SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}}",
            ".b{font-weight:bold}",
            *_colours(0),
            "@media (prefers-color-scheme: dark){",
            *_colours(1),
            "}",
            f".m{{animation:{seconds:.2f}s step-end infinite}}",
            ".gone{visibility:hidden}",
            "@media (prefers-reduced-motion: reduce){.m{animation:none!important}}",
            *keyframes,
            "</style>",
            f'<rect class="page" x=".5" y=".5" width="{width - 1:g}" height="{height - 1:g}" rx="8"/>',
            f'<text class="d" x="{width - MARGIN:g}" y="{_baseline(0)}" text-anchor="end">played at {SPEED}x</text>',
            *body,
            "</svg>\n",
        ]
    )


def _colours(scheme: int) -> Iterator[str]:
    yield f"text{{fill:{FOREGROUND[scheme]}}}.d{{fill:{DIM[scheme]}}}"
    yield f".page{{fill:{BACKGROUND[scheme]};stroke:{COLOURS[237][scheme]}}}"
    yield "".join(f".c{number}{{fill:{colour[scheme]}}}" for number, colour in COLOURS.items())


def _keyframes(name: str, begins: float, ends: float | None, seconds: float) -> str:
    """Return when a line is seen; outside of the named moments it is as its class says."""
    hidden, visible = "{visibility:hidden}", "{visibility:visible}"
    begin = f"0%{hidden}{begins / seconds:.2%}{visible}" if begins else f"0%{visible}"
    end = f"{ends / seconds:.2%}{hidden}" if ends else f"100%{visible}"
    return f"@keyframes {name}{{{begin}{end}}}"


def _baseline(row: int) -> int:
    return MARGIN + row * LINE_HEIGHT + FONT_SIZE


def _drawn(line: Line, moment: str | None) -> str:
    """Return the line with each of its pieces at its own column, whatever font the reader has."""
    segments = Segment.simplify(Text.from_ansi(line.text).render(Console(width=COLUMNS)))
    pieces, column = [], 0
    for segment in segments:
        text = segment.text.rstrip()
        if word := text.lstrip():
            x = MARGIN + (column + len(text) - len(word)) * CELL_WIDTH
            length = len(word) * CELL_WIDTH
            pieces.append(
                f'<text{_classes(segment.style)} x="{x:.1f}" y="{_baseline(line.row)}" textLength="{length:.1f}"'
                f' lengthAdjust="spacingAndGlyphs">{escape(word)}</text>'
            )
        column += len(segment.text)
    motion = f' class="m{" gone" if line.ends else ""}" style="animation-name:{moment}"' if moment else ""
    return f"<g{motion}>{''.join(pieces)}</g>"


def _classes(style: Style | None) -> str:
    """Return the attribute with the CSS classes of the style.

    Raises:
        Unreadable: its colour has no entry in COLOURS.
    """
    if not style:
        return ""
    number = style.color.number if style.color else None
    if style.color and number not in COLOURS:
        raise Unreadable(f"{style.color.name} has no entry in COLOURS")
    classes = [f"c{number}"] * bool(style.color) + ["b"] * bool(style.bold) + ["d"] * bool(style.dim)
    return f' class="{" ".join(classes)}"' if classes else ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="record_demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--render", action="store_true", help="draws the recording that is there, and runs nothing")
    options = parser.parse_args(arguments)
    try:
        outputs = of_cast(CAST.read_text()) if options.render else recorded([sys.executable, "-m", "dev.demo"])
        drawn = picture(outputs)
    except subprocess.CalledProcessError as failed:
        sys.stderr.write(failed.output)
        return 1
    except Unreadable as unreadable:
        sys.exit(f"the demo can't be drawn: {unreadable}")
    _write(CAST, as_cast(outputs))
    _write(PICTURE, drawn)
    return 0


def _write(file: Path, text: str) -> None:
    file.write_text(text)
    print(f"{file.relative_to(ROOT)}: {len(text.encode()) // 1024} KiB")


if __name__ == "__main__":
    sys.exit(main())

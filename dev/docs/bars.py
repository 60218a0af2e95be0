"""Draw pairs of bars as a picture for the docs: the others' above ours, in a light window and in a dark one."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, LEFT, LONGEST, BAR, GAP, TOP = 760, 300, 380, 16, 10, 64

COLOURS = {"text": ("#1f2328", "#e6edf3"), "plain": ("#b35900", "#f0883e"), "ours": ("#1a7f37", "#3fb950")}
"""Colours in a light window and in a dark one."""


class Bar(NamedTuple):
    """A figure, drawn as long as it is, and said in words."""

    figure: float
    text: str


class Pair(NamedTuple):
    """One thing, as it is with the others and with us."""

    what: str
    plain: Bar
    ours: Bar


class Group(NamedTuple):
    """Pairs under one heading."""

    heading: str
    pairs: Sequence[Pair]


def picture(title: str, plain: str, ours: str, groups: Sequence[Group]) -> str:
    """Return an SVG of the groups, with a legend that names the two sides."""
    longest = max(bar.figure for group in groups for pair in group.pairs for bar in (pair.plain, pair.ours))
    drawn, y = [], TOP
    for group in groups:
        drawn.append(_text(0, y + 12, group.heading, weight="bold"))
        y += 22
        for pair in group.pairs:
            drawn.append(_text(16, y + BAR, pair.what))
            for side, bar, below in (("plain", pair.plain, 2), ("ours", pair.ours, GAP)):
                width = LONGEST * bar.figure / longest
                drawn.append(f'<rect class="{side}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}"/>')
                drawn.append(_text(LEFT + 6 + width, y + 12, bar.text))
                y += BAR + below
        y += GAP
    return "\n".join([*_head(y, title, plain, ours), *drawn, "</svg>", ""])


def _head(height: int, title: str, plain: str, ours: str) -> Sequence[str]:
    def fills(shade: int) -> str:
        return " ".join(f".{name} {{ fill: {shades[shade]}; }}" for name, shades in COLOURS.items())

    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        f"<title>{escape(title)}</title>",
        f"<style>text {{ font: 13px sans-serif; }} {fills(0)}",
        f"@media (prefers-color-scheme: dark) {{ {fills(1)} }}</style>",
        _text(0, 16, title, weight="bold"),
        f'<rect class="plain" x="0" y="30" width="{BAR}" height="{BAR}"/>',
        _text(24, 43, plain),
        f'<rect class="ours" x="{LEFT - 60}" y="30" width="{BAR}" height="{BAR}"/>',
        _text(LEFT - 36, 43, ours),
    ]


def _text(x: float, y: float, text: str, weight: str = "normal") -> str:
    return f'<text class="text" x="{x:.1f}" y="{y}" style="font-weight: {weight}">{escape(text)}</text>'

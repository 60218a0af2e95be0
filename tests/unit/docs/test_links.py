"""Links lead to files and headings that exist, paths that are named too, and each page is found from the README."""

import re
from pathlib import Path

import pytest

from dev.local.template import ROOT
from tests.unit.docs.pages import PAGES

LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]*)\)")
CODE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
CORE = "layers/core/actions_cache/"
ROOTS = (
    "core",
    "functions",
    "tests",
    "layers",
    "runners",
    "events",
    "deploy",
    "dev",
    "actions_cache_cli",
)


def prose(page: Path) -> str:
    return CODE.sub("", page.read_text())


def headings(page: Path) -> set[str]:
    """As GitHub makes anchors of them."""
    found = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def targets(page: Path) -> list[tuple[Path, str]]:
    links = (link.partition("#") for link in LINK.findall(prose(page)))
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in links]


@pytest.mark.parametrize("page", PAGES, ids=lambda it: str(it.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    for target, anchor in targets(page):
        assert target.exists(), target
        assert target.is_relative_to(ROOT), target
        assert not anchor or anchor in headings(target), f"{target.name} has no heading #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda it: str(it.relative_to(ROOT)))
def test_each_path_that_is_named_exists(page: Path) -> None:
    """`core` is the core's package, as docs/architecture.md says; a file's place may be named by its end alone."""
    named = re.findall(rf"`((?:{'|'.join(ROOTS)})/[\w./-]*)`", prose(page))
    missing = [path for path in named if not (ROOT / re.sub("^core/", CORE, path)).exists()]
    assert missing == []


def test_every_page_is_found_from_the_readme() -> None:
    """A folder that is linked shows its pages."""
    found, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in found:
            continue
        found.add(page)
        for target, _ in targets(page):
            waiting += [target] if target.suffix == ".md" else target.glob("*.md") if target.is_dir() else []
    assert set(PAGES) - found == set()

"""Links, named paths and documents cited in code lead somewhere, and each page is found from the README."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.local.template import ROOT
from tests.unit.docs.pages import PAGES

LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]*)\)")
CODE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
CORE = "layers/core/actions_cache/"
ROOTS = ("core", "functions", "tests", "layers", "runners", "events", "deploy", "dev", "actions_cache_cli")

NOT_SOURCES = ("dist", "docs", "node_modules", "__pycache__")
"""Directories without source code of the project's own; hidden ones have none either."""
SOURCES = (".cjs", ".js", ".mjs", ".py", ".sh", ".toml", ".yaml")
COMMENT = re.compile(r"(?:#|//).*")
URL = re.compile(r"https?://\S+")
MODULE = re.compile(r"(?<![\w/.{}-])((?:[\w-]+/)*\w+\.py)\b")
OTHERS_CODE = ("botocore/",)
"""Beginnings of paths that pages name in other projects' code."""
NAMES_CORE_FILES = re.compile(r"\bFiles (?:.* )?are in `layers/core/actions_cache`")
"""The sentence of a page that names the core's files by their paths inside the core."""
DOCUMENT = re.compile(r"(?<![\w/*.{}-])((?:[\w.-]+/)*[\w.-]*\w\.md)\b(?:#([\w-]+))?")


def prose(page: Path) -> str:
    return CODE.sub("", page.read_text())


def headings(page: Path) -> set[str]:
    """Return the headings' anchors, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def targets(page: Path) -> list[tuple[Path, str]]:
    links = (link.partition("#") for link in LINK.findall(prose(page)))
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in links]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_paths_exist(page: Path) -> None:
    """`core` is the core's package, as design/architecture.md says; a file's place may be named by its end alone."""
    for target, anchor in targets(page):
        assert target.exists(), target
        assert target.is_relative_to(ROOT), target
        assert not anchor or anchor in headings(target), f"{target.name} has no heading #{anchor}"
    named = re.findall(rf"`((?:{'|'.join(ROOTS)})/[\w./-]*)`", prose(page))
    assert [path for path in named if not (ROOT / re.sub("^core/", CORE, path)).exists()] == []
    assert unknown_modules(page.read_text()) == []


def unknown_modules(text: str) -> list[str]:
    """Return the Python files that a page names, in its prose or a block, and that don't exist.

    A name counts from the repository's root, from `core`, or as the end of a path; on a page that says that its files
    are in the core, only from these two.
    """
    named = {name for name in MODULE.findall(URL.sub("", text)) if not name.startswith(OTHERS_CODE)}
    places = {name: (name, re.sub("^core/", CORE, name), CORE + name) for name in named}
    unknown = sorted(name for name in named if not any((ROOT / place).is_file() for place in places[name]))
    if not unknown or NAMES_CORE_FILES.search(text):
        return unknown
    known = [source.as_posix() for source in sources()]
    return [name for name in unknown if not any(path.endswith(f"/{name}") for path in known)]


def test_unknown_modules_are_found() -> None:
    in_core = "Files are in `layers/core/actions_cache`: "
    assert unknown_modules("`core/save.py`, `save.py`, `api/uploads.py`, botocore/handlers.py") == []
    assert unknown_modules("`core/none.py` and in a block:\n```\nnone.py\n```") == ["core/none.py", "none.py"]
    assert unknown_modules(f"{in_core}`domain/claim.py`, `functions/api/tokens.py`") == []
    assert unknown_modules(f"{in_core}`claim.py`, `api/tokens.py`") == ["api/tokens.py", "claim.py"]
    glossary = (ROOT / "docs" / "design" / "glossary.md").read_text()
    assert NAMES_CORE_FILES.search(glossary)


def test_readme_leads_to_every_page() -> None:
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


def sources() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in NOT_SOURCES]
        yield from (Path(folder, name) for name in files if name == "Makefile" or name.endswith(SOURCES))


def comments(source: Path) -> str:
    """Return the comments of a file, and in Python its docstrings, without URLs."""
    text = source.read_text()
    found = COMMENT.findall(URL.sub("", text))
    if source.suffix == ".py":
        strings = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr))
        found += [one.value for one in strings if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return URL.sub("", "\n".join(found))


def unknown_documents(source: Path) -> list[str]:
    """Return the documents that a file's comments name and that don't exist, or lack the named heading.

    A name counts from the repository's root, from `docs` or from the file's own directory.
    """
    unknown = []
    for name, anchor in DOCUMENT.findall(comments(source)):
        places = (folder / name for folder in (ROOT, ROOT / "docs", source.parent))
        document = next((place for place in places if place.is_file()), None)
        if document is None or (anchor and anchor not in headings(document)):
            unknown.append(f"{name}#{anchor}" if anchor else name)
    return unknown


def test_cited_documents_exist() -> None:
    unknown = {str(source.relative_to(ROOT)): unknown_documents(source) for source in sources()}
    assert {source: names for source, names in unknown.items() if names} == {}


@pytest.mark.parametrize(
    ("name", "text", "unknown"),
    [
        ("comment.py", "x = 1  # see docs/none.md\n", ["docs/none.md"]),
        ("docstring.py", 'def f():\n    """See CONTRIBUTING.md and none.md."""\n', ["none.md"]),
        ("attribute.py", 'X = 1\n"""docs/README.md#nowhere says why."""\n', ["docs/README.md#nowhere"]),
        ("string.py", 'X = "none.md"\n# https://example.com/none.md\n', []),
        ("heading.yaml", "# docs/README.md#you-change-the-code\n", []),
        ("Makefile", "all: ## Makes none.md\n", ["none.md"]),
        ("edge.mjs", "let a; // none.md\n", ["none.md"]),
    ],
)
def test_unknown_documents_are_found(tmp_path: Path, name: str, text: str, unknown: list[str]) -> None:
    (tmp_path / name).write_text(text)
    assert unknown_documents(tmp_path / name) == unknown

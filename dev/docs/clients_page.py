"""`make clients-page`: makes docs/use/clients.md from the tests that run real clients.

`--check` writes nothing, and fails when the page is stale.
"""

import sys
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import NamedTuple

import pytest

from dev.local.template import ROOT

TESTS = ROOT / "tests"
PAGE = ROOT / "docs" / "use" / "clients.md"
MARKER = "client"

HEAD = """# Clients

Each feature is a test against the local run, by the real client, or by its _requests_ alone. _v2_ is github.com's
protocol, _v1_ that of GHES, Gitea and act. `make clients-page` makes this page from the tests' markers.
"""

CLIENTS = {
    "@actions/cache": (
        "Also actions/cache, setup-*, gradle/actions, rust-cache, ccache-action, setup-bazel, turbo's actions. By v1\n"
        "on AWS, set `upload-chunk-size: 4000000`, since its chunks pass Lambda."
    ),
    "BuildKit": (
        "Also docker/build-push-action, and buildx with `type=gha`. By hand, buildkitd of August 2026 exported layers\n"
        "to the local run and imported them, and go-actions-cache of November 2026 passed its own tests."
    ),
    "OpenDAL ghac": "",
    "sccache": "",
    "hestia": "",
    "magic-nix-cache": "",
}
"""Notes on each client; docs/design/protocol.md describes its requests."""


class Shown(NamedTuple):
    client: str
    version: str
    feature: str
    test: str


class _Collector:
    """A pytest plugin that keeps the collected tests."""

    items: Sequence[pytest.Item] = ()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.items = tuple(items)


def collected() -> list[Shown]:
    """Return what the tests' markers say.

    Raises:
        ValueError: the tests can't be collected, or a marker leaves something out.
    """
    files = [str(path) for path in sorted(TESTS.rglob("test_*.py")) if f"mark.{MARKER}" in path.read_text()]
    collector, output = _Collector(), StringIO()
    with redirect_stdout(output):
        code = pytest.main(["--collect-only", "--quiet", "-p", "no:cacheprovider", *files], plugins=[collector])
    if code:
        raise ValueError(output.getvalue())
    return [_shown(item) for item in collector.items if item.get_closest_marker(MARKER)]


def _shown(item: pytest.Item) -> Shown:
    said: dict[str, str] = {}
    for marker in item.iter_markers(MARKER):
        said |= {**dict(zip(("name",), marker.args, strict=False)), **marker.kwargs}
    test = f"{item.path.relative_to(ROOT)}::{item.name.partition('[')[0]}"
    missing = {"name", "version", "feature"} - said.keys()
    if missing:
        raise ValueError(f"{item.nodeid}: its client markers don't say the {' and the '.join(sorted(missing))}")
    if said["name"] not in CLIENTS:
        raise ValueError(f"{item.nodeid}: {said['name']} is described nowhere; add it to dev/docs/clients_page.py")
    return Shown(said["name"], said["version"], said["feature"], test)


def page(shown: Iterable[Shown]) -> str:
    """Return the page, with clients in the order of CLIENTS, and features and versions in that of the tests."""
    by_client: dict[str, dict[str, list[Shown]]] = {client: {} for client in CLIENTS}
    for row in shown:
        by_client[row.client].setdefault(row.feature, []).append(row)
    return "\n".join([HEAD, *(_section(client, features) for client, features in by_client.items())])


def _section(client: str, features: dict[str, list[Shown]]) -> str:
    by_versions: dict[tuple[str, str], list[str]] = {}
    for feature, shown in features.items():
        path, _, _ = shown[0].test.partition("::")
        by_versions.setdefault((_versions(shown), path), []).append(f"- {feature}")
    groups = (
        "\n".join([f"[{versions}](../../{path}):", "", *lines, ""]) for (versions, path), lines in by_versions.items()
    )
    return "\n".join([f"## {client}", "", *(f"{text}\n" for text in [CLIENTS[client]] if text), *groups])


def _versions(shown: Iterable[Shown]) -> str:
    """Return the versions, each once with its protocols: `6.3.0 by v2 and v1, 5.3.0 by v2`."""
    protocols: dict[str, dict[str, None]] = {}
    for row in shown:
        version, _, protocol = row.version.partition(" by ")
        protocols.setdefault(version, {})[protocol] = None
    return ", ".join(" by ".join(filter(None, [one, " and ".join(by)])) for one, by in protocols.items())


def main() -> int:
    wanted = page(collected())
    if "--check" in sys.argv[1:]:
        is_stale = not PAGE.exists() or PAGE.read_text() != wanted
        if is_stale:
            print("docs/use/clients.md says something else than the tests: make clients-page", file=sys.stderr)
        return int(is_stale)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())

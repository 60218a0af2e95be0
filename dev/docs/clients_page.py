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

What each client is shown to do here, in which version, and by which test. This page is made of the tests themselves
(`make clients-page`, of their `client` markers), and `make lint` fails when it is stale. Versions are those that the
tests install: package.json's and the lock files'. _By v2_ is github.com's service, _by v1_ the one before it, which
GHES, Gitea and act have. Each test runs against the local run, through the very functions of the edge; "from parts"
means a server that never merges.

setup-*, gradle/actions, rust-cache, ccache-action, setup-bazel, turbo's runners and docker/actions-toolkit are
@actions/cache on the wire. sccache and whatever else stores by OpenDAL's `ghac` are OpenDAL there.
"""

CLIENTS = {
    "@actions/cache": (
        "Node. Asks in JSON with snake_case. Uploads by Azure's SDK: one PUT up to 128 MiB, else blocks of 64 MiB, "
        "eight at a time and out of order; by v1 chunks of 32 MiB, four at a time, without a Content-Length; these "
        "pass API Gateway and Lambda, so on AWS `upload-chunk-size: 4000000` is needed. v1 joins the keys of a lookup "
        "by commas, percent-encoded like the rest, so a key's own comma can't be told from a separator: the whole text "
        "is looked for first, as one exact key, then its pieces. Downloads by one plain GET; from a host "
        "under `blob.core.windows.net` in pieces of 4 MiB, eight at a time. The end-to-end tests of "
        "falcondev-oss/github-actions-cache-server, which drive 6.0.0 by 1 B to 512 MiB, passed by hand; they save one "
        "key five times, so each needs a repository of its own in its token."
    ),
    "BuildKit": (
        "Go, and so `docker buildx` with `type=gha`. Asks in JSON with numbers, and names its key among the restore "
        "keys too. Uploads blocks of 1 MiB one after the other; reads by GET, and after a seek by `x-ms-range`. It "
        "comes in no package that the tests could install, so they send its requests, by "
        "dev/clients/buildkit.py, which fails where it would. By hand, "
        "buildkitd of August 2026 exported layers to the local run and a second "
        "one, with nothing of its own, imported them; and go-actions-cache, as BuildKit of November 2026 vendors it, "
        "passed its own tests by v2 and by v1, and read 300 MiB whole and by seeks (but TestAllKeys, which asks "
        "api.github.com)."
    ),
    "OpenDAL ghac": (
        "Rust, here by its Python package. Asks in protobuf. Uploads in the caller's chunks under random ids; reads by "
        "`Range`, after a lookup each time, and learns a size from the range of a single byte."
    ),
    "sccache": "Rust, OpenDAL on the wire. Its daemon tries a read and a write before it starts.",
    "azure-storage-blob": (
        "Python. No client of the cache, but Azure's own word on the dialect: HEAD, then `x-ms-range`, pinned by "
        "`If-Match`. The tests ask the cache service for it."
    ),
    "hestia": (
        "Rust, a binary cache for Nix. Asks in JSON with numbers, and names its key among the restore keys too. Puts a "
        "pack of any size up to 5,000 MiB in one PUT; reads by `Range`, and takes anything but exactly these bytes for "
        "an error. It comes in no package that the tests could install, so they send its requests, by "
        "dev/clients/hestia.py, which fails where it would."
    ),
    "magic-nix-cache": (
        "Rust. Asks in protobuf. Uploads an append blob: creates it, appends pieces of 32 MiB in order, and seals it. "
        "It isn't run here: its requests are sent one by one."
    ),
}


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
    rows = [
        f"| {feature} | {_each(row.version for row in shown)} | {_each(_link(row.test) for row in shown)} |"
        for feature, shown in features.items()
    ]
    return "\n".join(
        [f"## {client}", "", CLIENTS[client], "", "| what | versions | test |", "|---|---|---|", *rows, ""]
    )


def _each(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[`{name}`](../../{path})"


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

"""Makes the files of a release: packages, checksums and notes, and with a key the signatures of the last two.

    python -m dev.build.release_notes 1.2.3 --key ~/.ssh/release --package arm64=.aws-sam/build

docs/design/releasing.md has the whole way. Packages are the same bytes for the same build: times and owners are left
out.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from actions_cache.domain.schema import KNOWN
from actions_cache.release import UNKNOWN, Release, stamped
from actions_cache_cli.doctor.report import printable
from dev.build.package import RELEASE_FILE
from dev.build.release import ROOT, release_of

NAME = "serverless-actions-cache"
NAMESPACE = NAME
"""Purpose of the signatures; one made for another purpose isn't valid."""

HOOK = [ROOT / "runners" / "hook.cjs", ROOT / "runners" / "hook-requests.cjs"]
"""The files that runners install. They are in the checksums so that a runner's copy can be compared."""

SUMS, NOTES = "SHA256SUMS", "NOTES.md"
EARLIEST = (1980, 1, 1, 0, 0, 0)


class NotReady(Exception):
    """Raised when no release can be made; the message says what is missing."""


def changes(changelog: str, version: str) -> str:
    """Return the changelog's section of a version.

    Raises:
        NotReady: there is none, or it is empty.
    """
    found = re.search(rf"^## {re.escape(version)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise NotReady(f"CHANGELOG.md has nothing under `## {version}`: rename its section Unreleased")
    return found[1].strip()


def check(release: Release, version: str) -> None:
    """Refuse anything but a clean commit of this version.

    Raises:
        NotReady: it is something else.
    """
    if release.version != version:
        raise NotReady(f"pyproject.toml says {release.version}, not {version}")
    if release.commit == UNKNOWN:
        raise NotReady("this is no checkout of git's: a release says which commit it was made of")
    if release.commit.endswith(".changed"):
        raise NotReady("files differ from the commit: a release is what stands in git")


def check_build(build: Path, release: Release) -> None:
    """Refuse a build of another release.

    Raises:
        NotReady: it was built of something else.
    """
    made_of = stamped(build / RELEASE_FILE)
    if made_of != release:
        raise NotReady(f"{build} was made of {made_of}, and this is {release}: `make build` first")


def pack(build: Path, package: Path) -> None:
    """Pack a build into one file; unpacked, `sam deploy --template-file template.yaml` takes it."""
    if not (build / "template.yaml").is_file():
        raise NotReady(f"{build} has no template.yaml: `make build` first")
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path for path in build.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(file.relative_to(build)), EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if file.stat().st_mode & 0o100 else 0o644) << 16
            archive.writestr(entry, file.read_bytes())


def sums(files: Iterable[Path]) -> str:
    """Return the checksums as `sha256sum --check` reads them."""
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


def notes(release: Release, text: str, checksums: str) -> str:
    return (
        f"# {NAME} {release.version}\n\n{text}\n\n"
        f"Made of commit {release.commit}. The tables' schema version is {KNOWN}: a release that knows less can't be "
        f"deployed again after this one (docs/operate/operations.md).\n\n```\n{checksums}```\n"
    )


def sign(file: Path, key: Path) -> Path:
    """Sign a file by ssh-keygen, and return the signature's path.

    Raises:
        subprocess.CalledProcessError: ssh-keygen failed.
    """
    signature = file.with_name(f"{file.name}.sig")
    signature.unlink(missing_ok=True)  # ssh-keygen asks before it overwrites
    subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE, str(file)],
        check=True,
    )
    return signature


def make(release: Release, builds: Mapping[str, Path], out: Path, key: Path | None) -> list[Path]:
    """Make the files of a release, and return their paths.

    Args:
        release: the checkout's.
        builds: directories by architecture.
        out: gets the files.
        key: an SSH key; None makes no signatures.

    Raises:
        NotReady: a build is of another release, or the changelog has no section for it.
    """
    text = changes((ROOT / "CHANGELOG.md").read_text(), release.version)
    out.mkdir(parents=True, exist_ok=True)
    packages = []
    for architecture, build in builds.items():
        check_build(build, release)
        packages.append(out / f"{NAME}-{release.version}-{architecture}.zip")
        pack(build, packages[-1])
    hook = [Path(shutil.copy(file, out)) for file in HOOK]
    checksums, document = out / SUMS, out / NOTES
    checksums.write_text(sums([*packages, *hook]))
    document.write_text(notes(release, text, checksums.read_text()))
    signatures = [sign(file, key) for file in (checksums, document)] if key else []
    return [*packages, *hook, checksums, document, *signatures]


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="release_notes", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("version")
    parser.add_argument("--key", type=Path, help="an SSH key: the private one, or one that an agent has")
    parser.add_argument("--package", action="append", required=True, metavar="ARCHITECTURE=BUILD")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options, release = _parsed(arguments), release_of()
    try:
        check(release, options.version)
        builds = {name: Path(build) for name, _, build in (package.partition("=") for package in options.package)}
        for file in make(release, builds, options.out, options.key):
            print(file)
    except (NotReady, OSError, subprocess.CalledProcessError) as error:
        print(printable(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make hook`: copies the runner's hook to the function that serves it, and its checksums to the pages that name them.

A function's package holds nothing outside of its directory, and a reader's command checks what it fetches. Tests fail
where a copy or a checksum is an old one.
"""

import hashlib
import re
import shutil

from dev.local.template import ROOT

SERVED = ROOT / "functions" / "api"
PAGES = {
    "docs/use/runners.md": {r"(?<=echo ')[0-9a-f]{64}(?=  /opt/hook-requests.cjs')": "hook-requests.cjs"},
    "docs/use/workflow.md": {
        r"(?<=HOOK_SHA256: )[0-9a-f]{64}": "hook.cjs",
        r"(?<=REQUESTS_SHA256: )[0-9a-f]{64}": "hook-requests.cjs",
    },
}
"""Regular expressions that find a file's checksum, by the page that has it."""


def main() -> None:
    sums = {}
    for file in sorted((ROOT / "runners").glob("*.cjs")):
        shutil.copyfile(file, SERVED / file.name)
        sums[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    for name, places in PAGES.items():
        page = ROOT / name
        text = page.read_text()
        for pattern, file_name in places.items():
            text = re.sub(pattern, sums[file_name], text)
        page.write_text(text)


if __name__ == "__main__":
    main()

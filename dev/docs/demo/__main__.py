"""`make demo-page`: makes docs/demo/index.html, the page on recorded data, which opens without a server.

Browsers load no modules from files, so the page's modules are put one after the other into one script, and everything
into one file. Its answers are recorded from a server with a made-up history; answers.mjs chooses among them.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import urllib3

from actions_cache.domain.key_family import key_family
from dev.docs.page_server import PageServer, page_server
from dev.docs.screenshots import CLAIMS, DAYS, fill
from dev.local.template import ROOT, Template
from functions.manage.page import FOLDER

DEMO = ROOT / "docs" / "demo" / "index.html"
HERE = Path(__file__).parent
HOURS = DAYS * 24
BANNER = "Made-up data, recorded: nothing here is live, and nothing can be deleted."

_IMPORT = re.compile(r"^import (?:\* as (\w+)|(\{[^}]+\})) from '\./(\w+)\.mjs';$", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)


def record(store: PageServer) -> dict[str, Any]:
    """Return the server's answers, hours without activity left out."""

    def get(path: str) -> Any:
        headers = {"Authorization": f"Bearer {store.tokens.admin}"}
        answer = urllib3.request("GET", f"{store.url}/manage/{path}", headers=headers, timeout=60)
        assert answer.status == 200, answer.data
        return answer.json()

    def hours(repository: str) -> Sequence[Sequence[int]]:
        of = f"&repository={repository}" if repository else ""
        tallies = [[*it.values()][1:] for it in get(f"activity?hours={HOURS}{of}")["hours"]]
        return [[HOURS - 1 - index, *counts] for index, counts in enumerate(tallies) if any(counts)]

    repositories = get("repositories")
    ids = [it["id"] for it in repositories["repositories"]]
    entries = {it: get(f"repositories/{it}/entries?per_page=100")["entries"] for it in ids}
    keys = {entry["key"] for listed in entries.values() for entry in listed}
    return {
        "now": store.now,
        "release": "(recorded)",
        "repositories": repositories,
        "failures": get("failures"),
        "refused": get("refused-tokens"),
        "cost": get("cost"),
        "activity": {it: hours(it) for it in ["", *ids]},
        "families": {it: {span: get(f"families?repository={it}&hours={span}") for span in (24, HOURS)} for it in ids},
        "entries": entries,
        "keyFamilies": {key: key_family(key) for key in sorted(keys)},
    }


def bundled(modules: Mapping[str, str], first: Sequence[str]) -> str:
    """Return one script of modules, by name, that are reached from the first ones; these run in their order.

    Raises:
        ValueError: a module imports or exports in a way that isn't known here.
    """
    done: dict[str, str] = {}

    def add(name: str) -> None:
        if name in done:
            return
        text = modules[name]
        for found in _IMPORT.finditer(text):
            add(found[3])
        body = _IMPORT.sub(lambda it: f"const {it[1] or it[2].replace(' as ', ': ')} = {it[3]}_module;", text)
        exported = _EXPORT.findall(body)
        body = _EXPORT.sub("", body)
        if re.search(r"^(import|export)\b", body, re.MULTILINE):
            raise ValueError(f"{name}.mjs imports or exports in a way that isn't known here")
        done[name] = f"const {name}_module = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();\n"

    for name in first:
        add(name)
    return "'use strict';\n" + "".join(done.values())


def demo(recording: Mapping[str, Any]) -> str:
    """Return the one file."""
    files = [*FOLDER.glob("*.mjs"), *HERE.glob("*.mjs")]
    script = "\n" + bundled({file.stem: file.read_text() for file in files}, ["start", "main"])
    style = "\n" + (FOLDER / "page.css").read_text()
    data = json.dumps(recording, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    if "</script" in script or "</style" in style:
        raise ValueError("a file has an end of a script or style in it")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    html = (FOLDER / "index.html").read_text()
    charset, banner = (
        '<meta charset="utf-8">',
        f'<aside class="wide muted" aria-label="About this demo">{BANNER}</aside>',
    )
    data_element = f'<script type="application/json" id="recording">{data}</script>'
    replaced = {
        charset: f'{charset}\n  <meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<link rel="stylesheet" nonce="{{nonce}}" href="{{files}}/page.css">': f"<style>{style}</style>",
        '  <script type="module" nonce="{{nonce}}" src="{{files}}/main.mjs"></script>\n': "",
        "</body>": f"  {data_element}\n  <script>{script}</script>\n</body>",
        '  <div id="problem"': f'  {banner}\n  <div id="problem"',
        "/manage/openapi.json": "../operate/management.md",
    }
    for old, new in replaced.items():
        if old not in html:
            raise ValueError(f"index.html has no {old!r}")
        html = html.replace(old, new)
    return html


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def main() -> None:
    with page_server(Template.load(), "demo", token_claims=CLAIMS) as store:
        fill(store)
        DEMO.parent.mkdir(exist_ok=True)
        DEMO.write_text(demo(record(store)))
    print(f"{DEMO.relative_to(ROOT)}: {DEMO.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()

"""The commands of docs/use/runners.md work, as far as they run without a runner."""

import base64
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from actions_cache_cli.doctor.job import GITHUBS
from actions_cache_cli.doctor.runner import read_env
from dev.local.template import ROOT
from tests.unit.docs.pages import commands

PAGE = (ROOT / "docs" / "use" / "runners.md").read_text()
SOURCES = sorted((ROOT / "runners").glob("*.cjs"))
FILES = {path.name for path in SOURCES} | {"hook.json"}


def section(heading: str) -> str:
    _, found, after = PAGE.partition(f"### {heading}\n")
    assert found
    return re.split(r"^#", after, maxsplit=1, flags=re.MULTILINE)[0]


def typed(heading: str) -> list[str]:
    """All but the restart, which comes last and needs a runner."""
    *lines, last = (item.text for item in commands("docs/use/runners.md", section(heading)))
    assert last == "./svc.sh stop && ./svc.sh start"
    return lines


def user_data() -> list[str]:
    """Return the lines of the page's user data, as Terraform renders them."""
    (lines,) = re.findall(r"<<-EOT\n(.*?)^EOT", section("terraform-aws-github-runner"), re.DOTALL | re.MULTILINE)
    hook = base64.b64encode((ROOT / "runners" / "hook.cjs").read_bytes()).decode()
    fetched = lines.replace("https://cache.example.com/runner/", f"file://{ROOT}/runners/")
    return [line.strip() for line in fetched.replace('${filebase64("${path.module}/hook.cjs")}', hook).splitlines()]


@pytest.mark.parametrize("way", ["Linux", "macOS", "terraform-aws-github-runner"])
def test_page_commands_point_node_at_the_server(way: str, tmp_path: Path) -> None:
    """The hook is put elsewhere than /opt, with nobody's rights but the test's."""
    lines = user_data() if way.startswith("terraform") else typed(way)
    opt, runner = tmp_path / "opt", tmp_path / "actions-runner"
    opt.mkdir()
    runner.mkdir()
    (runner / ".env").write_text("LANG=C.UTF-8\n")
    script = "\n".join(["set -e", "umask 077", *lines])
    script = re.sub(r"\bsudo | -o root -g \w+|chown root:\w+ \S+(?: && |\n)", "", script)
    script = re.sub(r"(?:~|/opt|/Users/runner)/actions-runner", str(runner), script)
    script = re.sub(r"(?<![\w/])/opt\b", str(opt), script)
    subprocess.run(["bash", "-c", script], cwd=ROOT, check=True, capture_output=True)

    env = read_env((runner / ".env").read_text())
    assert env == {"LANG": "C.UTF-8", "NODE_OPTIONS": f"--require {opt}/hook.cjs"}
    names = ("hook.cjs", "hook-requests.cjs", "hook.json")
    assert [(opt / name).stat().st_mode & 0o777 for name in names] == [0o644] * 3
    shown = ["node", "-p", "process.env.ACTIONS_RESULTS_URL"]
    given = {"PATH": os.environ["PATH"], "ACTIONS_RESULTS_URL": GITHUBS, "ACTIONS_RUNTIME_TOKEN": "t", **env}
    ran = subprocess.run(shown, env=given, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "https://cache.example.com/"


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ("--require C:/actions-cache/hook.cjs", "C:/actions-cache/hook.cjs"),
        (r'--require "C:\\Program Files\\hook.cjs"', r"C:\Program Files\hook.cjs"),
    ],
)
def test_node_reads_windows_paths_as_on_the_page(options: str, path: str) -> None:
    assert options in section("Windows")
    given = {"PATH": os.environ["PATH"], "NODE_OPTIONS": options}
    ran = subprocess.run(["node", "-e", "0"], env=given, capture_output=True, text=True, check=False)
    assert f"Cannot find module '{path}'" in ran.stderr


def test_windows_files_are_the_hooks() -> None:
    (script,) = re.findall(r"```powershell\n(.*?)```", section("Windows"), re.DOTALL)
    (settings,) = re.findall(r"Set-Content .*\\hook\.json '(.*)'", script)
    assert json.loads(settings) == {"url": "https://cache.example.com/"}
    directories = set(re.findall(r"(C:[\\/][\w-]+)[\\/]hook\.", script.replace("/", "\\")))
    assert directories == {r"C:\actions-cache"}
    [copied] = re.findall(r"Copy-Item (.*) C:\\actions-cache\n", script)
    assert {name.strip() for name in copied.split(",")} == {rf"runners\{path.name}" for path in SOURCES}


def test_container_job_mounts_the_hooks_files() -> None:
    part = PAGE.partition("## Container jobs\n")[2].partition("\n## ")[0]
    [job] = re.findall(r"```yaml\n(.*?)```", part, re.DOTALL)
    mounts = yaml.safe_load(job)["jobs"]["build"]["container"]["volumes"]
    assert set(mounts) == {f"/opt/{name}:/opt/{name}:ro" for name in FILES}


def test_image_has_the_hooks_files() -> None:
    """Without the second file, jobs are only pointed at the server."""
    [copied] = re.findall(r"^COPY --chown=root:root (.*) /opt/$", PAGE, re.MULTILINE)
    assert set(copied.split()) >= FILES


def test_page_has_each_setting_of_the_hook() -> None:
    source = "".join(path.read_text() for path in SOURCES)
    read = set(re.findall(r"settings\.(\w+)", source))
    assert read == {"url", "mode", "connections", "when_down"}
    assert all(f'"{name}"' in section("Modes") for name in read - {"url"})


def test_pod_mounts_match_the_config_map() -> None:
    part = PAGE.partition("## ARC\n")[2].partition("\n## ")[0]
    (values,) = re.findall(r"```yaml\n(.*?)```", part, re.DOTALL)
    spec = yaml.safe_load(values)["template"]["spec"]
    [runner] = spec["containers"]
    assert runner["env"] == [{"name": "NODE_OPTIONS", "value": "--require /opt/hook.cjs"}]
    assert all(row["mountPath"] == f"/opt/{row['subPath']}" and row["readOnly"] for row in runner["volumeMounts"])
    [volume] = spec["volumes"]
    assert {row["name"] for row in runner["volumeMounts"]} == {volume["name"]}
    [create] = [
        item.text for item in commands("docs/use/runners.md", part) if item.text.startswith("kubectl create configmap")
    ]
    assert create.split()[3] == volume["configMap"]["name"]
    held = {Path(item).name for item in re.findall(r"--from-file=(\S+)", create) if (ROOT / item).is_file()}
    held |= set(re.findall(r"--from-literal=([\w.]+)=", create))
    assert held == {row["subPath"] for row in runner["volumeMounts"]} == FILES


def test_page_lists_each_of_the_doctors_lines() -> None:
    source = "".join(path.read_text() for path in (ROOT / "actions_cache_cli" / "doctor").glob("*.py"))
    titles = re.findall(r'(?:title|TITLE|LOOKUP|SAVE) = "([^"]+)"', source)
    assert len(titles) > 10
    page = " ".join(PAGE.split())
    missing = {title for title in titles if title.split("'s ")[-1] not in page}
    assert missing == {"where this runs"}

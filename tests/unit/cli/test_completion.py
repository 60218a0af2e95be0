"""Each shell that is installed completes the commands by the script that `actions-cache completion` prints."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from actions_cache_cli.__main__ import main

CLASSES = {"default-branch", "branch", "transient"}
TYPED = {
    "actions-cache l": {"list"},
    "actions-cache dlq ": {"show", "redrive"},
    "actions-cache dlq redrive --d": {"--drop-unreadable", "--dry-run"},
    "actions-cache list --class ": CLASSES,
    "actions-cache list acme/app --class b": {"branch"},
    "actions-cache list --sort h": {"hits"},
    "actions-cache list acme/dlq --as": {"--ascending"},
    "actions-cache list --key ": set(),
    "actions-cache delete --json --y": {"--yes"},
    "actions-cache usage --h": {"--help"},
    "actions-cache completion ": {"bash", "fish", "zsh"},
    "actions-cache doctor --w": {"--write"},
    "/opt/bin/actions-cache-doctor --u": {"--url"},
}
"""The text before the cursor, and the words that are offered, without options that weren't asked for."""

BASH = (
    """source {script}; COMP_WORDS=({words}); COMP_CWORD={last}; _actions_cache; printf '%s\\n' "${{COMPREPLY[@]}}" """
)
FISH = "source {script}; complete -C {typed}"
ZSH = """compdef() {{ }}; compadd() {{ shift; print -l -- "$@" }}; _describe() {{ print -l -- "${{(@P)3}}" }}
source {script}; words=({words}); CURRENT={count}; _actions_cache"""


@pytest.mark.parametrize(("shell", "program"), [("bash", BASH), ("fish", FISH), ("zsh", ZSH)])
def test_shell_completes_commands_options_and_values(
    shell: str, program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} isn't installed")
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    for typed, expected in TYPED.items():
        words = typed.split(" ")
        asked = program.format(
            script=script,
            typed=shlex.quote(typed),
            words=" ".join(map(shlex.quote, words)),
            last=len(words) - 1,
            count=len(words),
        )
        ran = subprocess.run([shell, "-c", asked], capture_output=True, text=True, check=False)
        assert ran.stderr == ""
        offered = {line.split("\t")[0].split(":")[0] for line in ran.stdout.splitlines()}
        offered = {word for word in offered if word.startswith(words[-1])} - {""}
        if not words[-1]:
            offered = {word for word in offered if not word.startswith("-")}
        assert offered == expected, typed


def test_bash_takes_values_behind_an_equals_sign(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Bash makes three words of --class=b."""
    main(["completion", "bash"])
    (tmp_path / "script").write_text(capsys.readouterr().out)
    for words, expected in {("--class", "="): CLASSES, ("--class", "=", "b"): {"branch"}}.items():
        typed = ["actions-cache", "list", *words]
        asked = BASH.format(script=tmp_path / "script", words=" ".join(typed), last=len(typed) - 1)
        assert set(subprocess.check_output(["bash", "-c", asked], text=True).split()) == expected

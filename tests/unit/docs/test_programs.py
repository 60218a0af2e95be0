"""Programs that the Makefile starts by `python -m` start in a checkout, whatever was imported before."""

import re
import subprocess
import sys

import pytest

from dev.local.template import ROOT

BY_ITSELF = {
    "pytest",  # not ours
    "grpc_tools.protoc",  # not ours
    "dev.local",  # has no options: tests/integration/local_run starts it
    "dev.demo",  # has no options: tests/e2e/test_demo.py
    "dev.build.edge",  # --check is a part of `make lint`
    "dev.docs.clients_page",  # likewise
    "dev.sam_local.serve",  # tests/aws/sam_local starts it
    "dev.build.hook",  # has no options: tests/unit/api/test_hook.py holds what it wrote
    "dev.bench.delivery",  # has no options
    "dev.docs.screenshots",  # has no options
    "dev.docs.demo",  # has no options: tests/e2e/page/test_demo.py holds what it wrote
}
"""Modules left out here, each for a reason."""

STARTED = set(re.findall(r"\$\(RUN\) -m ([\w.]+)", (ROOT / "Makefile").read_text()))


@pytest.mark.parametrize("module", sorted(STARTED - BY_ITSELF))
def test_program_prints_usage(module):
    assert BY_ITSELF < STARTED
    command = [sys.executable, "-m", module, "--help"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout[:6].lower()) == (0, "usage:"), run.stderr

"""A cold start imports what its function uses, and nothing of another's."""

import subprocess
import sys

import pytest

from local.template import ROOT

USECASES = "actions_cache.usecases."
OF_ONE = {
    "api": {"reserve", "finalize", "look_up"},
    "download": {"download"},
    "manage": {"delete_entries", "match"},
    "merge": {"merge"},
    "cleanup": {"clean_up", "find_orphans", "migrate"},
}
"""Use cases that the one function has, and the others no use for; the API reads bytes through too, behind no edge."""


@pytest.mark.parametrize("function", OF_ONE)
def test_a_function_loads_its_own_use_cases_and_no_others(function: str):
    code = f"import functions.{function}.handler, sys; print(*sys.modules)"
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'core'}", "POWERTOOLS_SERVICE_NAME": "test"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = {module.removeprefix(USECASES) for module in ran.stdout.split() if module.startswith(USECASES)}
    others = set().union(*(OF_ONE[other] for other in OF_ONE if other != function)) - OF_ONE[function]
    if function == "api":
        others -= OF_ONE["download"]
    assert loaded >= OF_ONE[function]
    assert not loaded & others

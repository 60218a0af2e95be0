import json
import subprocess

import pytest

from dev.local.template import ROOT, Template


@pytest.fixture(scope="session")
def transformed() -> Template:
    """Return the template after SAM's transform, as CloudFormation gets it."""
    ran = subprocess.run(
        [
            ROOT / ".tools" / "sam" / "bin" / "python",
            ROOT / "tests" / "unit" / "template" / "transform.py",
            "template.yaml",
        ],
        cwd=ROOT,
        env={"AWS_DEFAULT_REGION": "eu-central-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return Template(json.loads(ran.stdout))

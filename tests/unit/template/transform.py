"""Print template.yaml as CloudFormation gets it, after SAM's transform. Needs an interpreter with SAM's translator.

The transform accepts no local directory, so packages are given as if they were uploaded.
"""

import json
import sys
from pathlib import Path
from typing import Any

from samtranslator.translator.transform import transform  # type: ignore[import-not-found]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-not-found]

UPLOADED = "s3://bucket/package.zip"


class NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def transformed(path: Path) -> Any:
    body = yaml_parse(path.read_text())
    for resource in body["Resources"].values():
        for source in ("CodeUri", "ContentUri"):
            if source in resource.get("Properties", {}):
                resource["Properties"][source] = UPLOADED
    return transform(body, {}, NoManagedPolicies())


if __name__ == "__main__":
    json.dump(transformed(Path(sys.argv[1])), sys.stdout)

"""Prints what SAM makes of the template, `{logical id: {"type", "condition"}}` as JSON.

Run by sam's own interpreter, which has the transform: `transformed.py template.yaml`.
"""

import json
import logging
import sys
from pathlib import Path

from samcli.yamlhelper import yaml_parse  # type: ignore[import-not-found]
from samtranslator.translator.transform import transform  # type: ignore[import-not-found]


class NoPolicies:
    """The template names no managed policy of SAM's."""

    @staticmethod
    def load() -> dict[str, str]:
        return {}


def main(path: Path) -> str:
    template = yaml_parse(path.read_text())
    for resource in template["Resources"].values():
        for key in ("CodeUri", "ContentUri"):
            # Where code is packed only the deploy knows, and the transform wants a place.
            if isinstance(resource.get("Properties", {}).get(key), str):
                resource["Properties"][key] = "s3://bucket/key"
    values = {name: it.get("Default", "") for name, it in template["Parameters"].items()}
    made = transform(template, values | {"AWS::Region": "us-east-1", "AWS::Partition": "aws"}, NoPolicies())
    return json.dumps(
        {
            name: {"type": it["Type"], "condition": it.get("Condition"), "properties": it.get("Properties", {})}
            for name, it in made["Resources"].items()
        }
    )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    sys.stdout.write(main(Path(sys.argv[1])))

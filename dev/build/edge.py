"""Paste the edge's functions into template.yaml, since CloudFormation takes no file for their code: `make edge`.

`--check` writes nothing, and fails when the template has other code than functions/edge.
"""

import re
import sys
from textwrap import indent

from dev.local.template import ROOT

TEMPLATE = ROOT / "template.yaml"
FUNCTIONS = ROOT / "functions" / "edge"

INDENT = " " * 8
_BLOCK = re.compile(r"(# functions/edge/(\w+\.js), put here by .*\n +FunctionCode: \|\n)((?: {8}.*\n|\n)*)")
"""The comment with the file's name, and the code beneath it."""


def with_functions(template: str) -> str:
    """Return the template's text with each function's code as its file has it."""

    def replaced(block: re.Match[str]) -> str:
        return block[1] + indent((FUNCTIONS / block[2]).read_text(), INDENT) + "\n"

    return _BLOCK.sub(replaced, template).rstrip("\n") + "\n"


def main() -> int:
    text = TEMPLATE.read_text()
    wanted = with_functions(text)
    if "--check" in sys.argv[1:]:
        if wanted != text:
            print("template.yaml has other code than functions/edge: make edge", file=sys.stderr)
        return int(wanted != text)
    TEMPLATE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())

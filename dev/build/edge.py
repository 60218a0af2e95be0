"""Pastes the edge's functions into template.yaml, since CloudFormation takes no file for their code: `make edge`.

`--check` writes nothing, and fails when the template's code isn't that of functions/edge.
"""

import re
import sys
from textwrap import indent

from dev.local.template import ROOT

TEMPLATE = ROOT / "template.yaml"
FUNCTIONS = ROOT / "functions" / "edge"

INDENT = " " * 8
_BLOCK = re.compile(r"(# functions/edge/(\w+\.js), put here by .*\n +FunctionCode: \|\n)((?: {8}.*\n|\n)*)")
"""Matches the lines that name a file, the file's name, and the code below them."""


def with_functions(template: str) -> str:
    """Return the template with each function's code replaced by its file's."""

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

"""What a part of a template refers to."""

import re
from collections.abc import Iterator
from typing import Any

_IN_SUB = re.compile(r"\$\{([A-Za-z0-9]+)(?:\.[A-Za-z0-9.]+)?\}")


def named_resources(value: Any) -> Iterator[str]:
    """Yield everything that a part of the template refers to, parameters included."""
    match value:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": [str(name), *_]}:
            yield name
        case {"Fn::Sub": str(text)}:
            yield from _IN_SUB.findall(text)
        case {"Fn::Sub": [str(text), dict() as own]}:
            yield from (name for name in _IN_SUB.findall(text) if name not in own)
            yield from named_resources(own)
        case dict():
            on = value.get("DependsOn", [])
            yield from [on] if isinstance(on, str) else on
            for inner in value.values():
                yield from named_resources(inner)
        case list():
            for inner in value:
                yield from named_resources(inner)

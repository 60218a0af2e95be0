"""Translates pydantic's errors about settings into sentences that say what to write instead."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

_SECONDS = {"s": ("second", 1), "m": ("minute", 60), "h": ("hour", 3600), "d": ("day", 86400), "w": ("week", 604800)}
_BYTES = {
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}


def explained(error: ValidationError, model: type[BaseModel]) -> str:
    """Return all errors in one line, with the variables' names.

    Args:
        error: an error of `model`.
        model: the settings whose fields are variables.
    """
    return "; ".join(_one(fault, model) for fault in error.errors())


def _one(fault: Mapping[str, Any], model: type[BaseModel]) -> str:
    place = [str(part) for part in fault["loc"][:1]]
    name = "".join(place).upper()
    said = _said(fault, name, model)
    if fault["type"] == "missing":
        return f"{name} {said}"
    return f"{name}: {said}" if name else said


def _said(fault: Mapping[str, Any], name: str, model: type[BaseModel]) -> str:
    kind, given = str(fault["type"]), str(fault["input"])[:60]
    match kind:
        case "missing":
            return "is missing"
        case "enum" | "literal_error":
            allowed = str(fault["ctx"]["expected"]).replace("'", "")
            return f"{given!r} isn't known; it may be {allowed}"
        case "bool_parsing" | "bool_type":
            return f"{given!r} is neither true (1) nor false (0)"
    if kind.startswith(("int_", "float_", "greater_", "less_", "finite_")):
        return f"{given!r} isn't {_number(name, model, is_whole=not kind.startswith('float'))}{_converted(name, given)}"
    return str(fault["msg"]).removeprefix("Value error, ")


def _number(name: str, model: type[BaseModel], *, is_whole: bool) -> str:
    """Return the range of a number, and its unit if that is seconds."""
    field = model.model_fields.get(name.lower())
    bounds: dict[str, Any] = {}
    for constraint in _constraints(field.metadata, field.annotation) if field else ():
        bounds |= {it: getattr(constraint, it) for it in ("ge", "gt", "le", "lt") if hasattr(constraint, it)}
    is_whole = is_whole and (field is None or "float" not in str(field.annotation))
    unit = next((it for it in ("seconds", "bytes") if name.endswith(f"_{it.upper()}")), None)
    what = f"a number of {unit}" if unit else "a whole number" if is_whole else "a number"
    least, most = bounds.get("ge"), bounds.get("le")
    if least is not None and most is not None:
        return f"{what} from {least} to {most}"
    if least is not None:
        return f"{what} from {least} on"
    if "gt" in bounds:
        return f"{what} over {bounds['gt']}"
    return f"{what} of at most {most}" if most is not None else what


def _constraints(metadata: list[Any], annotation: object) -> list[Any]:
    """Return a field's constraints, and those of its type without None."""
    inner = [it for kind in getattr(annotation, "__args__", ()) for it in getattr(kind, "__metadata__", ())]
    flat = [*metadata, *inner]
    return [one for it in flat for one in (getattr(it, "metadata", None) or [it])]


def _converted(name: str, given: str) -> str:
    """Return the number that a value with a unit stands for."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*([a-z]{1,3})\s*", given.lower(), re.ASCII)
    if found is None:
        return ""
    number, unit = int(found[1]), found[2]
    if name.endswith("_SECONDS") and unit in _SECONDS:
        word, seconds = _SECONDS[unit]
        return f" ({number} {word}{' is' if number == 1 else 's are'} {number * seconds})"
    return f" ({given.strip()} is {number * _BYTES[unit]})" if name.endswith("_BYTES") and unit in _BYTES else ""

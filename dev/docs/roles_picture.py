"""Draws docs/images/roles.svg from the template: `python -m dev.docs.roles_picture`.

A picture of who may do what helps those who review the security only if it can't be out of date.
"""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from dev.local.template import ROOT, Template

PICTURE = ROOT / "docs" / "images" / "roles.svg"
TITLE = "What each role may do with each resource"
EDGE = "CloudFront"

COLUMNS = {
    "Bucket": ("S3:", "archives"),
    "EntriesTable": ("table:", "entries"),
    "ReservationsTable": ("table:", "reservations"),
    "ArchivesTable": ("table:", "archives"),
    "RepositoriesTable": ("table:", "repositories"),
    "MergeQueue": ("queue:", "merges"),
    "MergeDeadLetterQueue": ("queue:", "dead letters"),
    "UrlSigningSecret": ("secret:", "URL signing"),
    "AdminSecret": ("secret:", "admin"),
    "EdgeSecrets": ("edge's store:", "URL signing"),
}
"""Lines of each column's heading, by the resource's logical id."""

RIGHTS: Mapping[str, Sequence[str]] = {
    "read": (
        *("dynamodb:BatchGetItem", "dynamodb:ConditionCheckItem", "dynamodb:GetItem", "dynamodb:Query"),
        *("dynamodb:Scan", "s3:GetObject", "s3:ListBucket", "s3:ListBucketMultipartUploads"),
        *("s3:ListMultipartUploadParts", "sqs:GetQueueAttributes"),
        *("secretsmanager:GetSecretValue", "cloudfront-keyvaluestore:DescribeKeyValueStore"),
        "cloudfront-keyvaluestore:GetKey",
    ),
    "receive": ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"),
    "send": ("sqs:SendMessage",),
    "write": (
        *("dynamodb:PutItem", "dynamodb:UpdateItem", "s3:PutObject", "secretsmanager:PutSecretValue"),
        "cloudfront-keyvaluestore:PutKey",
    ),
    "abort": ("s3:AbortMultipartUpload",),
    "delete": ("dynamodb:DeleteItem", "s3:DeleteObject"),
}
"""Actions of each right, from the weakest right to the strongest."""
EVERYBODYS = ("logs:", "xray:")
"""Beginnings of the actions by which each function writes its own log and traces."""

LEFT, COLUMN, ROW, TOP, LINE = 84, 88, 66, 72, 15
COLOURS = {
    "text": ("#1f2328", "#e6edf3"),
    "line": ("#d0d7de", "#30363d"),
    "weak": ("#ddf4ff", "#0c2d4a"),
    "strong": ("#ffebc8", "#4a3410"),
    "deleting": ("#ffd7d5", "#5a1e1e"),
}
"""Colours in a light window and in a dark one."""


def rights(template: Template) -> dict[str, dict[str, list[str]]]:
    """Return the rights of each function, and of CloudFront, by resource.

    Raises:
        ValueError: an action or a resource has no place in the picture.
    """
    allowed = {
        name.removesuffix("Function").lower(): _by_resource(_role(template, function))
        for name, function in template.functions.items()
    }
    statements = template.properties("BucketPolicy")["PolicyDocument"]["Statement"]
    return allowed | {EDGE: _by_resource([one for one in statements if one["Effect"] == "Allow"])}


def _role(template: Template, function: Mapping[str, Any]) -> list[dict[str, Any]]:
    role = template.properties(function["Role"]["Fn::GetAtt"][0])
    return [statement for policy in role["Policies"] for statement in policy["PolicyDocument"]["Statement"]]


def _by_resource(statements: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for statement in statements:
        actions = [action for action in _listed(statement["Action"]) if not action.startswith(EVERYBODYS)]
        for resource in _listed(statement["Resource"]) if actions else ():
            found.setdefault(_logical_id(resource), set()).update(map(_right, actions))
    return {name: [right for right in RIGHTS if right in found[name]] for name in COLUMNS if name in found}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _right(action: str) -> str:
    for right, actions in RIGHTS.items():
        if action in actions:
            return right
    raise ValueError(f"{action} is new: say in RIGHTS what it is")


def _logical_id(resource: Any) -> str:
    match resource:
        case {"Fn::GetAtt": [str(name), "Arn"]} | {"Ref": str(name)}:
            pass
        case {"Fn::Sub": str(text)} if found := re.match(r"\$\{(\w+)\.Arn\}", text):
            name = found[1]
        case _:
            raise ValueError(f"{resource} isn't one of the stack's resources")
    if name not in COLUMNS:
        raise ValueError(f"{name} is new: give it a column")
    return name


def picture(allowed: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """Return an SVG with a row for each role, a column for each resource, and the rights in words."""
    width, height = LEFT + COLUMN * len(COLUMNS), TOP + ROW * len(allowed)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 8}">',
        f"<title>{escape(TITLE)}</title>",
        f"<style>text {{ font: 12px sans-serif; }} {_fills(0)}",
        f"@media (prefers-color-scheme: dark) {{ {_fills(1)} }}</style>",
        _text(0, 16, TITLE, weight="bold"),
    ]
    for number, heading in enumerate(COLUMNS.values()):
        drawn += [_text(LEFT + 6 + COLUMN * number, 44 + LINE * line, text) for line, text in enumerate(heading)]
    for number, (role, by_resource) in enumerate(allowed.items()):
        drawn += _row(TOP + ROW * number, width, role, by_resource)
    return "\n".join([*drawn, "</svg>", ""])


def _row(y: int, width: int, role: str, by_resource: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield f'<rect class="line" x="0" y="{y}" width="{width}" height="1"/>'
    yield _text(0, y + ROW // 2 + 4, role, weight="bold")
    for number, resource in enumerate(COLUMNS):
        if held := by_resource.get(resource):
            x = LEFT + COLUMN * number
            strength = "deleting" if "delete" in held else "strong" if set(held) & {"write", "abort"} else "weak"
            yield f'<rect class="{strength}" x="{x}" y="{y + 4}" width="{COLUMN - 6}" height="{ROW - 8}" rx="4"/>'
            yield from (_text(x + 6, y + 18 + LINE * line, right) for line, right in enumerate(held))


def _fills(shade: int) -> str:
    return " ".join(f".{name} {{ fill: {shades[shade]}; }}" for name, shades in COLOURS.items())


def _text(x: int, y: int, text: str, weight: str = "normal") -> str:
    return f'<text class="text" x="{x}" y="{y}" style="font-weight: {weight}">{escape(text)}</text>'


def main() -> None:
    argparse.ArgumentParser(prog="roles_picture", description=__doc__).parse_args()
    PICTURE.write_text(picture(rights(Template.load())))


if __name__ == "__main__":
    main()

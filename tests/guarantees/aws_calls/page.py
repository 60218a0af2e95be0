"""Prints the table of answers in docs/design/guarantees.md.

Run it by `PYTHONPATH=layers/core:. python -m tests.guarantees.aws_calls.page`.
"""

from collections.abc import Iterator

from tests.guarantees.aws_calls.cells import RAW
from tests.guarantees.aws_calls.kinds import KINDS, OUTAGE
from tests.guarantees.aws_calls.raw_store import RAW_KINDS

NAMES = {
    "dynamodb": "DynamoDB",
    "s3": "S3",
    RAW: "S3",
    "sqs": "SQS",
    "secrets-manager": "Secrets Manager",
    "cloudfront-keyvaluestore": "CloudFront's KeyValueStore",
}


def rows() -> Iterator[str]:
    """Yield the table of the answers that don't come out as a plain outage, by outcome and by who gives them."""
    outcomes: dict[str, dict[str, list[str]]] = {}
    kinds = [(NAMES[kind.service], kind) for kind in KINDS] + [(NAMES[RAW], kind) for kind in RAW_KINDS]
    for who, kind in kinds:
        if kind.outcome != OUTAGE:
            names = outcomes.setdefault(kind.outcome, {}).setdefault(who, [])
            names += [kind.name] if kind.name not in names else []
    yield "| answer | what comes out |"
    yield "|---|---|"
    for outcome, by_service in outcomes.items():
        answers = "; ".join(f"{who}: {', '.join(names)}" for who, names in by_service.items())
        yield f"| {answers} | {outcome} |"


if __name__ == "__main__":
    print("\n".join(rows()))  # noqa: T201 - what it is for

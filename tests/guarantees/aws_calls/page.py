"""Prints the tables of kinds as docs/design/guarantees.md shows them: `python -m tests.guarantees.aws_calls.page`."""

from collections.abc import Iterable, Iterator

from tests.guarantees.aws_calls.cells import RAW
from tests.guarantees.aws_calls.kinds import KINDS, SERVICES, Kind
from tests.guarantees.aws_calls.raw_store import BOTH, RAW_KINDS, RawKind

NAMES = {
    "dynamodb": "DynamoDB",
    "s3": "S3, by boto3",
    RAW: "S3, by a stream's own requests",
    "sqs": "SQS",
    "secrets-manager": "Secrets Manager",
    "cloudfront-keyvaluestore": "CloudFront's KeyValueStore",
}


def rows() -> Iterator[str]:
    yield "| who | answer | to which calls | what comes out |"
    yield "|---|---|---|---|"
    yield from (_row(NAMES[kind.service], kind, kind.operations, SERVICES[kind.service]) for kind in KINDS)
    yield from (_row(NAMES[RAW], kind, kind.methods, BOTH) for kind in RAW_KINDS)


def _row(who: str, kind: Kind | RawKind, operations: Iterable[str], all_of_them: frozenset[str]) -> str:
    named = sorted(operations)
    left_out = sorted(all_of_them - set(named))
    calls = ", ".join(named)
    if not left_out:
        calls = "all"
    elif len(left_out) < len(named):
        calls = f"all but {', '.join(left_out)}"
    return f"| {who} | [{kind.name}]({kind.source}) | {calls} | {kind.outcome} |"


if __name__ == "__main__":
    print("\n".join(rows()))  # noqa: T201 - what it is for

"""The tables that a backup is of, or goes to."""

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import boto3

from dev.backup.contents import ARCHIVES, ENTRIES, RESERVATIONS, Item, Row
from dev.local.template import Template

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WRITES_AT_ONCE = 25
"""BatchWriteItem takes so many."""

RETRY_SECONDS = 0.5
TRIES = 20


class Refused(Exception):
    """Nothing was changed; the message says why, and what to do."""


@dataclass(frozen=True)
class Tables:
    dynamodb: "DynamoDBClient"
    names: Mapping[str, str]
    """By their logical ids in template.yaml."""

    @classmethod
    def of_stack(cls, stack: str, session: boto3.Session) -> "Tables":
        formation: Any = session.client("cloudformation")
        resources = formation.describe_stack_resources(StackName=stack)["StackResources"]
        names = {
            it["LogicalResourceId"]: it["PhysicalResourceId"]
            for it in resources
            if it["ResourceType"] == "AWS::DynamoDB::Table"
        }
        return cls(session.client("dynamodb"), names)

    @classmethod
    def of_environment(cls, session: boto3.Session) -> "Tables":
        """As `.local/env` names them.

        Raises: Refused.
        """
        variables = Template.load().body["Globals"]["Function"]["Environment"]["Variables"]
        wanted = {
            value["Ref"]: name
            for name, value in variables.items()
            if re.fullmatch(r"\w+_TABLE", name) and isinstance(value, dict)
        }
        if missing := [name for name in wanted.values() if name not in os.environ]:
            raise Refused(f"{', '.join(missing)} isn't set: name a --stack, or `source .local/env` of a running server")
        return cls(session.client("dynamodb"), {table: os.environ[name] for table, name in wanted.items()})

    def renamed(self, others: Mapping[str, str]) -> "Tables":
        """Raises: Refused: there is no such table."""
        if unknown := sorted(set(others) - set(self.names)):
            raise Refused(f"there is no table {', '.join(unknown)}; there are {', '.join(self.names)}")
        return Tables(self.dynamodb, {**self.names, **others})

    def rows(self) -> Iterator[Row]:
        """Entries first and archives last: an archive outlives its entry, and is there before it."""
        for table in sorted(self.names, key=lambda it: (it == ARCHIVES, it != ENTRIES, it)):
            yield from (Row(table, item) for item in self._items(table))

    def is_empty(self) -> bool:
        """Of what jobs saved: the schema version, and counts of what they asked for, come by themselves."""
        return not any("archive" in item or table in (ENTRIES, RESERVATIONS) for table, item in self.rows())

    def delete_all_but(self, kept: frozenset[tuple[str, ...]]) -> int:
        """Args: kept: as `key` gives them. Returns how many were deleted."""
        return self._write(
            (row.table, {"DeleteRequest": {"Key": self._key(row)}}) for row in self.rows() if self.key(row) not in kept
        )

    def put(self, rows: Iterable[Row]) -> int:
        return self._write((row.table, {"PutRequest": {"Item": row.item}}) for row in rows)

    def key(self, row: Row) -> tuple[str, ...]:
        return (row.table, *(str(value) for value in self._key(row).values()))

    def _key(self, row: Row) -> Item:
        return {name: row.item[name] for name in self._keys[row.table]}

    @cached_property
    def _keys(self) -> Mapping[str, list[str]]:
        declared = Template.load().of_type("AWS::DynamoDB::Table")
        return {
            table: [key["AttributeName"] for key in declared[table]["Properties"]["KeySchema"]] for table in self.names
        }

    def _items(self, table: str) -> Iterator[Item]:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.names[table], ConsistentRead=True)
        for page in pages:
            yield from page["Items"]

    def _write(self, requests: Iterable[tuple[str, Any]]) -> int:
        count = 0
        source = iter(requests)
        while batch := list(islice(source, WRITES_AT_ONCE)):
            left: Any = {}
            for table, request in batch:
                left.setdefault(self.names[table], []).append(request)
            for attempt in range(TRIES):
                if not (left := self.dynamodb.batch_write_item(RequestItems=left).get("UnprocessedItems")):
                    break
                time.sleep(RETRY_SECONDS * min(attempt + 1, 10))
            else:
                raise RuntimeError(f"DynamoDB takes no more writes after {count}; run it again, it goes on")
            count += len(batch)
        return count

"""The schema version on DynamoDB: an item of the archives' own table, so that a backup carries it.

It has none of the attributes by which archives are found (adapters/dynamodb_items.py), but a scan meets it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter
from pynamodb.connection import Connection

from actions_cache.adapters.dynamodb_answers import in_port_words, write
from actions_cache.domain.schema import Schema

KEY = "schema"
"""No archive's id: those have 32 digits."""

_SCHEMA: TypeAdapter[Schema] = TypeAdapter(Schema)
_REVISION = "revision"


@dataclass(frozen=True, slots=True)
class DynamoDbSchema:
    """See ports.SchemaVersion. Calls go by the connection's raw door: its models know one kind of item a table."""

    connection: Connection
    archives_table: str

    def read(self) -> Schema | None:
        with in_port_words():
            item = self._call("GetItem", Key={"archive_id": {"S": KEY}}, ConsistentRead=True).get("Item")
        if item is None:
            return None
        return _SCHEMA.validate_python({name: _value(item[name]) for name in asdict(Schema(0)) if name in item})

    def write(self, seen: Schema | None, by: Schema) -> None:
        """All of what was seen must still stand there, field by field: a revision would be one more."""
        # A release that knew fewer fields wrote fewer: what isn't there was read as its default.
        conditions = (
            ["attribute_not_exists(archive_id)"]
            if seen is None
            else [f"(attribute_not_exists(#{it}) OR #{it} = :{it})" for it in asdict(seen)]
        )
        names = {} if seen is None else {f"#{it}": it for it in asdict(seen)}
        values = {} if seen is None else {f":{name}": _attribute(value) for name, value in asdict(seen).items()}
        put: dict[str, Any] = {
            "Item": {"archive_id": {"S": KEY}} | {name: _attribute(value) for name, value in asdict(by).items()},
            "ConditionExpression": " AND ".join(conditions),
            **({"ExpressionAttributeNames": names, "ExpressionAttributeValues": values} if seen else {}),
        }
        write(lambda: self._call("PutItem", **put))

    def _call(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self.connection.dispatch(operation, {"TableName": self.archives_table} | arguments)
        return answer


def _attribute(value: str | int) -> dict[str, str]:
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def _value(attribute: Mapping[str, str]) -> str | int:
    return attribute["S"] if "S" in attribute else int(attribute["N"])

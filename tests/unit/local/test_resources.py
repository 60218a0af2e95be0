"""Tests that creating the template's resources again changes what can be changed, and refuses the rest."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from dev.local.resources import Clients, DeclaredAnew, create
from dev.local.template import Template


@pytest.fixture
def clients(boto_session: boto3.Session) -> Iterator[Clients]:
    with mock_aws():
        yield Clients.of(boto_session)


@pytest.fixture
def later_template(template: Template) -> Template:
    """Return a template that a test may change."""
    return Template(copy.deepcopy(template.body))


def swap_keys(declared: dict[str, Any]) -> None:
    """The partition key for the sort key."""
    first, second = declared["KeySchema"]
    first["AttributeName"], second["AttributeName"] = second["AttributeName"], first["AttributeName"]


def test_second_creation_changes_nothing(template: Template, clients: Clients):
    first, second = create(template, clients), create(template, clients)
    assert (first.tables_are_new, second.tables_are_new) == (True, False)
    assert first.refs == second.refs


def test_queues_get_the_templates_new_attributes(later_template: Template, clients: Clients):
    create(later_template, clients)
    later_template.properties("MergeQueue")["VisibilityTimeout"] = "77"
    refs = create(later_template, clients).refs
    attributes = clients.sqs.get_queue_attributes(QueueUrl=refs["MergeQueue"], AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == "77"
    assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"] == refs["MergeDeadLetterQueue.Arn"]


@pytest.mark.parametrize("table", ["ReservationsTable", "ArchivesTable"], ids=["table", "index"])
def test_table_or_index_with_other_keys_is_refused(later_template: Template, clients: Clients, table: str):
    create(later_template, clients)
    declared = later_template.properties(table)
    swap_keys(declared if table == "ReservationsTable" else declared["GlobalSecondaryIndexes"][0])
    with pytest.raises(DeclaredAnew, match=f"{table} exists with other keys"):
        create(later_template, clients)

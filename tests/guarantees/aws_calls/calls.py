"""Finds every place in the adapters that makes an outside call, so that no new one is forgotten."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import botocore.session

from dev.local.template import ROOT

ADAPTERS = f"{ROOT / 'layers' / 'core' / 'actions_cache' / 'aws'}/"
MODULES = [
    file for root in (ROOT / "layers" / "core" / "actions_cache", ROOT / "functions") for file in root.rglob("*.py")
]

OF_PYNAMODB = frozenset(
    {
        *("batch_get", "batch_get_item", "batch_write", "condition_check", "count", "delete", "dispatch", "exists"),
        *("get_item", "query", "refresh", "save", "scan", "update"),
    }
)
DYNAMODB_HELPERS = frozenset({"batch_get", "get", "transact", "write"})
"""Helpers that make the calls to DynamoDB; their callers count as well."""

OF_TRANSACTIONS = frozenset({"items", "transaction"})
"""Names of the arguments that gather a transaction's writes, which `transact` sends."""

HTTP_CLIENT = re.compile(
    r"^\s*(?:import|from) (?:aiohttp|h11|http\.client|httpx|jwt|requests|socket|urllib|urllib3)\b", re.MULTILINE
)


class Site(NamedTuple):
    file: str
    function: str
    """Name of the function, with its class; functions within functions count as the outer one."""


def sites() -> set[Site]:
    """Return all functions of the adapters that call AWS by boto3, pynamodb or Powertools."""
    return {
        Site(file.name, name)
        for file in Path(ADAPTERS).glob("*.py")
        for name, function in _functions(ast.parse(file.read_text()))
        if any(_calls_aws(file.name, node) for node in ast.walk(function))
    }


def _functions(scope: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in scope.body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node


def _calls_aws(file: str, node: ast.AST) -> bool:
    of_dynamodb = file.startswith("dynamodb")
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return of_dynamodb and name in DYNAMODB_HELPERS
        case ast.Call(func=ast.Attribute(value=value, attr=method)):
            receiver = ast.unparse(value)
            if of_dynamodb:
                is_read = method == "get" and receiver == "model"
                return is_read or (method in OF_PYNAMODB and receiver not in OF_TRANSACTIONS)
            return method in _methods_of_boto3()
    return False


@cache
def _methods_of_boto3() -> frozenset[str]:
    """Return the methods of all clients that the wiring makes, and what leads to their operations."""
    loader = botocore.session.Session().get_component("data_loader")
    models = [loader.load_service_model(service, "service-2") for service in services()]
    operations = {botocore.xform_name(operation) for model in models for operation in model["operations"]}
    return frozenset((operations | {"get_paginator", "get_waiter"}) - {"generate_presigned_url"})


def services() -> set[str]:
    """Return the services by boto3's names."""
    made_in = [file for file in MODULES if file.stem.endswith("services") or file == Path(ADAPTERS) / "clients.py"]
    return {service for file in made_in for service in re.findall(r'\.client\(\s*"([\w-]+)"', file.read_text())}


def modules_with_http() -> set[str]:
    """Return all modules of the core and the functions that import an HTTP client of their own."""
    return {str(file.relative_to(ROOT)) for file in MODULES if HTTP_CLIENT.search(file.read_text())}

"""Finds every place in the adapters that makes an outside call, so that no new one is forgotten."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import botocore.session

from dev.local.template import ROOT

ADAPTERS = f"{ROOT / 'layers' / 'core' / 'actions_cache' / 'aws'}/"
CODE = (ROOT / "layers" / "core" / "actions_cache", ROOT / "functions")

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

HTTP_LIBRARIES = frozenset({"aiohttp", "h11", "http.client", "httpx", "jwt", "requests", "socket", "urllib", "urllib3"})


@dataclass(frozen=True, order=True)
class Site:
    file: str
    function: str
    """Name of the function, with its class."""


def sites() -> set[Site]:
    """Return all functions of the adapters that call AWS by boto3, pynamodb or Powertools."""
    return {
        Site(file.name, function)
        for file in Path(ADAPTERS).glob("*.py")
        for function, call in _calls(ast.parse(file.read_text()))
        if _calls_aws(file.name, call)
    }


def _calls(tree: ast.AST, path: tuple[str, ...] = (), *, in_function: bool = False) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call with its function; functions within functions count as the outer one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _calls(node, (*path, node.name), in_function=in_function)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not in_function:
            yield from _calls(ast.Module(node.body, []), (*path, node.name), in_function=True)
        else:
            if isinstance(node, ast.Call):
                yield ".".join(path), node
            yield from _calls(node, path, in_function=in_function)


def _calls_aws(file: str, call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Name):
        return file.startswith("dynamodb") and function.id in DYNAMODB_HELPERS
    if not isinstance(function, ast.Attribute):
        return False
    receiver = ast.unparse(function.value)
    if file.startswith("dynamodb"):
        if receiver in OF_TRANSACTIONS:
            return False
        return function.attr in OF_PYNAMODB or (function.attr == "get" and receiver == "model")
    return function.attr in _methods_of_boto3()


@cache
def _methods_of_boto3() -> frozenset[str]:
    """Return the methods of all clients that the wiring makes, and what leads to their operations."""
    session = botocore.session.Session()
    loader = session.get_component("data_loader")
    operations = {
        operation
        for service in services()
        for operation in loader.load_service_model(service, "service-2")["operations"]
    }
    return frozenset({botocore.xform_name(operation) for operation in operations} | {"get_paginator", "get_waiter"}) - {
        "generate_presigned_url"
    }


def services() -> set[str]:
    """Return the services by boto3's names."""
    made_in = [file for root in CODE for file in root.rglob("*.py") if file.stem.endswith("services")]
    made_in.append(Path(ADAPTERS) / "clients.py")
    found = {
        call.args[0].value
        for file in made_in
        for _, call in _calls(ast.parse(file.read_text()))
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "client"
        and isinstance(call.args[0], ast.Constant)
    }
    return {str(service) for service in found}


def modules_with_http() -> set[str]:
    """Return all modules of the core and the functions that import an HTTP client of their own."""
    return {
        str(file.relative_to(ROOT)) for root in CODE for file in root.rglob("*.py") if _imports(file) & HTTP_LIBRARIES
    }


def _imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found | {name.partition(".")[0] for name in found}

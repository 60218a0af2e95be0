"""The code has the handlers, settings and routes that the template declares."""

import importlib
import os
import re
from typing import Any

import pytest
from starlette.routing import Match

from actions_cache.settings import Settings
from dev.local.server import Gateway
from dev.local.template import ROOT, Template
from tests.unit.template.declared import api_events, handler

FUNCTIONS = sorted(Template.load().functions)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


NOT_OURS = {
    "POWERTOOLS_SERVICE_NAME",
    # Lambda Web Adapter's.
    "AWS_LAMBDA_EXEC_WRAPPER",
    "AWS_LWA_INVOKE_MODE",
    "AWS_LWA_PORT",
    "AWS_LWA_READINESS_CHECK_PROTOCOL",
}


@pytest.fixture
def as_deployed(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in template.environment("ApiFunction").items():
        monkeypatch.setenv(name, str(template.resolve(value)))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "placeholder")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "placeholder")


@pytest.mark.usefixtures("as_deployed")
@pytest.mark.parametrize("function", FUNCTIONS)
def test_handler_is_callable(template: Template, function: str) -> None:
    module, _, name = handler(template, function).rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_streaming_handler_is_an_executable_script(template: Template) -> None:
    """Lambda Web Adapter executes it, so its mode must survive checkout and build."""
    [streaming] = [it for it in template.functions.values() if isinstance(it["Handler"], dict)]
    condition, script, _ = streaming["Handler"]["Fn::If"]
    assert condition == "Streams"
    assert os.access(ROOT / script, os.X_OK)
    routes = [it["Properties"] for it in streaming["Events"].values()]
    assert {it["ResponseTransferMode"] for it in routes} == {"RESPONSE_STREAM"}
    assert {it["TimeoutInMillis"] for it in routes} == {900_000}, "else API Gateway may end a stream after 29 s"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_built_package_is_the_handlers(template: Template, function: str) -> None:
    package = template.functions[function]["CodeUri"].replace("/", ".")
    built = template.body["Resources"][function]["Metadata"]["BuildProperties"]
    assert built == {"ParentPackageMode": "explicit", "ParentPackages": package}
    assert handler(template, function) == f"{package}.handler.lambda_handler"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_variables_match_settings(template: Template, function: str) -> None:
    variables = set(template.environment(function)) - NOT_OURS
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}
    assert variables <= set(fields)
    assert {name for name, field in fields.items() if field.is_required()} <= variables
    assert "VERIFY_TOKENS" not in variables, "verification can't be turned off"


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("bound", ["Default", "MinValue", "MaxValue"])
def test_parameters_and_their_bounds_are_valid_settings(
    template: Template, function: str, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deploy would otherwise succeed, and every request after it fail."""
    for name, value in template.environment(function).items():
        if (resolved := template.resolve({"it": value})) == {}:
            continue
        monkeypatch.setenv(name, str(resolved["it"]))
        if parameter := template.body["Parameters"].get(value.get("Ref") if isinstance(value, dict) else None):
            monkeypatch.setenv(name, str(parameter.get(bound, parameter.get("Default", "any"))))
    Settings()


@pytest.mark.usefixtures("as_deployed")
@pytest.mark.parametrize("function", ["ApiFunction", "DownloadFunction"])
def test_event_paths_are_routes_of_the_app(template: Template, function: str) -> None:
    """Greedy paths, of template and app, are left out: they are for what has no route."""
    module = handler(template, function).rpartition(".")[0]
    app: Any = importlib.import_module(module).asgi_app()
    variables = {"archive": "5f" * 16, "service": "github.actions.results.api.v1.CacheService", "method": "Create"}
    for method, path in api_events(template, function):
        assert method in METHODS
        if "+}" not in path:
            scope = {
                "type": "http",
                "method": method,
                "path": path.format_map(variables),
                "root_path": "",
                "headers": [],
            }
            anything = scope | {"path": "/no/route"}
            routes = [route for route in app.routes if route.matches(anything)[0] is not Match.FULL]
            assert any(route.matches(scope)[0] is Match.FULL for route in routes), (method, path)
    greedy = {method for method, path in api_events(template, "ApiFunction") if path == "/{path+}"}
    assert greedy == set(METHODS), "so that unknown paths reach the app"


@pytest.mark.usefixtures("as_deployed")
@pytest.mark.parametrize("function", ["ApiFunction", "DownloadFunction", "ManageFunction"])
def test_app_routes_are_declared_events(template: Template, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A route that API Gateway lacks works in the local run, and never on AWS."""
    for name, value in template.environment("ManageFunction").items():
        monkeypatch.setenv(name, str(template.resolve(value)))
    app: Any = importlib.import_module(handler(template, function).rpartition(".")[0]).asgi_app()
    gateway = Gateway.of(template, {})
    declared = {path for _, path in api_events(template, function)}
    for path in {re.sub(r"\{\w+\+?\}", "x", it) for it in declared} | {"/no/route"}:
        for method in (*METHODS, "OPTIONS", "TRACE"):
            scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
            if any(route.matches(scope)[0] is Match.FULL for route in app.routes):
                assert gateway.function_for(method, path) is not None, (method, path)

"""Gives a command its server: by --stack or --local, with the settings that the server's functions run with."""

import os
import shlex
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import boto3
import click
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from actions_cache.aws.clients import LONG_CALLS
from actions_cache.domain.errors import CacheError
from actions_cache.ports import Unavailable
from actions_cache.settings import Settings, explain_validation_error
from actions_cache_cli.aws import BAD_CREDENTIALS, explain, refusal
from actions_cache_cli.console import CommandFailed, Output, terminal_width
from actions_cache_cli.services import OperatorServices

FUNCTION = "CleanupFunctionName"
"""Output of template.yaml that names a function whose environment has every shared setting."""

OF_OTHER_ACCOUNTS = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL")
"""Variables that would lead past the local emulators."""


class ServerSettings(Settings):
    """The settings that the server's functions have, without any variable of this shell."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's shape
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


Command = Callable[..., int]
"""A command takes the server and the output first, and returns the exit code."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def on_server(command: Command) -> Callable[..., None]:
    """Give a command its server, by --stack or --local, and --json."""

    @click.option("--stack", envvar="ACTIONS_CACHE_STACK", metavar="NAME", help="The server's CloudFormation stack.")
    @click.option("--local", is_flag=True, help="The local run (`make run`), its data in LOCAL_DATA_DIR or .local.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
    @click.option("--wide", is_flag=True, help="Whole lines on a terminal too, as a pipe gets them.")
    @wraps(command)
    def run(*, stack: str | None, local: bool, as_json: bool, wide: bool, **options: Any) -> None:
        try:
            output = Output(as_json, None if wide else terminal_width())
            code = command(connect(stack, local=local), output, **options)
        except Unavailable as error:
            what = "the local run doesn't answer; is it still running?" if local else "AWS doesn't answer as it should:"
            raise CommandFailed(f"{what} {error}") from error
        except CacheError as error:
            raise CommandFailed(str(error)) from error
        click.get_current_context().exit(code)

    return run


def changes(effect: str) -> Callable[[Decorated], Decorated]:
    """Add the option --yes, without which the command changes nothing, and --dry-run, which says just that.

    Args:
        effect: A sentence that says what --yes does.
    """

    def decorate(command: Decorated) -> Decorated:
        @click.option("--yes", is_flag=True, help=f"{effect} Without it nothing changes, and you see what would.")
        @click.option("-n", "--dry-run", is_flag=True, help="Change nothing, as without --yes.")
        @wraps(command)
        def run(*, yes: bool, dry_run: bool, **options: Any) -> None:
            if yes and dry_run:
                raise click.UsageError("--yes and --dry-run contradict each other; say one of them")
            command(yes=yes, **options)

        return cast("Decorated", run)

    return decorate


def connect(stack: str | None, *, local: bool) -> OperatorServices:
    """Return the server that the options name.

    Raises:
        CommandFailed: It can't be found.
    """
    if local and stack:
        raise CommandFailed("--stack and --local name two servers; say one of them")
    if local:
        return services_with(local_settings(data_directory()))
    if stack:
        return services_with(stack_settings(stack))
    raise CommandFailed("say which server: --stack NAME (or ACTIONS_CACHE_STACK), or --local for the local run")


def services_with(variables: Mapping[str, str]) -> OperatorServices:
    """Return the services of the server whose functions have these variables.

    Raises:
        CommandFailed: They aren't settings of this version.
    """
    values = {name.lower(): value for name, value in variables.items() if value}
    try:
        settings = ServerSettings.model_validate(
            {name: values[name] for name in Settings.model_fields if name in values}
        )
    except ValidationError as error:
        errors = explain_validation_error(error, ServerSettings)
        raise CommandFailed(
            f"its functions' settings aren't what this version knows ({errors}); use the version that was deployed"
        ) from error
    return OperatorServices(settings, calls=LONG_CALLS)


def stack_settings(name: str) -> Mapping[str, str]:
    """Return a stack's settings, read with the credentials and region of the environment."""
    try:
        session = boto3.Session()
        described: Any = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        outputs = {row["OutputKey"]: row["OutputValue"] for row in described.get("Outputs", ())}
        if FUNCTION not in outputs:
            raise CommandFailed(
                f"the stack {name} has no output {FUNCTION}: is it this project's, and deployed to its end?"
            )
        function = session.client("lambda").get_function_configuration(FunctionName=outputs[FUNCTION])
    except ClientError as error:
        reason = error.response["Error"]
        if reason["Code"] in BAD_CREDENTIALS:
            raise CommandFailed(str(refusal(error))) from error
        raise CommandFailed(
            f"AWS says {reason['Code']}: {reason['Message']}; is the stack {name} in this region, and may these "
            "credentials read it and its functions' configuration?"
        ) from error
    except BotoCoreError as error:
        raise CommandFailed(explain(error)) from error
    variables: dict[str, str] = function.get("Environment", {}).get("Variables", {})
    return variables


def data_directory() -> Path:
    return Path(os.environ.get("LOCAL_DATA_DIR") or Path(__file__).parents[1] / ".local")


def local_settings(data: Path) -> Mapping[str, str]:
    """Return the local run's settings, and point this process's AWS calls at its emulators."""
    try:
        endpoints, settings = read_exports(data / "env"), read_exports(data / "settings")
    except FileNotFoundError:
        raise CommandFailed(
            f"no local run is ready with its data in {data}: start one by `make run`, or set LOCAL_DATA_DIR"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{data} can't be read as a local run's data ({error}); set LOCAL_DATA_DIR") from error
    for name in OF_OTHER_ACCOUNTS:
        os.environ.pop(name, None)
    os.environ.update({name: value for name, value in endpoints.items() if name.startswith("AWS_")})
    return settings


def read_exports(path: Path) -> dict[str, str]:
    """Read lines like `export NAME=value`, quoted as for a shell."""
    words = (shlex.split(line) for line in path.read_text().splitlines())
    return dict(assignment.split("=", 1) for export, assignment in words if export == "export")

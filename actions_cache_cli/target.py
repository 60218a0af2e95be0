"""Which server a command works on, and with whose settings: those that its functions run with."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from actions_cache.aws.clients import LONG_CALLS
from actions_cache.settings import Settings, explain_validation_error
from actions_cache_cli.console import CommandFailed
from actions_cache_cli.services import OperatorServices

FUNCTION = "CleanupFunctionName"
"""An output of template.yaml. Its environment has every setting that all functions share."""

OF_OTHER_ACCOUNTS = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL")
"""Would lead past the local engines."""


class TheServers(Settings):
    """As its functions have them: nothing of this shell's is among them."""

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


def connect(stack: str | None, *, local: bool) -> OperatorServices:
    """Raises: CommandFailed."""
    if local and stack:
        raise CommandFailed("--stack and --local name two servers; say one of them")
    if local:
        return plane(local_settings(data_directory()))
    if stack:
        return plane(stack_settings(stack))
    raise CommandFailed("say which server: --stack NAME (or ACTIONS_CACHE_STACK), or --local for the local run")


def plane(variables: Mapping[str, str]) -> OperatorServices:
    values = {name.lower(): value for name, value in variables.items() if value}
    try:
        settings = TheServers.model_validate({name: values[name] for name in Settings.model_fields if name in values})
    except ValidationError as error:
        faults = explain_validation_error(error, TheServers)
        raise CommandFailed(
            f"its functions' settings aren't what this version knows ({faults}); use the version that was deployed"
        ) from error
    return OperatorServices(settings, calls=LONG_CALLS)


def stack_settings(name: str) -> Mapping[str, str]:
    """With the credentials and region of the environment."""
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
        fault = error.response["Error"]
        raise CommandFailed(
            f"AWS says {fault['Code']}: {fault['Message']}; is the stack {name} in this region, and may these "
            "credentials read it and its functions' configuration?"
        ) from error
    except BotoCoreError as error:
        raise CommandFailed(
            f"{error}; --stack needs AWS credentials and a region, as `aws` does: AWS_PROFILE and AWS_REGION, say"
        ) from error
    variables: dict[str, str] = function.get("Environment", {}).get("Variables", {})
    return variables


def data_directory() -> Path:
    return Path(os.environ.get("LOCAL_DATA_DIR") or Path(__file__).parents[1] / ".local")


def local_settings(data: Path) -> Mapping[str, str]:
    """Leads this process's AWS calls to the run's engines."""
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
    """Of lines like `export NAME=value`, quoted as for a shell."""
    words = (shlex.split(line) for line in path.read_text().splitlines())
    return dict(assignment.split("=", 1) for export, assignment in words if export == "export")

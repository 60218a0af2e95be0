"""The run's environment: the options it reads, the functions' variables, and the files that tell others about it."""

import ipaddress
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from actions_cache.settings import Settings, explain_validation_error
from actions_cache_cli.doctor.runner import url_error
from dev.local.console import RunFailed
from dev.local.emulators import REGION, Credentials, NamedEndpoints, write_private
from dev.local.resources import Resources
from dev.local.template import ROOT

DATA_DIR = ROOT / ".local"

FITTED_TO_LAMBDA = frozenset(
    {"STREAM_MAX_BYTES", "STREAM_BURST_BYTES", "STREAM_BYTES_PER_SECOND", "CHECK_STREAMED_PARTS"}
)
"""Variables whose values in the template go with AWS's caps, which nothing has here: checks that cost nothing at 2 MB a
second would halve the speed of a stream that isn't throttled."""

AGAINST_STRANGERS = frozenset({"CREATES_PER_MINUTE"})
"""Variables whose values in the template bound what jobs of many repositories cost; here they would stop load tests."""

OF_OTHER_ACCOUNTS = frozenset({"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"})
"""Variables of the user's that would lead the functions away from the emulators, or make these refuse them."""

STARTING = "local run"
"""Component that `/health` reports until `.local/env` is written, and again once that file is gone."""


class Options(BaseSettings):
    """The options of the local run itself; the functions' are in actions_cache.settings."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 3000
    local_data_dir: Path = DATA_DIR
    local_merge_workers: Annotated[int, Field(ge=0, le=64)] = 1
    cleanup_interval_seconds: Annotated[float, Field(gt=0)] = 30
    orphans_interval_seconds: Annotated[float, Field(gt=0)] | None = None

    # Services that run already, with the usual AWS_... variables for how to get in.
    store_endpoint_url: str | None = None
    table_endpoint_url: str | None = None
    queue_endpoint_url: str | None = None
    secrets_endpoint_url: str | None = None
    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = None
    aws_region: str | None = None
    aws_default_region: str | None = None

    @classmethod
    def read(cls) -> "Options":
        """Read the environment.

        Raises:
            RunFailed: An option is out of bounds.
        """
        try:
            return cls()
        except ValidationError as error:
            raise RunFailed(explain_validation_error(error, cls)) from error

    @property
    def data_dir(self) -> Path:
        return self.local_data_dir.absolute()

    @property
    def url(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def named(self) -> NamedEndpoints:
        return NamedEndpoints(
            self.store_endpoint_url, self.table_endpoint_url, self.queue_endpoint_url, self.secrets_endpoint_url
        )

    @property
    def credentials(self) -> Credentials | None:
        """The user's credentials if they name a service; otherwise none, which keeps them out of the emulators.

        Raises:
            RunFailed: They are missing.
        """
        if self.named == NamedEndpoints():
            return None
        if not (self.aws_access_key_id and self.aws_secret_access_key):
            raise RunFailed("an ..._ENDPOINT_URL is set, so AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be too")
        return Credentials(self.aws_access_key_id, self.aws_secret_access_key)

    @property
    def region(self) -> str:
        return (self.aws_region or self.aws_default_region or REGION) if self.credentials else REGION


def is_loopback(host: str) -> bool:
    """Return whether a host, or the name `localhost`, is only reached from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


# ------------------------------------------------------------------ the functions' variables


def checked_settings(environment: Mapping[str, str]) -> Settings:
    """Return the functions' settings, as they will read them.

    Raises:
        RunFailed: The functions would refuse them.
    """
    values = {name.lower(): value for name, value in environment.items() if value}
    try:
        return Settings.model_validate({name: values[name] for name in Settings.model_fields if name in values})
    except ValidationError as error:
        raise RunFailed(explain_validation_error(error, Settings)) from error


def function_environment(
    resources: Resources, functions: Iterable[str], chosen: Mapping[str, str], endpoints: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of a process that runs some functions.

    Args:
        resources: Resources that the variables name.
        functions: Logical ids of the functions.
        chosen: The user's variables. They take precedence over the template's, but for the resources' names, which a
            shell still has that sourced an earlier run's `.local/env`.
        endpoints: Variables that say where the emulators are, with credentials.
    """
    declared: dict[str, str] = {}
    for function in functions:
        declared |= resources.environment(function)
    defaults = {name: value for name, value in declared.items() if name not in FITTED_TO_LAMBDA | AGAINST_STRANGERS}
    users = {name: value for name, value in chosen.items() if name not in OF_OTHER_ACCOUNTS}
    if not users.get("TOKEN_CLAIMS"):
        # Empty means unset here too, and would admit nobody.
        users.pop("TOKEN_CLAIMS", None)
    return {
        "VERIFY_TOKENS": "0",
        **defaults,
        "POWERTOOLS_SERVICE_NAME": "local",
        **users,
        **resource_names(resources, declared),
        **endpoints,
    }


def resource_names(resources: Resources, variables: Mapping[str, str]) -> dict[str, str]:
    """Return those of the variables that name a resource."""
    names = set(resources.refs.values())
    return {name: value for name, value in variables.items() if value in names}


# ------------------------------------------------------------------ what others are told


@contextmanager
def env_file(path: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """Write a file for `source` in a shell, as `.local/env` is, that exists until the block ends."""
    write_private(path, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def next_steps(options: Options, public_url: str | None) -> Iterator[str]:
    """Yield lines that say where the page is, what points a runner at the run, and where its logs are.

    Args:
        options: Options of the run.
        public_url: URL of a proxy in front, if there is one.
    """
    url = f"{(public_url or options.url).rstrip('/')}/"
    chosen = "" if options.data_dir == DATA_DIR else f" LOCAL_DATA_DIR={shlex.quote(str(options.data_dir))}"
    yield f"page:    {url}, and its token by: make token{chosen}"
    if (error := url_error(url)) is not None:
        yield f"runner:  {error}; put a proxy with a certificate before it, and set PUBLIC_URL to its URL"
    else:
        yield "runner:  copy runners/*.cjs to /opt, write these two, and restart it (docs/use/runners.md)"
        yield f"         /opt/hook.json:     {json.dumps({'url': url})}"
        yield "         the runner's .env:  NODE_OPTIONS=--require /opt/hook.cjs"
    yield f"logs:    {options.data_dir / 'logs'}; each save, restore and miss gets a line here"

"""What the local run itself is told by its environment; the functions' settings are actions_cache.settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from actions_cache.settings import Settings, explain_validation_error
from dev.local.console import RunFailed
from dev.local.endpoints import Credentials, NamedEndpoints
from dev.local.engines import REGION
from dev.local.hosts import is_loopback
from dev.local.template import ROOT

DATA_DIR = ROOT / ".local"


class Options(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 3000
    local_data_dir: Path = DATA_DIR
    local_merge_workers: Annotated[int, Field(ge=0, le=64)] = 1
    cleanup_interval_seconds: Annotated[float, Field(gt=0)] = 30
    orphans_interval_seconds: Annotated[float, Field(gt=0)] | None = None

    # Engines that run already, with the usual AWS_... variables for how to get in.
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
        """Raises: RunFailed: one is out of bounds."""
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
        """For named engines; the user's own stay out of ours.

        Raises: RunFailed: they are missing.
        """
        if self.named == NamedEndpoints():
            return None
        if not (self.aws_access_key_id and self.aws_secret_access_key):
            raise RunFailed("an ..._ENDPOINT_URL is set, so AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be too")
        return Credentials(self.aws_access_key_id, self.aws_secret_access_key)

    @property
    def region(self) -> str:
        return (self.aws_region or self.aws_default_region or REGION) if self.credentials else REGION


def checked_settings(environment: Mapping[str, str]) -> Settings:
    """The functions' settings, as they will read them.

    Raises: RunFailed: they would refuse them.
    """
    values = {name.lower(): value for name, value in environment.items() if value}
    try:
        return Settings.model_validate({name: values[name] for name in Settings.model_fields if name in values})
    except ValidationError as error:
        raise RunFailed(explain_validation_error(error, Settings)) from error

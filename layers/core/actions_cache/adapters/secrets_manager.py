"""The signing secrets in Secrets Manager, cached by Powertools so that a rotation is seen within minutes."""

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.config import Config

from actions_cache.ports import Unavailable

CACHED_SECONDS = 300
"""Longer: a rotated secret is believed longer. Shorter: more requests, each a few ms and a part of a cent."""


class SecretsManagerSecrets:
    """See ports.SigningSecrets. Several secrets stand one a line; the first signs."""

    def __init__(self, config: Config, secret_id: str) -> None:
        self._provider = SecretsProvider(boto_config=config)
        self._secret_id = secret_id

    def current(self) -> tuple[str, ...]:
        try:
            value = self._provider.get(self._secret_id, max_age=CACHED_SECONDS)
        except GetParameterError as error:
            raise Unavailable(str(error)) from error
        return tuple(str(value).split())

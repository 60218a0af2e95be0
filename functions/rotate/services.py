"""Wire the rotation, which needs the signing secret and the edge alone, and none of the core's services."""

from dataclasses import dataclass, field
from functools import cached_property

from actions_cache.aws.clients import QUICK_CALLS, Session, new_session
from actions_cache.aws.secrets import SIGV4A_CALLS, KeyValueStoreSecrets, SecretsManagerKeyring
from actions_cache.domain.signing import RotationTimes
from actions_cache.domain.timing import SECOND
from actions_cache.ports import Clock, TokenSource
from actions_cache.rotate import RotateSecret
from actions_cache.settings import Settings
from actions_cache.system import RandomTokens, SystemClock


@dataclass
class RotateServices:
    """Makes the rotation, once in each process.

    Args:
        settings: read from the environment.
        clock: replaced by tests that need a time of their own.
        tokens: replaced by tests that need known tokens.
    """

    settings: Settings
    clock: Clock = field(default_factory=SystemClock)
    tokens: TokenSource = field(default_factory=RandomTokens)

    @cached_property
    def session(self) -> Session:
        return new_session()

    @cached_property
    def rotate_secret(self) -> RotateSecret:
        """Return the rotation.

        Raises:
            ValueError: EDGE_SECRETS_ARN is missing, which the template sets for the function that rotates.
        """
        settings = self.settings
        if settings.edge_secrets_arn is None:
            raise ValueError("EDGE_SECRETS_ARN is missing: it names the edge's KeyValueStore")
        return RotateSecret(
            SecretsManagerKeyring(
                self.session.client("secretsmanager", config=QUICK_CALLS), settings.url_signing_secret_arn
            ),
            KeyValueStoreSecrets(
                self.session.client("cloudfront-keyvaluestore", config=SIGV4A_CALLS), settings.edge_secrets_arn
            ),
            self.clock,
            self.tokens,
            RotationTimes(
                interval=settings.secret_rotation_seconds * SECOND,
                url_life=settings.longest_url_seconds * SECOND,
            ),
        )

"""Signed URLs: what the HTTP functions give out and take back."""

from functools import cached_property

from actions_cache.adapters.secrets_manager import SecretsManagerSecrets
from actions_cache.usecases.urls import SourceUrls, UrlSigner
from actions_cache.wiring.shared import Shared


class Links(Shared):
    @cached_property
    def urls(self) -> UrlSigner:
        client = self.session.client("secretsmanager", config=self.calls)
        return UrlSigner(SecretsManagerSecrets(client, self.settings.url_signing_secret_arn), self.clock)

    @cached_property
    def sources(self) -> SourceUrls:
        return SourceUrls(self.bucket, self.urls, self.clock, self.lifetimes)

"""Where the engines are, as AWS's own tools and libraries are told."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Credentials:
    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True)
class NamedEndpoints:
    """Engines that run already; what isn't named is started."""

    store: str | None = None
    table: str | None = None
    queue: str | None = None
    secrets: str | None = None


@dataclass(frozen=True)
class Endpoints:
    store: str
    table: str
    queue: str
    secrets: str
    edge: str
    """CloudFront's API, and its KeyValueStores."""
    credentials: Credentials
    region: str

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.store,
            "AWS_ENDPOINT_URL_DYNAMODB": self.table,
            "AWS_ENDPOINT_URL_SQS": self.queue,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.secrets,
            "AWS_ENDPOINT_URL_CLOUDFRONT": self.edge,
            "AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE": self.edge,
            "AWS_ACCESS_KEY_ID": self.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_access_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }

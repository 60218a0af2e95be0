"""GHES with a certificate authority of its own: its keys and its results service, over real TLS."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from actions_cache.aws.clients import create_ssl_context
from actions_cache.domain.access import Anybody
from actions_cache.domain.errors import TryAgain
from actions_cache.settings import Settings
from functions.api.passthrough import NoAnswer, ResultsService
from functions.api.tokens import TokenReader
from tests.support.private_ca import CertificateAuthority
from tests.support.token_issuer import TokenIssuer, running_issuer
from tests.unit.test_settings import REQUIRED


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="module")
def issuer(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenIssuer]:
    """Start an issuer over TLS that also answers as a results service would."""
    with running_issuer("/_services/token") as issuer:
        context = authority.server_context(tmp_path_factory.mktemp("tls"))
        issuer.server.socket = context.wrap_socket(issuer.server.socket, server_side=True)
        issuer.url = issuer.url.replace("http:", "https:")
        yield issuer


def reader(issuer: TokenIssuer, certificates: str | None) -> TokenReader:
    return TokenReader((issuer.url,), None, (Anybody(),), trust=create_ssl_context(certificates))


def test_issuer_with_known_ca_is_trusted(issuer: TokenIssuer, authority: CertificateAuthority):
    assert reader(issuer, authority.pem).read(issuer.sign()).repository == f"42@{issuer.url}"


@pytest.mark.parametrize("other", ["nobody's", "another's"])
def test_issuer_with_unknown_ca_gets_no_request(issuer: TokenIssuer, other: str):
    before = issuer.requests
    with pytest.raises(TryAgain):
        reader(issuer, None if other == "nobody's" else CertificateAuthority().pem).read(issuer.sign())
    assert issuer.requests == before


async def test_results_service_needs_known_ca(issuer: TokenIssuer, authority: CertificateAuthority):
    url = issuer.url.removesuffix("/_services/token")
    request = ("GET", ("/_services/token/.well-known/jwks", ""), (), b"", 100_000)
    assert (await ResultsService(url, create_ssl_context(authority.pem)).ask(*request)).status == 200
    with pytest.raises(NoAnswer):
        await ResultsService(url).ask(*request)


def test_ca_certificates_are_text_or_file(tmp_path: Path, authority: CertificateAuthority):
    file = tmp_path / "authorities.pem"
    file.write_text(authority.pem + CertificateAuthority().pem)
    assert Settings(**REQUIRED, extra_ca_certificates=authority.pem).extra_ca_certificates == authority.pem
    assert Settings(**REQUIRED, extra_ca_certificates=str(file)).extra_ca_certificates == file.read_text()
    assert Settings(**REQUIRED).extra_ca_certificates is None
    for wrong in ("/no/such/file.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n", "a name"):
        with pytest.raises(ValidationError, match="in PEM, or a file of them by its absolute path"):
            Settings(**REQUIRED, extra_ca_certificates=wrong)

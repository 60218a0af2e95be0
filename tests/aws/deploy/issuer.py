"""An issuer of runtime tokens that deployed functions can trust: by https, with one key."""

import json
import ssl
from pathlib import Path

from tests.support.private_ca import self_signed
from tests.support.token_issuer import TokenIssuer

HOST = "127.0.0.1"


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class HttpsIssuer(TokenIssuer):
    """An issuer with a certificate of its own.

    Args:
        directory: Directory for its certificate, which a client trusts by SSL_CERT_FILE.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.rotate("1")
        self.certificate = self_signed(directory)
        self.server.socket = server_context(self.certificate).wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://{HOST}:{self.server.server_port}"

    def token(self) -> str:
        scopes = json.dumps([{"Scope": "refs/heads/main", "Permission": 3}])
        return self.sign(repository_id="1", ac=scopes).removeprefix("Bearer ")

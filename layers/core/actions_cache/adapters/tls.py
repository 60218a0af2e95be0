"""Whom an outgoing connection believes."""

import ssl


def trusting(extra_certificates: str | None) -> ssl.SSLContext | None:
    """The public authorities and these; None, the library's own choice, where there are no more.

    Args: extra_certificates: as settings.EXTRA_CA_CERTIFICATES has checked them: PEM.
    """
    if extra_certificates is None:
        return None
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=extra_certificates)
    return context

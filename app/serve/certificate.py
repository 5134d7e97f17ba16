"""The certificate and key that HTTPS is served with, tried before anything is started."""

from __future__ import annotations

import ssl

from app.serve.startup_refused import StartupRefused
from app.settings import Settings


def check_certificate(settings: Settings) -> None:
    """Do nothing without TLS, or if certificate and key can be read and go together.

    Raises:
        StartupRefused: they cannot, or do not; with the setting to change.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        return
    for setting, path in (("PAGEPOOL_TLS_CERTIFICATE", certificate), ("PAGEPOOL_TLS_KEY", key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise StartupRefused(f"{setting}: {path} cannot be read ({error.strerror})") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_refuse_encrypted)
    except ssl.SSLError as error:
        raise StartupRefused(
            f"PAGEPOOL_TLS_CERTIFICATE and PAGEPOOL_TLS_KEY: {certificate} and {key} are no PEM certificate chain and "
            f"its key ({error.reason or error})"
        ) from error


def _refuse_encrypted() -> str:
    # A service has nobody to ask, and the default would be to ask on the terminal.
    raise StartupRefused("PAGEPOOL_TLS_KEY: the key is encrypted; store it without a passphrase")

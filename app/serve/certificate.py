"""The certificate and key that HTTPS is served with, tried before anything is started."""

from __future__ import annotations

import ssl
from pathlib import Path

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
        server_context(certificate, key)
    except ssl.SSLError as error:
        raise StartupRefused(
            f"PAGEPOOL_TLS_CERTIFICATE and PAGEPOOL_TLS_KEY: {certificate} and {key} are no PEM certificate chain and "
            f"its key ({error.reason or error})"
        ) from error


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """How HTTPS is spoken: TLS 1.2 and later, no certificate asked of clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key, password=_refuse_encrypted)
    return context


def _refuse_encrypted() -> str:
    # A service has nobody to ask, and the default would be to ask on the terminal.
    raise StartupRefused("PAGEPOOL_TLS_KEY: the key is encrypted; store it without a passphrase")

"""Explains what is wrong with a server's certificate. Retrying does not help with any of it."""

from __future__ import annotations

import ssl

import aiohttp

from gptoss_tui.errors import EngineError

_TRUST = "if you trust it, name the file with the signer's certificate in SSL_CERT_FILE"
_NAMES = "write the address with a name that the certificate has"
_STRANGER = "its certificate is signed by somebody whom this machine does not trust"
_WRONG = {
    9: ("its certificate is not valid yet", "look at the clocks of both machines"),
    10: ("its certificate has expired", "renew it, or look at this machine's clock"),
    18: ("its certificate is signed by nobody but itself", _TRUST),
    19: (_STRANGER, _TRUST),
    20: (_STRANGER, _TRUST),
    62: ("its certificate is for another host name", _NAMES),
    64: ("its certificate is for another address", _NAMES),
}
"""By OpenSSL's error number, `X509_V_ERR_...`: the reason, and what to do."""

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")


class UntrustedError(EngineError):
    """The server could not prove that it is the requested one. Nothing was sent to it."""


def tls_error(host: str, error: aiohttp.ClientSSLError) -> UntrustedError:
    """The error for a connection that could not be secured."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        told = error.certificate_error
        code = told.verify_code if isinstance(told, ssl.SSLCertVerificationError) else 0
        other = f"its certificate is refused ({getattr(told, 'verify_message', type(told).__name__)})"
        why, hint = _WRONG.get(code, (other, _TRUST))
        return UntrustedError(f"{host} cannot be trusted: {why}; nothing was sent", hint=hint)
    reason = getattr(error.os_error, "reason", None) or type(error.os_error).__name__
    if reason in _NO_TLS:
        return UntrustedError(f"{host} does not speak HTTPS; nothing was sent", hint="try http://")
    return UntrustedError(
        f"No secure connection to {host} can be made ({reason}); nothing was sent",
        hint="look at the server's TLS settings",
    )

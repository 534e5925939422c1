"""A broken connection, named."""

import ssl

import aiohttp

_WORTH_ANOTHER_TRY = frozenset(
    (
        "dns-failed", "proxy-failed", "connect-timeout", "answer-timeout", "connection-refused", "no-route",
        "answer-cut-off", "not-http", "connection-broken",
    )
)  # fmt: skip


def name_failure(error: Exception) -> tuple[str, str]:
    """The code of what went wrong with a connection, and what the error alone says of it."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "dns-failed", ""
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return "tls-failed", _tls_reason(error)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return "proxy-failed", ""
        case aiohttp.ConnectionTimeoutError():
            return "connect-timeout", ""
        case TimeoutError():
            return "answer-timeout", ""
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return "connection-refused", ""
        case aiohttp.ClientConnectorError():
            return "no-route", error.os_error.strerror or "network unreachable"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return "address-unusable", ""
        case aiohttp.ClientPayloadError():
            return "answer-cut-off", ""
        case aiohttp.ClientResponseError():
            return "not-http", ""
        case aiohttp.ClientError() | OSError():
            return "connection-broken", ""
        case _:
            return "request-unusable", ""


def worth_another_try(code: str) -> bool:
    """Whether a failure of this code may be over a moment later."""
    return code in _WORTH_ANOTHER_TRY


def _tls_reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner: Exception = error.certificate_error
    else:
        inner = getattr(error, "os_error", error)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({inner.verify_message})"
    reason = getattr(inner, "reason", None)
    return (
        f"the TLS handshake failed ({str(reason).lower().replace('_', ' ')})" if reason else "the TLS handshake failed"
    )

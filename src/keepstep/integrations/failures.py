"""A broken connection in words."""

import ssl

import aiohttp


def name_failure(error: Exception, title: str, host: str, setting: str) -> tuple[str, str, bool]:
    """What went wrong with a connection, what to do, and whether another try may help."""
    check = f"Check {setting}, and that this machine can reach {host}."
    certificates = f"Check {setting}; behind a company proxy, let this machine trust its certificate."
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"The name of {title}'s host, {host}, cannot be resolved.", check, True
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return f"No secure connection to {host}: {_tls_reason(error)}.", certificates, False
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return (
                f"The proxy on the way to {host} cannot be used.",
                "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY in the environment.",
                True,
            )
        case aiohttp.ConnectionTimeoutError():
            return f"{host} did not accept a connection in time.", check, True
        case TimeoutError():
            return (
                f"{title} did not send its answer in time.",
                "It is tried again by itself; if it stays so, lower the page size or ask the vendor.",
                True,
            )
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return f"{host} refused the connection.", check, True
        case aiohttp.ClientConnectorError():
            return f"No connection to {host}: {error.os_error.strerror or 'network unreachable'}.", check, True
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return f"{setting} is not a usable web address.", f"Set {setting} to an https:// address.", False
        case aiohttp.ClientPayloadError():
            return f"{title}'s answer was cut off before its end.", _PASSING, True
        case aiohttp.ClientResponseError():
            return f"{host} answered something that is not HTTP.", check, True
        case aiohttp.ClientError() | OSError():
            return f"The connection to {host} broke before the answer was complete.", _PASSING, True
        case _:
            return (
                f"The request to {host} could not be built.",
                f"Check {setting} and the credentials for stray characters.",
                False,
            )


_PASSING = "It is tried again by itself; if it stays so, look at the network and at proxies on the way."


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

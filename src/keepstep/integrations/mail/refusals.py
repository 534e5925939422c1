"""What goes wrong with an IMAP server: one table from what IMAPClient raises to an error that says what to do.

Response codes: https://www.rfc-editor.org/rfc/rfc5530. Where a server gives none, its words decide; a refusal to log in
without a code is taken for wrong credentials.
"""

import re
import socket
import ssl
from collections.abc import Mapping
from types import MappingProxyType

from imapclient.exceptions import IMAPClientAbortError, IMAPClientError, LoginError, ProtocolError

from keepstep.model.errors import (
    Answer,
    AuthFailed,
    NeedsReconnect,
    NotData,
    Permanent,
    RateLimited,
    Transient,
    UpstreamError,
)

FACTS: Mapping[str, object] = MappingProxyType(
    {
        "title": "Mail",
        "url_setting": "the mail server of the connection",
        "use_url": "Give the address of the IMAP server.",
        "key_setting": "the connection's password",
        "size_setting": "the page size of the connection",
        "entities_setting": "the folders of the connection",
        "integration": "mail",
    }
)
_CODE = re.compile(r"\[([A-Z-]+)[^\]]*\]")
_BUSY = re.compile(
    r"too many|simultaneous|throttl|rate.?limit|bandwidth limit|exceeded command|try again later|temporarily", re.I
)
_LATER = frozenset(("UNAVAILABLE", "INUSE", "SERVERBUG", "CONTACTADMIN"))
_TOO_MUCH = frozenset(("LIMIT", "THROTTLED", "OVERQUOTA"))
_SNIPPET = 500
BUSY_SECONDS = 60.0


def named(
    error: BaseException, command: str, host: str, secrets: tuple[str, ...], *, folder: str = "",
    by_token: bool = False,
) -> UpstreamError:  # fmt: skip
    """The error in words. ``secrets`` are blotted out of what the server said. ``by_token``: it rests on a consent."""
    said = _said(error, secrets)
    answer = Answer("IMAP", f"{command} {folder}".strip(), None, "", said)
    facts = {**FACTS, "host": host, "path": folder or "the mailbox", "detail": said}
    match error:
        case UpstreamError():
            return error
        case UnicodeError() if command == "CONNECT":  # a name that no name can be
            return Transient.named("dns-failed", facts=facts, answer=answer, stops_run=True)
        case socket.gaierror():
            return Transient.named("dns-failed", facts=facts, answer=answer, stops_run=True)
        case ssl.SSLCertVerificationError():
            detail = {"detail": f"its certificate is not valid ({error.verify_message})"}
            return Permanent.named("tls-failed", facts={**facts, **detail}, answer=answer, stops_run=True)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Transient.named("connection-broken", facts=facts, answer=answer, stops_run=True)
        case ssl.SSLError():
            reason = str(error.reason or "").lower().replace("_", " ")
            detail = {"detail": f"the TLS handshake failed ({reason or 'no reason given'})"}
            return Permanent.named("tls-failed", facts={**facts, **detail}, answer=answer, stops_run=True)
        case ConnectionRefusedError():
            return Transient.named("connection-refused", facts=facts, answer=answer, stops_run=True)
        case TimeoutError():
            code = "connect-timeout" if command == "CONNECT" else "answer-timeout"
            return Transient.named(code, facts=facts, answer=answer, stops_run=True)
        case LoginError():
            return _not_let_in(said, facts, answer, by_token)
        case IMAPClientAbortError() | ConnectionError():
            if _is_busy(said):
                return RateLimited.named("mailbox-busy", facts=facts, after=BUSY_SECONDS, answer=answer)
            if "unexpected response" in said:
                return NotData.named("not-imap", facts=facts, answer=answer)
            return Transient.named("connection-broken", facts=facts, answer=answer, stops_run=True)
        case OSError():
            detail = {"detail": error.strerror or "network unreachable"}
            return Transient.named("no-route", facts={**facts, **detail}, answer=answer, stops_run=True)
        case ProtocolError():
            return NotData.named("not-imap", facts=facts, answer=answer)
        case IMAPClientError():
            return _refused(said, facts, answer)
        case _:
            return NotData.named("not-imap", facts=facts, answer=answer)


def _not_let_in(said: str, facts: Mapping[str, object], answer: Answer, by_token: bool) -> UpstreamError:
    codes = set(_CODE.findall(said.upper()))
    if codes & _TOO_MUCH or (_is_busy(said) and "AUTHENTICATIONFAILED" not in codes):
        return RateLimited.named("mailbox-busy", facts=facts, after=BUSY_SECONDS, answer=answer)
    if codes & _LATER:
        return Transient.named("upstream-failed", facts={**facts, "status": "login"}, answer=answer, stops_run=True)
    if by_token:
        detail = {"detail": "it does not let us in with it"}
        return NeedsReconnect.named(
            "needs-reconnect", facts={**facts, "title": "The mail server", **detail}, answer=answer
        )
    return AuthFailed.named("mailbox-refused", facts=facts, answer=answer)


def _refused(said: str, facts: Mapping[str, object], answer: Answer) -> UpstreamError:
    codes = set(_CODE.findall(said.upper()))
    if codes & _TOO_MUCH or _is_busy(said):
        return RateLimited.named("mailbox-busy", facts=facts, after=BUSY_SECONDS, answer=answer)
    if codes & _LATER:
        return Transient.named("upstream-failed", facts={**facts, "status": "NO"}, answer=answer)
    return Permanent.named("folder-refused", facts=facts, answer=answer)


def _is_busy(said: str) -> bool:
    return _BUSY.search(said) is not None


def _said(error: BaseException, secrets: tuple[str, ...]) -> str:
    """What the server said, on one line, without a secret."""
    text = " ".join(str(error).replace("\x00", "").split())
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "*" * len(secret))
    return text[:_SNIPPET]

"""How far a mailbox may lead that a user names: to the internet, not into the network that Keepstep itself runs in.

The addresses that a name stands for are looked at when the connection is made, and one of these is connected to: what a
name stood for a moment earlier proves nothing.
"""

import contextlib
import imaplib
import socket
import ssl
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

from imapclient import IMAPClient

from keepstep.integrations.mail.refusals import FACTS
from keepstep.model.errors import Permanent

_TRANSLATED = IPv6Network("64:ff9b::/96")
"""Where a network lets IPv6 speak to IPv4 (RFC 6052): the last four bytes are the address that is meant."""
_TRANSLATED_HERE = IPv6Network("64:ff9b:1::/48")
"""The same within one network (RFC 8215), which some versions of Python take for public."""


def is_public(address: str) -> bool:
    """Whether an address belongs to the internet. What stands for an IPv4 address counts as that one."""
    try:
        known = ip_address(address)
    except ValueError:
        return False
    if isinstance(known, IPv6Address):
        within = known.ipv4_mapped or known.sixtofour or (known.teredo[1] if known.teredo is not None else None)
        if within is None and known in _TRANSLATED:
            within = ip_address(int(known) & 0xFFFFFFFF)  # type: ignore[assignment]
        if within is not None:
            return is_public(str(within))
        if known in _TRANSLATED_HERE:
            return False
    return known.is_global and not known.is_multicast


def public_socket(host: str, port: int, timeout: float | None) -> socket.socket:
    """A connection to the first public address of ``host`` that takes one. Raises ``Permanent``, ``OSError``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    public = [one for one in found if is_public(str(one[4][0]))]
    if not public:
        raise Permanent.named("mail-host-private", facts={**FACTS, "host": host}, stops_run=True)
    failed: OSError = ConnectionRefusedError()
    for family, kind, protocol, _, place in public:
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(timeout)
            made.connect(place)
        except OSError as error:
            made.close()
            failed = error
        else:
            return made
    raise failed


class PublicClient(IMAPClient):  # type: ignore[misc]
    """A client that connects to public addresses only."""

    def _create_IMAP4(self) -> imaplib.IMAP4:  # noqa: N802 - the library's name
        return _PublicIMAP4(self.host, self.port, self.ssl_context if self.ssl else None, self._timeout.connect)


class _PublicIMAP4(imaplib.IMAP4):
    def __init__(self, host: str, port: int, context: ssl.SSLContext | None, timeout: float | None) -> None:
        self._context = context
        super().__init__(host, port, timeout)

    def _create_socket(self, timeout: float | None = None) -> Any:
        made = public_socket(self.host, self.port, timeout)
        if self._context is None:
            return made
        try:
            return self._context.wrap_socket(made, server_hostname=self.host)
        except BaseException:
            with contextlib.suppress(OSError):
                made.close()
            raise

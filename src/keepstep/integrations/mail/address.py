"""A mailbox as one address, so that it is stored and shown like any other upstream.

::

    imaps://anna%40example.test@imap.example.test/                      TLS, port 993, the usual folders
    imap://anna@mail.example.test:143/INBOX,Clients%2F*                 STARTTLS, these folders
    imaps://anna@imap.example.test/?attachment_bytes=1000000            with the content of attachments
    imap://anna@127.0.0.1:14143/?security=none                          in clear, on this machine only
    https://gmail.googleapis.com                                        the Gmail API

The password, or the token, is no part of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from urllib.parse import parse_qs, quote, unquote, urlencode

from keepstep.integrations.http import is_loopback, split_url
from keepstep.integrations.mail.message import Limits
from keepstep.integrations.mail.session import Security

GMAIL = "https://gmail.googleapis.com"
_PORTS = {"imaps": 993, "imap": 143}
_LIMITS = frozenset(field.name for field in fields(Limits))
MOST_BYTES = 64 * 1024 * 1024
MOST_CHARACTERS = 2_000_000
Warnings = list[tuple[str, str]]
"""Pairs of a problem and what to do about it, each one sentence."""


@dataclass(frozen=True, slots=True)
class Place:
    """What an address of a mailbox says."""

    host: str
    port: int
    user: str
    security: Security
    folders: tuple[str, ...]
    limits: Limits


def is_imap(base_url: str) -> bool:
    """Whether an address is one of a mailbox on an IMAP server; otherwise it is the Gmail API's."""
    return split_url(base_url.strip()).scheme in _PORTS


def place_of(base_url: str) -> Place:
    """What an address says; what it says in no usable way counts as not said."""
    parts = split_url(base_url.strip())
    query = parse_qs(parts.query)
    security: Security = "tls" if parts.scheme == "imaps" else "starttls"
    if query.get("security") == ["none"] and parts.scheme == "imap":
        security = "none"
    numbers = {name: int(values[0]) for name, values in query.items() if name in _LIMITS and values[0].isdecimal()}
    folders = (unquote(piece).strip() for piece in parts.path.strip("/").split(","))
    return Place(
        host=parts.hostname or "",
        port=parts.port or _PORTS.get(parts.scheme, 993),
        user=unquote(parts.username or ""),
        security=security,
        folders=tuple(folder for folder in folders if folder),
        limits=Limits(**{name: _within(name, number) for name, number in numbers.items()}),
    )


def address_of(
    user: str, host: str, *, port: int | None = None, security: Security = "tls", folders: Sequence[str] = (),
    limits: Limits | None = None,
) -> str:  # fmt: skip
    """The address of a mailbox on an IMAP server; ``place_of`` says the same of it."""
    scheme = "imaps" if security == "tls" else "imap"
    at = f"[{host}]" if ":" in host else host
    where = ",".join(quote(folder, safe="*") for folder in folders)
    query = {"security": "none"} if security == "none" else {}
    chosen, usual = limits or Limits(), Limits()
    query |= {name: str(value) for name in sorted(_LIMITS) if (value := getattr(chosen, name)) != getattr(usual, name)}
    address = f"{scheme}://{quote(user, safe='')}@{at}:{_PORTS[scheme] if port is None else port}/{where}"
    return f"{address}?{urlencode(query)}" if query else address


def _within(name: str, number: int) -> int:
    if name == "parts":
        return min(max(number, 1), 10_000)
    return min(number, MOST_CHARACTERS if name == "text_characters" else MOST_BYTES)


def config_warnings(base_url: str) -> Warnings:
    """The mistakes in an address, worst first; empty when none is seen."""
    return [*_of_imap(base_url.strip())] if is_imap(base_url) else [*_of_gmail(base_url.strip())]


def _of_imap(base_url: str) -> Iterator[tuple[str, str]]:
    parts, place = split_url(base_url), place_of(base_url)
    if not place.host or not place.user:
        yield "The address of the mailbox lacks its user or its host.", "Write it as imaps://user@host."
    if parts.password is not None:
        yield "The address of the mailbox has a password in it, which is left out.", "Store the password by itself."
    if place.security == "none" and not is_loopback(place.host):
        yield "The mailbox would be read without encryption.", "Write imaps:// (port 993) or leave security=none out."
    unknown = sorted(parse_qs(parts.query).keys() - _LIMITS - {"security"})
    if unknown:
        yield f"The address of the mailbox says {unknown[0]}, which means nothing.", f"Known are {', '.join(_LIMITS)}."


def _of_gmail(base_url: str) -> Iterator[tuple[str, str]]:
    parts = split_url(base_url)
    host = parts.hostname or ""
    if is_loopback(host):
        return
    if host != "gmail.googleapis.com":
        yield (
            f"GMAIL_BASE_URL leads to {host or 'no host'}, which is not Google's Gmail API.",
            (f"Set GMAIL_BASE_URL={GMAIL}, or an address that begins with imaps://."),
        )
    elif parts.scheme != "https":
        yield "GMAIL_BASE_URL uses http; Google answers only https.", f"Set GMAIL_BASE_URL={GMAIL}."
    elif parts.path.strip("/"):
        yield "GMAIL_BASE_URL has a path; Google's address has none.", f"Set GMAIL_BASE_URL={GMAIL}."

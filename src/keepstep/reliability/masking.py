"""What may be written down of what somebody sent: a summary without secrets. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

MASK = "••••"
MOST_CHARACTERS = 500
MOST_VALUES = 50
DEEPEST = 6
SHORTEST_SECRET = 6
"""Secrets shorter than this are not looked for in texts: they would be found in the middle of ordinary words."""

SHORTEST_TOKEN = 12
"""Values of a query shorter than this (a version, a permission) are no signatures."""

_SECRET_ANYWHERE = frozenset(
    ("password", "passwd", "passphrase", "secret", "credential", "webhook", "authorization", "cookie", "dsn")
)
_SECRET_AT_THE_END = frozenset(("key", "token", "session"))
_NO_SECRETS = frozenset(("record key", "primary key"))
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {MASK}"),
    (re.compile(r"\bkeepstep_[\w-]{20,}"), f"keepstep_{MASK}"),
    (re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@"), rf"\1:{MASK}@"),
)


def is_secret(name: str) -> bool:
    """Whether a value of this name is one: ``apiKey``, ``ADMIN_SYNC_TOKEN``, ``newPassword``, ``teams_webhook``."""
    words = [word.removesuffix("s") for word in _words(name)]
    if not words or " ".join(words) in _NO_SECRETS:
        return False
    return words[-1] in _SECRET_AT_THE_END or not _SECRET_ANYWHERE.isdisjoint(words)


def secrets_within(address: str) -> tuple[str, ...]:
    """The secret parts of an address: its password, and what its query gives (a webhook's signature).

    Each as written and as meant; nothing where it is no address.
    """
    try:
        parts = urlsplit(address)
        password = parts.password or ""
    except ValueError:
        return ()
    if not parts.scheme:
        return ()
    values = [value for _, value in parse_qsl(parts.query) if len(value) >= SHORTEST_TOKEN]
    written = [part.partition("=")[2] for part in parts.query.split("&")]
    found = [password, unquote(password), *values, *(value for value in written if len(value) >= SHORTEST_TOKEN)]
    return tuple(dict.fromkeys(filter(None, found)))


def masked_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Text without the secrets given, nor anything else that looks like one."""
    for secret in sorted((s for s in secrets if len(s) >= SHORTEST_SECRET), key=len, reverse=True):
        text = text.replace(secret, MASK)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def summary(payload: Mapping[str, object], secrets: Iterable[str] = ()) -> dict[str, Any]:
    """A payload as the admin log keeps it: plain JSON, secrets masked, long texts and lists cut.

    A value whose name says that it is a secret is masked whatever it is; that it is empty or None is still told.
    """
    secrets = tuple(secrets)
    return {_text(str(name), secrets): _value(str(name), value, secrets, 0) for name, value in payload.items()}


def _value(name: str, value: object, secrets: Sequence[str], depth: int, *, hide: bool = False) -> Any:
    hide = hide or is_secret(name)
    match value:
        case None | bool():
            return value
        case Mapping() | list() | tuple() | set() | frozenset() if depth >= DEEPEST:
            return "…"
        case Mapping():
            pairs = list(value.items())[:MOST_VALUES]
            return {
                _text(str(key), secrets): _value(str(key), inner, secrets, depth + 1, hide=hide) for key, inner in pairs
            }
        case list() | tuple() | set() | frozenset():
            inner = [_value("", one, secrets, depth + 1, hide=hide) for one in list(value)[:MOST_VALUES]]
            return [*inner, f"… {len(value) - MOST_VALUES} more"] if len(value) > MOST_VALUES else inner
        case int() | float() if not hide:
            return value if abs(value) < 1e300 else _text(str(value), secrets)  # JSON has no infinity
        case "":
            return ""
        case _:
            return MASK if hide else _text(str(value), secrets)


def _text(text: str, secrets: Sequence[str]) -> str:
    # PostgreSQL's JSON takes neither NUL nor half a surrogate pair.
    text = masked_text(text, secrets).encode("utf-8", "replace").decode().replace("\0", "�")
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


def _words(name: str) -> list[str]:
    split = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", name)
    return re.findall(r"[a-z0-9]+", split.lower())

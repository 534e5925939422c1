"""What each kind of value must look like, and what to say where it does not.

Each rule returns the value to use, or raises an error that carries the two sentences of a ``Problem``; none quotes
the value.
"""

import re
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr
from pydantic_core import PydanticCustomError

from keepstep.alerts.rules import QuietHours
from keepstep.model.schema import SchemaPolicies


def _refuse(message: str, fix: str) -> PydanticCustomError:
    # Both sentences travel as context: as a template, a brace in them would be read as a place to fill in.
    return PydanticCustomError("refused", "{reason}", {"reason": message, "fix": fix})


def directory(given: object) -> object:
    """A path, absolute: relative ones count from the working directory, ``~`` is the user's own."""
    if not isinstance(given, str | Path):
        return given
    try:
        path = Path(given).expanduser()
    except RuntimeError:
        raise _refuse("names an unknown user's directory", "Write the path in full.") from None
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # no working directory, or links in a circle: opening it will say so
        return path


def host(host: str) -> str:
    """A bare host name or address, of either family."""
    try:
        ip_address(host)
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", host):
            raise _refuse(
                "is not a host name or address",
                "Give it bare (127.0.0.1, 0.0.0.0, ::1), without scheme, brackets or port; the port is KEEPSTEP_PORT.",
            ) from None
    return host


def web_address(url: str) -> str:
    """An http or https address with a host. What the host should be is the integration's to say."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", url):
        raise _refuse("is not a web address", "Give an address that begins with https:// and has no quotes or spaces.")
    return url


def database(secret: SecretStr | None) -> SecretStr | None:
    """A PostgreSQL address, or a connection string of ``name=value`` pairs."""
    if secret is None:
        return None
    text = secret.get_secret_value()
    scheme = text.split("://", 1)[0].lower() if "://" in text else ""
    if scheme in ("postgresql", "postgres") or (not scheme and re.match(r"[a-z_]+\s*=", text)):
        return secret
    if text[0] in "\"'`":
        raise _refuse("is in quotes", "Take the quotes away.")
    if scheme.startswith(("postgresql+", "postgres+", "jdbc:postgresql")):
        raise _refuse(
            "is written for another library", "Begin it with postgresql:// and nothing between the word and the colon."
        )
    raise _refuse(
        "is not an address of a PostgreSQL database", "Write it as postgresql://user:password@host:5432/database."
    )


def keys(secret: SecretStr | None) -> SecretStr | None:
    """One or more keys with commas between them."""
    if secret is not None and not split(secret.get_secret_value()):
        raise _refuse("holds no key", "Give one key, or several with commas between them, the newest first.")
    return secret


def token(secret: SecretStr | None) -> SecretStr | None:
    """What an HTTP header can carry as a bearer token."""
    if secret is not None and not re.fullmatch(r"[\x21-\x7e]+", secret.get_secret_value()):
        raise _refuse(
            "cannot be sent in a header",
            "Use only plain letters, digits and signs, without spaces; openssl rand -hex 32 makes a good one.",
        )
    return secret


def webhook(secret: SecretStr | None) -> SecretStr | None:
    """A web address that is itself a secret."""
    if secret is not None:
        web_address(secret.get_secret_value())
    return secret


def schema_policy(given: str) -> str:
    """The policies of entities, written in one way."""
    try:
        return str(SchemaPolicies.parsed(given))
    except ValueError:
        raise _refuse(
            "names a policy that does not exist",
            "Write evolve, keep or stop, for one entity like leases=evolve, with commas between them.",
        ) from None


def split(text: str) -> tuple[str, ...]:
    """The parts of a list, each once, whether commas, semicolons or spaces are between them."""
    return tuple(dict.fromkeys(part for part in re.split(r"[\s,;]+", text) if part))


def names(given: object) -> object:
    """A list of lower-case names."""
    if not isinstance(given, str):
        return given
    names = split(given.lower())
    if not names:
        raise _refuse("names no entity", "Give names with commas between them, for example owners,units.")
    return names


def origins(given: object) -> object:
    """Origins of pages, as a browser writes them."""
    if not isinstance(given, str):
        return given
    found = tuple(part.rstrip("/").lower() for part in split(given))
    for origin in found:
        if web_address(origin) and (urlsplit(origin).path or urlsplit(origin).query or "@" in origin):
            raise _refuse("is not an origin", "Give scheme, host and port only, such as https://crm.example.com.")
    return found


def maybe_web_address(url: str | None) -> str | None:
    """A web address, or none."""
    return None if url is None else web_address(url)


_HOURS = re.compile(r"(\d{1,2})\s*-\s*(\d{1,2})")


def hours(text: str) -> str:
    """Two hours of the day, with a hyphen between them; or nothing."""
    found = _HOURS.fullmatch(text)
    if text and (found is None or max(int(found[1]), int(found[2])) > 24):
        raise _refuse("names no hours", "Write two hours of the day (UTC) such as 22-6, or leave it out.")
    return text


_INTERVAL = re.compile(r"([a-z_]+)\s*=\s*([0-9]{1,4})")


def intervals(text: str) -> str:
    """Names with minutes, written in one way."""
    found = [_INTERVAL.fullmatch(part) for part in split(re.sub(r"\s*=\s*", "=", text.lower()))]
    if not all(one and 5 <= int(one[2]) <= 1440 for one in found):
        raise _refuse("names no intervals", "Write orders=10,prices=60, with 5 to 1440 minutes each.")
    return ",".join(f"{one[1]}={int(one[2])}" for one in found if one)


def minutes_of(text: str) -> dict[str, int]:
    """The minutes of each name in what ``intervals`` gave."""
    return {one[1]: int(one[2]) for part in split(text) if (one := _INTERVAL.fullmatch(part))}


def quiet_hours(text: str) -> QuietHours | None:
    """The hours as they are kept to."""
    found = _HOURS.fullmatch(text)
    return QuietHours(int(found[1]) % 24, int(found[2]) % 24) if found else None

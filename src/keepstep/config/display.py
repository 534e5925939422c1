"""How settings are shown to people: every value with its source, secrets masked."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from keepstep.config import rules
from keepstep.config.settings import VARIABLES, Settings, accepts, default_text, plain


@dataclass(frozen=True, slots=True)
class Described:
    """One line of ``keepstep config show``: the value in effect, masked, and where that value comes from."""

    variable: str
    value: str
    source: Literal["environment", "default"]
    note: str
    meaning: str
    accepts: str


def reference() -> list[tuple[str, str, str, str]]:
    """Variable, default, what it accepts, meaning: the rows of the table in ``docs/configuration.md``."""
    return [(about.name, default_text(field), accepts(field), about.meaning) for field, about in VARIABLES.items()]


def describe(settings: Settings) -> list[Described]:
    """Every variable with its value in effect, secrets masked, in the order of the documentation."""
    lines = []
    for field, about in VARIABLES.items():
        notes = [problem for problem in settings.problems if problem.variable == about.name]
        lines.append(
            Described(
                variable=about.name,
                value=_shown(field, getattr(settings, field)),
                source="environment" if field in settings.model_fields_set else "default",
                note=" ".join(f"{problem.message} {problem.fix}" for problem in notes),
                meaning=about.meaning,
                accepts=accepts(field),
            )
        )
    return lines


def masked(secret: str) -> str:
    """``dl_a…1f3c`` for a secret long enough that its ends give nothing away, else dots."""
    return f"{secret[:4]}…{secret[-4:]}" if len(secret) >= 20 else "••••"


def masked_database(url: str) -> str:
    """A database address or connection string without its passwords."""
    # As far as the last @: a password that was not percent-encoded may hold one itself.
    url = re.sub(r"^([a-z]+://[^:@/?#]*):.*@", r"\1:••••@", url, flags=re.IGNORECASE | re.DOTALL)
    return re.sub(r"(\b\w*password\s*=\s*)('(?:\\.|[^'])*'?|[^\s&]+)", r"\1••••", url, flags=re.IGNORECASE)


def _shown(field: str, value: object) -> str:
    """The value as a person may see it, in characters that any terminal takes."""
    if value is None:
        text = VARIABLES[field].absent
    elif isinstance(value, SecretStr):
        text = _masked_as(field, value.get_secret_value())
    elif field.endswith("_base_url"):
        text = re.sub(r"//[^/@]*@", "//••••@", str(value))
    else:
        text = plain(value)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _masked_as(field: str, secret: str) -> str:
    match field:
        case "database_url" | "direct_database_url":
            return masked_database(secret)
        case "secret_key":
            return ", ".join("••••" for _ in rules.split(secret))
        case "apprise_urls":
            return ", ".join(f"{address.partition('://')[0]}://…••••" for address in rules.split(secret))
        case "teams_webhook":  # its path and its signature let anybody post
            return f"https://{urlsplit(secret).hostname}/…••••"
        case _:
            return masked(secret)

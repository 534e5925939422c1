"""How an Italian ERP prints numbers and dates, read strictly: what is not exactly one of them is a ``ValueError``."""

import re
from datetime import date
from decimal import Decimal

_NUMBER = re.compile(
    r"(?:(?:€|EUR) ?)?(?P<minus>-)?(?P<whole>[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]+)(?:,(?P<part>[0-9]+))?"
    r"(?P<after>-| ?[AD])?(?: ?(?:€|EUR))?"
)
_DATE = re.compile(r"([0-9]{2})([/.-])([0-9]{2})\2([0-9]{4})")
_SWAPPED = str.maketrans(",.", ".,")
_CREDIT = frozenset({"-", "A"})


def number(text: str) -> Decimal:
    """``1.234,56`` as a number, its decimals kept as printed.

    A minus may stand before or after it; ``A`` (avere) behind it makes it negative, ``D`` (dare) does not.
    """
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a number such as 1.234,56")
    after = (found["after"] or "").strip()
    if found["minus"] and after:
        raise ValueError(f"{text!r} has two signs")
    whole, part = found["whole"].replace(".", ""), found["part"]
    amount = Decimal(f"{whole}.{part}" if part else whole)
    return -amount if found["minus"] or after in _CREDIT else amount


def as_printed(amount: Decimal) -> str:
    """A number as it stands on a report, for people who compare: ``1.234,56``."""
    return f"{amount:,}".translate(_SWAPPED)


def whole_number(text: str) -> int:
    """``1.234`` or ``1234`` as a number without decimals."""
    amount = number(text)
    if amount != amount.to_integral_value():
        raise ValueError(f"{text!r} is not a whole number")
    return int(amount)


def calendar_date(text: str) -> date:
    """``31/12/2026`` as a date; dots and dashes may stand for the slashes. The year always has four digits."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a date such as 31/12/2026")
    day, _, month, year = found.groups()
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        raise ValueError(f"{text!r} is not a day of the calendar") from None


def vat_number_holds(text: str) -> bool:
    """Whether a Partita IVA has eleven digits and the last one proves the others."""
    if not re.fullmatch(r"[0-9]{11}", text):
        return False
    return check_digit(text[:10]) == text[10]


def check_digit(ten: str) -> str:
    """The eleventh digit of a Partita IVA: odd places as they are, even places doubled, nines cast out."""
    total = 0
    for place, digit in enumerate(ten):
        doubled = int(digit) * (place % 2 + 1)
        total += doubled if doubled < 10 else doubled - 9
    return str(-total % 10)

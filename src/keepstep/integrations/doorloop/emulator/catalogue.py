"""Which lists there are, how each is ordered unless asked otherwise, and which filters it knows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.doorloop.emulator.table import Test, View


@dataclass(frozen=True, slots=True)
class Listing:
    """One list. ``sort``: its default order (None: the order of making, which follows no field). ``filters``:
    parameter -> (field, how the value given is compared).
    """

    sort: str | None
    descending: bool
    filters: Mapping[str, tuple[str, str]]


_STATUS = {"filter_status": ("status", "equal")}
_TEXT = {"filter_text": ("name", "text")}
_CREATED = {"filter_createdAt_from": ("createdAt", "from"), "filter_createdAt_to": ("createdAt", "to")}
_DATED = {"filter_date_from": ("date", "from"), "filter_date_to": ("date", "to"), "filter_lease": ("lease", "equal")}
_PROPERTY = {"filter_property": ("property", "equal")}

LISTINGS: Mapping[str, Listing] = {
    "accounts": Listing("name", False, _TEXT),
    "communications": Listing(None, False, {}),
    "expenses": Listing("date", True, _DATED),
    "files": Listing(None, False, {}),
    "lease-charges": Listing("date", True, _DATED),
    "lease-credits": Listing("date", True, _DATED),
    "lease-payments": Listing("date", True, _DATED),
    "lease-reversed-payments": Listing("date", True, _DATED),
    "leases": Listing(
        None,
        False,
        _TEXT
        | _PROPERTY
        | _STATUS
        | {
            "filter_unit": ("units", "member"),
            "filter_term": ("term", "equal"),
            "filter_start_date_from": ("start", "from"),
            "filter_start_date_to": ("start", "to"),
            "filter_end_date_from": ("end", "from"),
            "filter_end_date_to": ("end", "to"),
            "filter_outstandingBalanceGreaterThan": ("outstandingBalance", "above"),
        },
    ),
    "leases/tenants": Listing("name", False, _TEXT | _PROPERTY | _STATUS | {"filter_lease": ("lease", "equal")}),
    "notes": Listing(None, False, {}),
    "notifications": Listing(None, False, {}),
    "owners": Listing(
        "name",
        False,
        _TEXT | _CREATED | {"filter_active": ("active", "flag"), "filter_property": ("properties", "member")},
    ),
    "properties": Listing(
        "name", False, _TEXT | {"filter_class": ("class", "equal"), "filter_owner": ("owners", "owner")}
    ),
    "property-groups": Listing("name", False, _TEXT),
    "tasks": Listing(None, False, _PROPERTY | _STATUS | _CREATED | {"filter_type": ("type", "equal")}),
    "tenants": Listing(
        "name", False, _TEXT | {"filter_type": ("type", "equal"), "filter_property": ("prospectInfo", "interest")}
    ),
    "units": Listing("name", False, _TEXT | _PROPERTY | {"filter_active": ("active", "flag")}),
    "users": Listing("name", False, {}),
    "vendor-bills": Listing("date", True, _DATED),
    "vendor-credits": Listing("date", True, _DATED),
    "vendors": Listing("name", False, _TEXT | _CREATED | {"filter_active": ("active", "flag")}),
}

_COMPARE: Mapping[str, Callable[[Any, str], bool]] = {
    "equal": lambda value, given: value == given,
    "member": lambda value, given: isinstance(value, list) and given in value,
    "owner": lambda value, given: isinstance(value, list) and any(share.get("owner") == given for share in value),
    "interest": lambda value, given: given in repr(value),
    "text": lambda value, given: isinstance(value, str) and given.casefold() in value.casefold(),
    "from": lambda value, given: isinstance(value, str) and value[:10] >= given[:10],
    "to": lambda value, given: isinstance(value, str) and value[:10] <= given[:10],
    "above": lambda value, given: isinstance(value, int | float) and value > _number(given),
    # A record whose flag cannot be read (a poisoned one) is shown among the active ones.
    "flag": lambda value, given: (value is not False) == (given == "true"),
}


def entity_at(path: str, options: EmulatorOptions) -> str | None:
    """The list that a path below ``/api/`` names, both spellings of the two disputed ones included; None for no
    list.
    """
    if path in ("lease-reversed-payments", "lease-returned-payments"):
        return "lease-reversed-payments" if options.returned_payments in ("both", path) else None
    if path in ("portfolios", "property-groups"):
        return "property-groups" if options.portfolios in ("both", path) else None
    return path if path in LISTINGS else None


def test_for(entity: str) -> Callable[[str, str], tuple[str, Test]]:
    """How the filters of one list read: parameter and value given -> (field, test of the field's value)."""
    filters = LISTINGS[entity].filters

    def test(parameter: str, given: str) -> tuple[str, Test]:
        field, how = filters[parameter]
        compare = _COMPARE[how]
        return field, lambda value: compare(value, given)

    return test


def view_of(entity: str, query: Mapping[str, str], sort: str | None, options: EmulatorOptions) -> View:
    """The view that a query asks for. Unknown parameters are ignored; units show active ones only unless told
    otherwise.
    """
    filters = {name: query[name] for name in LISTINGS[entity].filters if query.get(name)}
    if entity == "units":
        asked = filters.setdefault("filter_active", "true")
        if asked != "true" and options.filter_active_false == "all":
            del filters["filter_active"]
    return View(sort, tuple(sorted(filters.items())))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0

"""What the emulated ERP holds: rows of every report, made from a seed, changed on command."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from keepstep.integrations.erp.emulator import names
from keepstep.integrations.erp.emulator.options import EmulatorOptions
from keepstep.integrations.erp.layout import LAYOUTS, Layout, Value
from keepstep.integrations.erp.numbers import check_digit

Row = dict[str, Value]
Which = int | Sequence[str]
"""How many rows (picked by chance), or their keys."""

SEED_DAY = date(2026, 9, 30)
SEED_TIME = datetime(2026, 10, 1, 6, 0, tzinfo=UTC).timestamp()
SHARED = ""
"""The agent of reports that have none."""

_CHANGED = {
    "customers": "balance",
    "orders": "amount",
    "ddt": "weight",
    "invoices": "open",
    "products": "stock",
    "prices": "price",
}


class Ledger:
    """Rows that can be read and changed. Methods raise ``ValueError`` in plain words for what is not possible."""

    def __init__(self, options: EmulatorOptions) -> None:
        self.options = options
        self.reset({})

    def reset(self, values: Mapping[str, Any]) -> None:
        """Back to the seed, with some options replaced."""
        self.options = self.options.changed(values)
        self._chance = random.Random(f"{self.options.seed}:changes")  # noqa: S311
        self._rows: dict[tuple[str, str], list[Row]] = {}
        self._changed_at: dict[tuple[str, str], float] = {}
        self._next: dict[tuple[str, str], int] = {}
        for report, layout in LAYOUTS.items():
            for agent in sorted(self.options.agents) if layout.per_agent else [SHARED]:
                count = getattr(self.options, report)
                chance = random.Random(f"{self.options.seed}:{report}:{agent}")  # noqa: S311
                self._rows[report, agent] = [_MAKERS[report](n, chance, agent) for n in range(count)]
                self._next[report, agent] = count
                self._changed_at[report, agent] = SEED_TIME

    def now(self) -> float:
        """The emulator's clock: real time and the offset."""
        return time.time() + self.options.clock_offset_s

    def place(self, report: str, agent: str) -> tuple[str, str]:
        """Where the rows of a report are kept. Raises ``ValueError`` where there are none."""
        layout = layout_of(report)
        where = (report, agent if layout.per_agent else SHARED)
        if where not in self._rows:
            raise ValueError(f"there is no agent {agent!r}; there are {', '.join(sorted(self.options.agents))}")
        return where

    def rows(self, report: str, agent: str) -> list[Row]:
        """The rows as the report prints them."""
        return self._rows[self.place(report, agent)]

    def changed_at(self, report: str, agent: str) -> float:
        """When they last changed."""
        return self._changed_at[self.place(report, agent)]

    def sizes(self) -> dict[str, int]:
        """How many rows each report has now."""
        return {f"{report}/{agent}".rstrip("/"): len(rows) for (report, agent), rows in sorted(self._rows.items())}

    def change(
        self, report: str, agent: str, *, create: int = 0, update: Which = 0, delete: Which = 0,
        patch: Mapping[str, Mapping[str, Value]] | None = None,
    ) -> dict[str, list[str]]:  # fmt: skip
        """Create, update (one number), delete and patch rows; gives their keys by kind of change."""
        where, layout = self.place(report, agent), layout_of(report)
        rows = {layout.key_of(row): row for row in self._rows[where]}
        deleted = self._picked(rows, delete)
        updated = [key for key in self._picked(rows, update) if key not in set(deleted)]
        for key in updated:
            name = _CHANGED[report]
            was = rows[key][name]
            rows[key][name] = (was if isinstance(was, Decimal) else Decimal(0)) + _money(self._chance, 1, 10**5)
        for key, fields in (patch or {}).items():
            if key not in rows:
                raise ValueError(f"{report} has no row {key!r}")
            rows[key] |= fields
        first = self._next[where]
        created = [_MAKERS[report](n, self._chance, where[1]) for n in range(first, first + create)]
        self._next[where] = first + create
        self._rows[where] = [row for key, row in rows.items() if key not in set(deleted)] + created
        self._changed_at[where] = max(self.now(), self._changed_at[where] + 60)
        return {
            "created": [layout.key_of(row) for row in created],
            "updated": [*updated, *(patch or {})],
            "deleted": deleted,
        }

    def _picked(self, rows: Mapping[str, Row], which: Which) -> list[str]:
        if not isinstance(which, int):
            unknown = [key for key in which if key not in rows]
            if unknown:
                raise ValueError(f"there is no row {unknown[0]!r}")
            return list(which)
        if not 0 <= which <= len(rows):
            raise ValueError(f"there are {len(rows)} rows, not {which}")
        return self._chance.sample(list(rows), which)


def layout_of(report: str) -> Layout:
    """The layout of a report. Raises ``ValueError``."""
    if report not in LAYOUTS:
        raise ValueError(f"there is no report {report!r}; there are {', '.join(LAYOUTS)}")
    return LAYOUTS[report]


def _money(chance: random.Random, least: int, most: int) -> Decimal:
    return Decimal(chance.randrange(least, most)).scaleb(-2)


def _day(chance: random.Random, back: int) -> date:
    return SEED_DAY - timedelta(days=chance.randrange(back))


def _customer(n: int, chance: random.Random, agent: str) -> Row:
    city, province, postal = chance.choice(names.CITIES)
    ten = f"{chance.randrange(10**10):010}"
    return {
        "code": f"C{agent}{n + 1:05}" if agent.isdigit() else f"C{n + 1:05}",
        "name": f"{chance.choice(names.FIRMS)}",
        "address": f"{chance.choice(names.STREETS)}, {chance.randrange(1, 400)}",
        "postalCode": postal,
        "city": city,
        "province": province,
        "vatNumber": ten + check_digit(ten) if chance.random() < 0.9 else None,
        "phone": f"0{chance.randrange(10, 99)} {chance.randrange(10**6):06}" if chance.random() < 0.8 else None,
        "creditLimit": Decimal(chance.randrange(0, 500) * 10_000).scaleb(-2) if chance.random() < 0.5 else None,
        "balance": _money(chance, -(10**6), 10**8) if chance.random() < 0.8 else Decimal("0.00"),
    }


def _head(n: int, chance: random.Random, agent: str) -> Row:
    return {
        "number": f"{n // 2 + 1}" + (f"/{agent}" if agent.isdigit() else ""),
        "date": date(2026, 1 + n // 2 % 9, 1 + n % 28) if n % 2 else date(2025, 1 + n // 2 % 12, 1 + n % 28),
        "customer": f"C{n % 40 + 1:05}",
        "customerName": chance.choice(names.FIRMS),
    }


def _order(n: int, chance: random.Random, agent: str) -> Row:
    return _head(n, chance, agent) | {
        "reference": chance.choice(names.REFERENCES) or None,
        "delivery": _day(chance, 200) if chance.random() < 0.7 else None,
        "status": chance.choice(names.STATUSES),
        "amount": _money(chance, 0, 10**7),
    }


def _ddt(n: int, chance: random.Random, agent: str) -> Row:
    return _head(n, chance, agent) | {
        "reason": chance.choice(names.REASONS),
        "carriage": chance.choice(names.CARRIAGE),
        "parcels": chance.randrange(0, 3000),
        "weight": Decimal(chance.randrange(10**6)).scaleb(-3) if chance.random() < 0.9 else None,
    }


def _invoice(n: int, chance: random.Random, agent: str) -> Row:
    taxable = _money(chance, -(10**5), 10**7)
    vat = (taxable * chance.choice((22, 10, 4, 0)) / 100).quantize(Decimal("0.01")) + Decimal("0.00")
    return _head(n, chance, agent) | {
        "due": _day(chance, 120),
        "taxable": taxable,
        "vat": vat,
        "total": taxable + vat,
        "open": taxable + vat if chance.random() < 0.3 else None,
    }


def _code(n: int) -> str:
    return f"{('FER', 'ALI', 'EL.', 'A-')[n % 4]}{n + 1:05}"


def _product(n: int, chance: random.Random, _agent: str) -> Row:
    return {
        "code": _code(n),
        "description": chance.choice(names.GOODS),
        "unit": chance.choice(names.UNITS),
        "vatCode": chance.choice(names.VAT_CODES),
        "category": chance.choice(names.CATEGORIES),
        "barcode": f"80{chance.randrange(10**11):011}" if chance.random() < 0.6 else None,
        "stock": Decimal(chance.randrange(-1000, 10**6)).scaleb(-1),
        "cost": Decimal(chance.randrange(1, 10**7)).scaleb(-4) if chance.random() < 0.9 else None,
    }


def _price(n: int, chance: random.Random, _agent: str) -> Row:
    return {
        "product": _code(n // 2),
        "description": chance.choice(names.GOODS),
        "priceList": ("BASE", "RIV2")[n % 2],
        "unit": chance.choice(names.UNITS),
        "validFrom": _day(chance, 300) if chance.random() < 0.8 else None,
        "discount": Decimal(chance.randrange(0, 60)) if chance.random() < 0.4 else None,
        "price": Decimal(chance.randrange(1, 10**8)).scaleb(-4),
    }


_MAKERS: Mapping[str, Callable[[int, random.Random, str], Row]] = {
    "customers": _customer,
    "orders": _order,
    "ddt": _ddt,
    "invoices": _invoice,
    "products": _product,
    "prices": _price,
}

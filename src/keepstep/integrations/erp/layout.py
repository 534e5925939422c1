"""How each report is laid out, declared: its title, its columns by their headers, what begins a row, what proves it.

A report is read by nothing but its layout. When the ERP prints one differently, its layout here gets the change and a
new ``version``, which every row read with it carries.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType

from keepstep.integrations.erp.numbers import calendar_date, number, whole_number

LINEAGE = ("sourceDocument", "sourcePage", "sourceRow", "sourceLayout")
"""The fields of a record that say where it was read."""
Value = str | int | Decimal | date | None
"""What one cell holds; None where nothing is printed."""


class Type(StrEnum):
    """What a column holds. Numbers end where their header ends, everything else begins where its header begins."""

    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole"
    DATE = "date"


_READERS: Mapping[Type, Callable[[str], Value]] = MappingProxyType(
    {Type.TEXT: str, Type.NUMBER: number, Type.WHOLE: whole_number, Type.DATE: calendar_date}
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the field it becomes, its header as printed, its type.

    ``wraps``: a cell may go on in further lines. ``needed``: a row without it is no row of this report.
    """

    field: str
    header: str
    type: Type = Type.TEXT
    wraps: bool = False
    needed: bool = False

    @property
    def to_the_right(self) -> bool:
        """Whether its cells end, rather than begin, where its header does."""
        return self.type in (Type.NUMBER, Type.WHOLE)

    def read(self, text: str) -> Value:
        """The value of a printed cell. Raises ``ValueError`` in plain words."""
        if text:
            return _READERS[self.type](text)
        if self.needed:
            raise ValueError("it is empty")
        return None


@dataclass(frozen=True, slots=True)
class Furniture:
    """What stands around the rows, as patterns of whole lines; groups hold the numbers that the proofs need.

    ``carried`` ends a page with the sum so far, ``brought`` repeats it on the next one; where ``carries`` is false,
    there are no such lines.
    """

    page: re.Pattern[str] = re.compile(r"Pag\. ?(\d+) ?di ?(\d+)")
    printed: re.Pattern[str] = re.compile(r"Stampato il (\d{2}/\d{2}/\d{4})(?: (?:ore )?(\d{2}:\d{2}))?")
    agent: re.Pattern[str] = re.compile(r"Agente: ?(\S+)")
    carried: str = "Segue"
    brought: str = "Riporto"
    total: str = "Totale"
    count: str = "Righe"
    carries: bool = True


@dataclass(frozen=True)
class Layout:
    """One report. ``anchor`` names the column that has a value in the first line of every row, and only there;
    ``anchored`` is the shape of that value. ``totals`` names the columns whose sum is printed. ``key`` names the
    fields that make a row's key; of a date only its year goes in, because document numbers begin anew each year.
    """

    report: str
    version: int
    title: str
    columns: tuple[Column, ...]
    anchor: str
    anchored: re.Pattern[str]
    key: tuple[str, ...]
    totals: tuple[str, ...] = ()
    per_agent: bool = True
    furniture: Furniture = field(default_factory=Furniture)

    @property
    def name(self) -> str:
        """What a row's lineage calls it: ``customers/1``."""
        return f"{self.report}/{self.version}"

    @cached_property
    def by_field(self) -> Mapping[str, Column]:
        """The columns by the field they become."""
        return MappingProxyType({column.field: column for column in self.columns})

    def key_of(self, row: Mapping[str, Value]) -> str:
        """The key of a row."""
        return "/".join(_in_key(row[name]) for name in self.key)


def _in_key(value: Value) -> str:
    return str(value.year) if isinstance(value, date) else str(value)


_CODE = re.compile(r"[A-Z0-9][A-Z0-9.\-]{2,15}")
_NUMBERED = re.compile(r"[0-9]{1,8}(?:/[A-Z0-9]{1,4})?")


def _document(report: str, title: str, *columns: Column, totals: tuple[str, ...]) -> Layout:
    """A list of documents: a number of the year, a date, a customer, and what is its own."""
    head = (
        Column("number", "Numero", needed=True),
        Column("date", "Data", Type.DATE, needed=True),
        Column("customer", "Cliente", needed=True),
        Column("customerName", "Ragione sociale", wraps=True),
    )
    return Layout(
        report, 1, title, (*head, *columns), anchor="number", anchored=_NUMBERED, key=("date", "number"), totals=totals
    )


CUSTOMERS = Layout(
    "customers",
    1,
    "Elenco clienti",
    (
        Column("code", "Codice", needed=True),
        Column("name", "Ragione sociale", wraps=True, needed=True),
        Column("address", "Indirizzo", wraps=True),
        Column("postalCode", "CAP"),
        Column("city", "Località", wraps=True),
        Column("province", "Prov."),
        Column("vatNumber", "Partita IVA"),
        Column("phone", "Telefono"),
        Column("creditLimit", "Fido", Type.NUMBER),
        Column("balance", "Saldo", Type.NUMBER, needed=True),
    ),
    anchor="code",
    anchored=re.compile(r"[A-Z]{0,2}[0-9]{4,8}"),
    key=("code",),
    totals=("creditLimit", "balance"),
)
ORDERS = _document(
    "orders",
    "Elenco ordini",
    Column("reference", "Rif. cliente", wraps=True),
    Column("delivery", "Consegna", Type.DATE),
    Column("status", "Stato"),
    Column("amount", "Importo", Type.NUMBER, needed=True),
    totals=("amount",),
)
DDT = _document(
    "ddt",
    "Elenco DDT",
    Column("reason", "Causale", wraps=True),
    Column("carriage", "Porto"),
    Column("parcels", "Colli", Type.WHOLE, needed=True),
    Column("weight", "Peso kg", Type.NUMBER),
    totals=("parcels", "weight"),
)
INVOICES = _document(
    "invoices",
    "Elenco fatture",
    Column("due", "Scadenza", Type.DATE),
    Column("taxable", "Imponibile", Type.NUMBER, needed=True),
    Column("vat", "IVA", Type.NUMBER, needed=True),
    Column("total", "Importo", Type.NUMBER, needed=True),
    Column("open", "Residuo", Type.NUMBER),
    totals=("taxable", "vat", "total", "open"),
)
PRODUCTS = Layout(
    "products",
    1,
    "Elenco articoli",
    (
        Column("code", "Articolo", needed=True),
        Column("description", "Descrizione", wraps=True, needed=True),
        Column("unit", "UM"),
        Column("vatCode", "Cod. IVA"),
        Column("category", "Categoria", wraps=True),
        Column("barcode", "Barcode"),
        Column("stock", "Giacenza", Type.NUMBER, needed=True),
        Column("cost", "Costo", Type.NUMBER),
    ),
    anchor="code",
    anchored=_CODE,
    key=("code",),
    totals=("stock",),
    per_agent=False,
)
PRICES = Layout(
    "prices",
    1,
    "Listino prezzi",
    (
        Column("product", "Articolo", needed=True),
        Column("description", "Descrizione", wraps=True),
        Column("priceList", "Listino", needed=True),
        Column("unit", "UM"),
        Column("validFrom", "Valido dal", Type.DATE),
        Column("discount", "Sconto %", Type.NUMBER),
        Column("price", "Prezzo", Type.NUMBER, needed=True),
    ),
    anchor="product",
    anchored=_CODE,
    key=("priceList", "product"),
    totals=("price",),
    per_agent=False,
)

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {layout.report: layout for layout in (CUSTOMERS, ORDERS, DDT, INVOICES, PRODUCTS, PRICES)}
)
"""Every layout by its report, which is also its entity."""

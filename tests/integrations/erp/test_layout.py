"""What an Italian ERP prints is read strictly, and each layout is of a piece."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepstep.integrations.erp.layout import LAYOUTS, Column, Layout, Type
from keepstep.integrations.erp.numbers import (
    as_printed,
    calendar_date,
    check_digit,
    number,
    vat_number_holds,
    whole_number,
)


@pytest.mark.parametrize(
    ("printed", "amount"),
    [
        ("0,00", "0.00"), ("1.234,56", "1234.56"), ("1234,56", "1234.56"), ("12.345.678,9", "12345678.9"),
        ("1.234", "1234"), ("-1.234,50", "-1234.50"), ("1.234,50-", "-1234.50"), ("1.234,50 A", "-1234.50"),
        ("1.234,50A", "-1234.50"), ("1.234,50 D", "1234.50"), ("€ 7,00", "7.00"), ("7,00 €", "7.00"),
        ("0,001", "0.001"),
    ],
)  # fmt: skip
def test_a_printed_number_keeps_its_decimals_and_its_sign(printed: str, amount: str) -> None:
    assert number(printed) == Decimal(amount)
    assert str(number(printed)) == amount


@pytest.mark.parametrize(
    "printed",
    ["", " ", "1.23", "1,234.56", "12.34,5", "1.2345,00", ",5", "1,", "--1,00", "-1,00-", "-1,00 A", "1 234,00", "12a",
     "1.234.5", "1,00 B", "N3.1", "١٢٣"],
)  # fmt: skip
def test_what_is_no_italian_number_is_refused_in_words(printed: str) -> None:
    with pytest.raises(ValueError, match=r"is not a number|has two signs"):
        number(printed)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12))
def test_every_amount_comes_back_from_its_italian_form(amount: Decimal) -> None:
    printed = f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))

    assert as_printed(amount) == printed
    assert number(printed) == amount
    assert number(printed.lstrip("-") + ("-" if amount < 0 else "")) == amount


def test_a_whole_number_has_no_decimals() -> None:
    assert whole_number("1.234") == 1234
    assert whole_number("12,00") == 12
    with pytest.raises(ValueError, match="not a whole number"):
        whole_number("12,5")


@given(st.dates(min_value=date(1000, 1, 1)))
def test_every_date_comes_back_from_its_italian_form(day: date) -> None:
    assert calendar_date(day.strftime("%d/%m/") + f"{day.year:04}") == day


@pytest.mark.parametrize(
    "printed", ["31/02/2026", "1/2/2026", "01/02/26", "2026-02-01", "01/02-2026", "", "00/00/0000"]
)
def test_what_is_no_day_is_refused_in_words(printed: str) -> None:
    with pytest.raises(ValueError, match=r"is not a (date|day)"):
        calendar_date(printed)


@pytest.mark.parametrize("good", ["07643520567", "00743110157", "12345678903"])
def test_a_vat_number_is_proven_by_its_last_digit(good: str) -> None:
    assert vat_number_holds(good)
    assert check_digit(good[:10]) == good[10]
    assert not vat_number_holds(good[:10] + str((int(good[10]) + 1) % 10))
    assert not vat_number_holds(good[:10])


def test_an_empty_cell_is_nothing_unless_it_is_needed() -> None:
    assert Column("price", "Prezzo", Type.NUMBER).read("") is None
    with pytest.raises(ValueError, match="empty"):
        Column("price", "Prezzo", Type.NUMBER, needed=True).read("")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
def test_each_layout_names_columns_that_it_has(layout: Layout) -> None:
    fields = [column.field for column in layout.columns]
    headers = [column.header for column in layout.columns]

    assert len(set(fields)) == len(fields)
    assert len(set(headers)) == len(headers)
    assert {layout.anchor, *layout.key, *layout.totals} <= set(fields)
    assert layout.by_field[layout.anchor].needed
    assert all(layout.by_field[name].needed for name in layout.key)
    assert all(layout.by_field[name].to_the_right for name in layout.totals)
    assert layout.columns[0].field == layout.anchor
    assert not layout.anchored.fullmatch(layout.furniture.total)


def test_document_numbers_of_two_years_are_two_keys() -> None:
    layout = LAYOUTS["orders"]

    assert layout.key_of({"number": "12", "date": date(2025, 12, 30)}) == "2025/12"
    assert layout.key_of({"number": "12", "date": date(2026, 1, 2)}) == "2026/12"

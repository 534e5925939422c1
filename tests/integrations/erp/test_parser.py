"""Reports are read exactly, cell by cell, or not at all."""

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keepstep.integrations.erp.emulator.press import FLAWS, Sheet, print_report, print_scan
from keepstep.integrations.erp.layout import LAYOUTS, Furniture
from keepstep.integrations.erp.parser import check_file, parse
from keepstep.integrations.erp.refusal import Refused
from tests.integrations.erp.office import AGENT, PRINTED, printed, rows_of, truth_of

SHAPES: dict[str, dict[str, bool]] = {
    "unruled": {},
    "ruled": {"ruled": True},
    "a box around each cell": {"boxed": True},
    "page numbers at the foot": {"foot": True, "split_rows": True},
    "ruled, page numbers at the foot": {"foot": True, "ruled": True},
    "rows split between pages": {"split_rows": True},
    "a new column": {"new_column": True},
    "a moved column": {"moved_column": True},
    "ruled, a new and a moved column": {"ruled": True, "new_column": True, "moved_column": True},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("report", LAYOUTS)
def test_every_cell_of_every_report_is_read_as_it_was_meant(report: str, shape: str) -> None:
    how = SHAPES[shape]
    rows = rows_of(report, 120)
    _, document = printed(report, rows, **how)

    read = parse(document.pdf, LAYOUTS[report], agent=AGENT)

    assert list(read.records) == truth_of(report, rows, document, new_column="new_column" in how)
    assert list(read.keys) == [LAYOUTS[report].key_of(row) for row in rows]
    assert (read.pages, read.printed) == (document.pages, PRINTED)
    assert document.pages > 1
    assert read.new_columns == (("Zona",) if "new_column" in how else ())


@pytest.mark.parametrize("ruled", [False, True], ids=["unruled", "ruled"])
def test_a_report_of_5000_rows_is_read_exactly(ruled: bool) -> None:
    rows = rows_of("prices", 5000)
    _, document = printed("prices", rows, ruled=ruled)

    read = parse(document.pdf, LAYOUTS["prices"])

    assert list(read.records) == truth_of("prices", rows, document)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(report=st.sampled_from(list(LAYOUTS)), count=st.integers(0, 60), seed=st.integers(0, 10**6), ruled=st.booleans())
def test_any_rows_are_read_as_they_were_meant(report: str, count: int, seed: int, ruled: bool) -> None:
    rows = rows_of(report, count, seed)
    _, document = printed(report, rows, ruled=ruled, split_rows=not ruled)

    assert list(parse(document.pdf, LAYOUTS[report], agent=AGENT).records) == truth_of(report, rows, document)


@pytest.mark.parametrize("ruled", [False, True], ids=["unruled", "ruled"])
def test_a_report_cut_at_any_of_40_points_gives_a_reason_and_no_row(ruled: bool) -> None:
    _, document = printed("customers", rows_of("customers", 120), ruled=ruled)
    whole = document.pdf.rstrip()
    chance = random.Random(40)

    for _ in range(40):
        cut = chance.randrange(len(whole))
        with pytest.raises(Refused) as refused:
            parse(document.pdf[:cut], LAYOUTS["customers"], agent=AGENT)

        assert refused.value.code in ("report-cut-off", "report-not-pdf"), cut
        assert refused.value.detail


def test_a_report_whose_end_was_glued_on_again_gives_no_row() -> None:
    """What is missing inside shows also where the file's end looks whole, and where a reader could mend it."""
    _, document = printed("customers", rows_of("customers", 120))
    chance = random.Random(41)

    for _ in range(40):
        cut = chance.randrange(20, len(document.pdf) - 1100)
        gap = chance.randrange(1, 600)
        with pytest.raises(Refused):
            parse(document.pdf[:cut] + document.pdf[cut + gap :], LAYOUTS["customers"], agent=AGENT)


@pytest.mark.parametrize("ruled", [False, True], ids=["unruled", "ruled"])
@pytest.mark.parametrize(
    ("flaw", "code", "says"),
    [
        ("wrong-total", "report-total", "Fido adds up to 1.422.200,00, but 1.422.201,00 is printed"),
        ("wrong-carry", "report-carry", "Riporto on page 2"),
        ("wrong-count", "report-count", "120 rows were read, but 121"),
        ("lost-page", "report-pages", "printed as page"),
        ("lost-last-page", "report-pages", "printed as page 1 of"),
        ("repeated-page", "report-pages", "printed as page 1 of"),
        ("bad-cell", "report-cell", "'1.23' is not a number"),
        ("stray-text", "report-unreadable", "fiscali"),
        ("overflow", "report-unreadable", "page 1"),
        ("missing-column", "report-columns", "no column Ragione sociale"),
        ("other-agent", "report-other", "999"),
        ("other-title", "report-other", "Elenco clienti"),
    ],
)
def test_a_whole_file_that_does_not_prove_itself_is_refused(flaw: str, code: str, says: str, ruled: bool) -> None:
    _, document = printed("customers", rows_of("customers", 120), flaw=flaw, ruled=ruled)

    with pytest.raises(Refused) as refused:
        parse(document.pdf, LAYOUTS["customers"], agent=AGENT)

    assert refused.value.code == code
    assert says in refused.value.detail


def test_every_flaw_of_the_emulator_is_tried_above() -> None:
    (mark,) = [
        mark
        for mark in test_a_whole_file_that_does_not_prove_itself_is_refused.pytestmark  # type: ignore[attr-defined]
        if "flaw" in mark.args[0]
    ]
    assert {case[0] for case in mark.args[1]} == set(FLAWS)


def test_the_cell_that_failed_is_pointed_at() -> None:
    _, document = printed("customers", rows_of("customers", 120), flaw="bad-cell")

    with pytest.raises(Refused) as refused:
        parse(document.pdf, LAYOUTS["customers"], agent=AGENT)

    spot = refused.value.spot
    assert spot.row is not None
    assert spot.page == 2
    assert spot.box is not None
    assert 0 < spot.box[1] < spot.box[3] < 595


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "report-cut-off"),
        (b"  \n", "report-cut-off"),
        (b"<!DOCTYPE html><title>Errore</title>", "report-html"),
        (b"\xef\xbb\xbf\n<html>", "report-html"),
        (b'{"message": "no"}', "report-not-pdf"),
        (b"PK\x03\x04 a spreadsheet", "report-not-pdf"),
        (b"%PDF-1.4\nand then nothing", "report-cut-off"),
    ],
)
def test_what_is_no_whole_pdf_is_named(body: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        check_file(body)

    assert refused.value.code == code


def test_a_scan_is_refused_as_one() -> None:
    with pytest.raises(Refused) as refused:
        parse(print_scan(), LAYOUTS["customers"], agent=AGENT)

    assert refused.value.code == "report-scan"


def test_another_report_is_not_taken_for_this_one() -> None:
    _, document = printed("orders", rows_of("orders", 12))

    with pytest.raises(Refused) as refused:
        parse(document.pdf, LAYOUTS["invoices"], agent=AGENT)

    assert refused.value.code == "report-other"


@pytest.mark.parametrize("ruled", [False, True], ids=["unruled", "ruled"])
def test_a_layout_without_sums_or_without_carried_ones_is_proven_by_the_rest(ruled: bool) -> None:
    rows = rows_of("orders", 90)
    for layout in (
        replace(LAYOUTS["orders"], furniture=Furniture(carries=False)),
        replace(LAYOUTS["orders"], totals=()),
    ):
        document = print_report(Sheet(layout, rows, PRINTED, AGENT, ruled=ruled))
        lost = print_report(Sheet(layout, rows, PRINTED, AGENT, ruled=ruled, flaw="wrong-count"))

        assert list(parse(document.pdf, layout, agent=AGENT).records) == truth_of("orders", rows, document)
        with pytest.raises(Refused, match="report-count"):
            parse(lost.pdf, layout, agent=AGENT)
        with pytest.raises(Refused, match="report-"):
            parse(document.pdf, LAYOUTS["orders"], agent=AGENT)


def test_an_empty_report_is_one_whose_sums_are_nothing() -> None:
    _, document = printed("customers", [])

    read = parse(document.pdf, LAYOUTS["customers"], agent=AGENT)

    assert (read.records, read.pages) == ((), 1)

"""One kept document as its page shows it: what it is, whether its proofs hold, and why it was refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keepstep.model.diagnosis import explained
from keepstep.model.errors import NotFound
from keepstep.service.core import Service
from keepstep.service.report_cells import ERP, TITLES

PROOFS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("It begins and ends like a PDF, and came whole.",
     ("report-html", "report-not-pdf", "report-cut-off", "report-too-heavy")),
    ("Every page has text.", ("report-scan",)),
    ("Title and agent are those that were asked for.", ("report-other",)),
    ("Every page has all the columns that are known.", ("report-columns",)),
    ("Every page is there, and in its place.", ("report-pages",)),
    ("What is carried over from page to page is the sum so far.", ("report-carry",)),
    ("Every printed total is the sum of the rows.", ("report-total",)),
    ("The printed count is the number of the rows.", ("report-count",)),
    ("Every line has a place, every cell is of its type.", ("report-unreadable", "report-cell")),
    ("It was not printed before the one that was applied last.", ("report-old",)),
)  # fmt: skip
"""What a report must prove, with the faults that say that it did not (``docs/erp.md``)."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One of them. ``holds``: None where it is not known, because another one failed."""

    words: str
    holds: bool | None


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """A kept document. ``proven_at``: when a good one came after it; ``row`` of ``page``: where what failed stands."""

    id: int
    report: str
    agent: str
    hash: str
    size: int
    state: str
    error: dict[str, Any] | None
    page: int | None
    row: int | None
    box: list[float] | None
    first_seen: datetime
    last_seen: datetime
    times: int
    proven_at: datetime | None

    @property
    def title(self) -> str:
        """What it is, in words."""
        return TITLES.get(self.report, self.report) + (f" of {self.agent}" if self.agent else "")

    @property
    def name(self) -> str:
        """A name for it as a file."""
        return "-".join(filter(None, (self.report, _plain(self.agent), self.hash[:12])))

    @property
    def place(self) -> str:
        """Where what failed stands, in words; empty where that is not known."""
        page = f"page {self.page}" if self.page else ""
        return f"row {self.row} of {page}" if page and self.row else page

    @property
    def proofs(self) -> list[Proof]:
        """All of them."""
        code = (self.error or {}).get("code")
        proven = self.state == "proven"
        return [Proof(words, True if proven else False if code in codes else None) for words, codes in PROOFS]


async def report_document(service: Service, document_id: int) -> tuple[ReportDocument, Mapping[str, Any]]:
    """A document of the ERP's, and the row that ``Pictures`` draws it from. Raises ``NotFound``."""
    row = await service.documents.one(document_id)
    if row["integration"] != ERP:
        raise NotFound(f"Document {document_id} is no report of the ERP.", fix="Choose one on the page of the ERP.")
    same = ("id", "report", "agent", "hash", "size", "state", "page", "row", "box", "first_seen", "last_seen", "times",
            "proven_at")  # fmt: skip
    error = None if row["error"] is None else explained(row["error"])
    return ReportDocument(**{name: row[name] for name in same}, error=error), row


def _plain(text: str) -> str:
    """A text that any file system and any header can hold."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in text)[:40]

"""An emulated ERP for the tests of its connector, and the truth about its reports, made without reading one."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from keepstep.integrations.erp.connector import Erp, Keep
from keepstep.integrations.erp.emulator.ledger import Ledger, Row
from keepstep.integrations.erp.emulator.options import EmulatorOptions
from keepstep.integrations.erp.emulator.press import Printed, Sheet, print_report, zone_of
from keepstep.integrations.erp.emulator.server import ErpEmulator
from keepstep.integrations.erp.layout import LAYOUTS
from keepstep.integrations.erp.parser import document_hash
from keepstep.integrations.erp.reader import ReportReader
from keepstep.model.document import Document
from keepstep.model.integration import Entity, Integration
from keepstep.reliability.clock import Clock
from tests.integrations.upstream import ARMED, Armed, Upstream

AGENT = "007"
PRINTED = datetime(2026, 11, 5, 14, 32)  # noqa: DTZ001 - the ERP's own time


def printed(report: str, rows: Sequence[Row], **how: Any) -> tuple[Sheet, Printed]:
    """A report of the agent, printed."""
    sheet = Sheet(LAYOUTS[report], rows, PRINTED, f"{AGENT} Niccolò Già", **how)
    return sheet, print_report(sheet)


def rows_of(report: str, count: int, seed: int = 1) -> list[Row]:
    """Invented rows of the agent's."""
    return Ledger(EmulatorOptions(seed=seed, **{report: count})).rows(report, AGENT)


def truth_of(report: str, rows: Sequence[Row], document: Printed, *, new_column: bool = False) -> list[bytes]:
    """The records that a report must give."""
    layout, name = LAYOUTS[report], document_hash(document.pdf)
    truth = []
    for n, (row, (page, place)) in enumerate(zip(rows, document.places, strict=True)):
        values: dict[str, Any] = {"id": layout.key_of(row), **row}
        if new_column:
            values["Zona"] = zone_of(n) or None
        values |= {"sourceDocument": name, "sourcePage": page, "sourceRow": place, "sourceLayout": layout.name}
        truth.append(_json(values))
    return truth


def _json(values: dict[str, Any]) -> bytes:
    return ("{" + ",".join(f'"{name}":{_text(value)}' for name, value in values.items()) + "}").encode()


def _text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, date):
        return f'"{value.isoformat()}"'
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


class ErpUpstream(Upstream):
    """The emulator as the conformance suite sees it."""

    emulator: ErpEmulator
    many = "customers"
    armed: ClassVar[Armed] = {**ARMED, "page repeats": {"kind": "repeated-page"}}

    def __init__(self, emulator: ErpEmulator, base_url: str) -> None:
        super().__init__(emulator, base_url, emulator.options.password)
        self.reader = ReportReader(processes=2)
        self.kept: list[Document] = []
        self.keep: Keep = self._keep

    def integration(
        self, *, page_size: int = 20, max_concurrency: int = 3, clock: Clock | None = None, secret: str | None = None
    ) -> Integration:
        return self.erp(page_size=page_size, max_concurrency=max_concurrency, clock=clock, password=secret)

    def erp(
        self,
        *,
        page_size: int = 20,
        max_concurrency: int = 3,
        clock: Clock | None = None,
        password: str | None = None,
        agent: str = AGENT,
    ) -> Erp:
        made = Erp(
            base_url=self.base_url,
            username=self.emulator.options.username,
            password=self.secret if password is None else password,
            agent=agent,
            page_size=page_size,
            max_concurrency=max_concurrency,
            rate_limit_rps=0,
            clock=clock,
            keep=self.keep,
            reader=self.reader,
        )
        self._made.append(made)
        return made

    async def _keep(self, document: Document) -> None:
        self.kept.append(document)

    async def aclose(self) -> None:
        """Close everything that was made."""
        await super().aclose()
        await self.reader.aclose()

    def truth(self, entity: str) -> list[bytes]:
        return truth_of(entity, self.emulator.rows(entity, AGENT), self.emulator.document(entity, AGENT))

    def change(self, entity: str) -> set[str]:
        changed = self.emulator.change(entity, agent=AGENT, update=2, create=1)
        return {*changed["updated"], *changed["created"]}

    def arm(self, fault: str, *, once: bool = False, after: int = 0) -> None:
        # Of a file there is only one to be cut off.
        super().arm(fault, once=once, after=0 if self.armed[fault]["kind"] == "truncate" else after)

    def requests(self) -> int:
        return self.emulator.total

    def in_flight(self) -> int:
        return self.emulator.in_flight

    def most_in_flight(self) -> int:
        return self.emulator.most_in_flight


def entity(name: str) -> Entity:
    return next(entity for entity in Erp.entities if entity.name == name)


CUSTOMERS = entity("customers")

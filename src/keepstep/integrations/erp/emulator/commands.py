"""Every command that an emulated ERP takes, as methods. The control routes are these methods over HTTP."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from keepstep.integrations.emulation.emulator import Emulator
from keepstep.integrations.emulation.options import check_unseeded
from keepstep.integrations.erp.emulator.desk import Desk
from keepstep.integrations.erp.emulator.faults import Fault
from keepstep.integrations.erp.emulator.ledger import Ledger, Row, Which
from keepstep.integrations.erp.emulator.options import SEED_FIELDS, EmulatorOptions
from keepstep.integrations.erp.emulator.press import Printed
from keepstep.integrations.erp.layout import LAYOUTS, Type, Value


@dataclass(slots=True)
class Request:
    """One request on record; ``status`` is 0 while it is under way and where the connection was broken instead. No
    form and no cookie is kept.
    """

    number: int
    ts: float
    step: str
    report: str
    agent: str
    status: int = 0
    sent_bytes: int = 0
    fault: str = ""


class EmulatorCommands(Emulator[Fault, Request]):
    """The ledger, the desk, the armed faults and the record of requests."""

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        self.ledger = Ledger(options or EmulatorOptions())
        self.desk = Desk(self.ledger)
        self.in_flight = 0
        super().__init__(Fault, lambda: self.options)
        self.reset_requests()

    @property
    def options(self) -> EmulatorOptions:
        """The switches as they are now."""
        return self.ledger.options

    def change(
        self, report: str, *, agent: str = "", create: int = 0, update: Which = 0, delete: Which = 0,
        patch: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> dict[str, list[str]]:  # fmt: skip
        """Create, update, delete, patch rows; gives their keys. What was there before is yesterday's report."""
        self.desk.keep_for_later(report, agent)
        typed = {key: _typed(report, values) for key, values in (patch or {}).items()}
        return self.ledger.change(report, agent, create=create, update=update, delete=delete, patch=typed)

    def rows(self, report: str, agent: str = "") -> list[Row]:
        """The truth: every row of a report."""
        return self.ledger.rows(report, agent)

    def document(self, report: str, agent: str = "") -> Printed:
        """The report as it is printed now, and where each row stands on it."""
        return self.desk.document(report, agent)

    def switch(self, **values: Any) -> None:
        """Change switches; those that shape the data need ``reset``."""
        check_unseeded(values, SEED_FIELDS)
        self.ledger.options = self.options.changed(values)

    def reset(self, **values: Any) -> None:
        """Back to the seed (with other options, sizes included, if given): no fault, no session, nothing on record."""
        self.ledger.reset(values)
        self.desk.forget()
        self.clear_faults()
        self.reset_requests()

    def requests(self) -> list[Request]:
        """The requests on record, oldest first."""
        return list(self._last)

    def reset_requests(self) -> None:
        """Forget the requests and count anew; those under way stay in flight."""
        self.total = 0
        self.most_in_flight = self.in_flight
        self._by_step: Counter[str] = Counter()
        self._last: deque[Request] = deque(maxlen=self.options.requests_kept)

    def begin(self, step: str, report: str, agent: str) -> Request:
        """A request arrived."""
        self.total += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self._by_step[step] += 1
        request = Request(self.total, self.ledger.now(), step, report, agent)
        self._last.append(request)
        return request

    def state(self) -> dict[str, Any]:
        """Everything at a glance: sizes, switches, clock, armed faults, request counts."""
        counts = {"total": self.total, "in_flight": self.in_flight, "by_step": dict(sorted(self._by_step.items()))}
        return {
            "clock": self.ledger.now(),
            "rows": self.ledger.sizes(),
            "switches": self.options.shown(),
            "faults": [asdict(fault) for fault in self.faults.armed()],
            "requests": counts,
        }


def _typed(report: str, values: Mapping[str, Any]) -> dict[str, Value]:
    """Values from JSON as the report's columns hold them: numbers and dates may come as they are printed."""
    columns = LAYOUTS[report].by_field
    unknown: Sequence[str] = sorted(set(values) - set(columns))
    if unknown:
        raise ValueError(f"{report} has no {unknown[0]!r}; it has {', '.join(columns)}")
    return {
        name: columns[name].read(value) if isinstance(value, str) and columns[name].type is not Type.TEXT else value
        for name, value in values.items()
    }

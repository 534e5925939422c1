"""Faults on command: what can go wrong on the way to a report, or with the report itself."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from keepstep.integrations.erp.emulator.press import FLAWS

ON_THE_WAY: Mapping[str, tuple[str, ...]] = {
    "status": (),
    "html": (),
    "reset": ("rst", "close"),
    "hang": (),
    "latency": (),
    "truncate": ("connection", "body"),
    "bad-json": (),
    "envelope": ("list", "no-id", "no-status"),
    "logged-out": (),
}
"""Kind -> its variants, the first being the default. A kind may also be a status: ``429``, ``503``."""
OF_THE_REPORT = ("failed", "stuck", "scan", "empty", "yesterday", "new-column", "moved-column", *FLAWS)
"""What becomes of the report that a request asks for."""
STEPS = ("login", "request", "poll", "download")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and the requests it waits for.

    ``count``: how many requests it hits (None: all, for ever); ``after``: how many fitting ones it lets pass first.
    ``step``, ``report`` and ``agent`` narrow it. ``keep``: the share of a truncated file that arrives, or (1 and more)
    its bytes.
    """

    kind: str
    variant: str = ""
    count: int | None = 1
    after: int = 0
    step: str | None = None
    report: str | None = None
    agent: str | None = None
    status: int = 500
    retry_after: float | None = None
    seconds: float = 1.0
    keep: float = 0.6

    @classmethod
    def parsed(cls, given: Mapping[str, Any]) -> "Fault":
        """A fault from JSON. Raises ``ValueError`` saying which value is not possible."""
        values = dict(given)
        if values.pop("forever", False):
            values["count"] = None
        kind = str(values.pop("kind", ""))
        if kind.isdigit():
            values["status"], kind = int(kind), "status"
        known = [f.name for f in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"a fault has no {unknown[0]!r}; it has {', '.join(known)}, forever")
        if kind not in ON_THE_WAY and kind not in OF_THE_REPORT:
            kinds = ", ".join((*ON_THE_WAY, *OF_THE_REPORT))
            raise ValueError(f"no fault is called {kind!r}; there are {kinds} and statuses such as 429")
        fault = cls(kind, **values)
        fault._check()
        variants = ON_THE_WAY.get(kind, ())
        if fault.variant and fault.variant not in variants:
            raise ValueError(f"{kind} comes as {', '.join(variants) or 'one variant only'}, not {fault.variant!r}")
        return fault if fault.variant or not variants else replace(fault, variant=variants[0])

    def fits(self, step: str, report: str, agent: str) -> bool:
        """Whether a request is one that this fault waits for."""
        if self.step not in (None, step) or self.report not in (None, report) or self.agent not in (None, agent):
            return False
        if self.kind in OF_THE_REPORT:
            return step == "request"
        if self.kind in ("bad-json", "envelope"):
            return step in ("request", "poll")
        if self.kind == "logged-out":
            return step != "login"
        return self.kind != "truncate" or step == "download"

    def _check(self) -> None:
        whole = {"after": self.after, "status": self.status} | ({} if self.count is None else {"count": self.count})
        for name, value in whole.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} is a whole number of 0 or more, not {value!r}")
        for name, amount in (("retry_after", self.retry_after), ("seconds", self.seconds), ("keep", self.keep)):
            if amount is not None and (not isinstance(amount, int | float) or amount < 0):
                raise ValueError(f"{name} is a number of 0 or more, not {amount!r}")
        if not 200 <= self.status <= 599:
            raise ValueError("status lies between 200 and 599")
        if self.step not in (None, *STEPS):
            raise ValueError(f"step is one of {', '.join(STEPS)}, not {self.step!r}")

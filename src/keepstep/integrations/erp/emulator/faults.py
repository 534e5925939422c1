"""Faults on command: what can go wrong on the way to a report, or with the report itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from keepstep.integrations.emulation import faults
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
    "forgotten": (),
}
"""Kind -> its variants, the first being the default. A kind may also be a status: ``429``, ``503``."""
OF_THE_REPORT = ("failed", "stuck", "scan", "empty", "yesterday", "new-column", "moved-column", *FLAWS)
"""What becomes of the report that a request asks for."""
STEPS = ("login", "request", "poll", "download")


@dataclass(frozen=True, slots=True)
class Fault(faults.Fault):
    """One fault and the requests it waits for. ``step``, ``report`` and ``agent`` narrow it.

    ``keep``: the share of a truncated file that arrives, or (1 and more) its bytes.
    """

    KINDS: ClassVar[Mapping[str, tuple[str, ...]]] = {**ON_THE_WAY, **dict.fromkeys(OF_THE_REPORT, ())}
    step: str | None = None
    report: str | None = None
    agent: str | None = None

    def fits(self, step: str, report: str, agent: str) -> bool:
        """Whether a request is one that this fault waits for."""
        if self.step not in (None, step) or self.report not in (None, report) or self.agent not in (None, agent):
            return False
        if self.kind in OF_THE_REPORT:
            return step == "request"
        if self.kind in ("bad-json", "envelope"):
            return step in ("request", "poll")
        if self.kind == "forgotten":
            return step in ("poll", "download")
        if self.kind == "logged-out":
            return step != "login"
        return self.kind != "truncate" or step == "download"

    def check(self) -> None:
        """Raise ``ValueError`` for what is not possible besides numbers below 0."""
        if self.step not in (None, *STEPS):
            raise ValueError(f"step is one of {', '.join(STEPS)}, not {self.step!r}")

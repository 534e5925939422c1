"""The circuit breaker: after so many hard failures in a row nothing is sent for a while, then one probe.

::

    closed ── threshold failures in a row ──► open ── cooldown is over ──► half-open ── the probe is good ──► closed
                                               ▲                              │
                                               └───────── the probe fails ────┘
"""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from keepstep.reliability.pacing import Verdict


class Phase(StrEnum):
    """How the breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker(Struct, frozen=True, omit_defaults=True):
    """One breaker. Times are seconds since 1970; ``probe`` is the holder whose request is to decide."""

    failures: int = 0
    opened_at: float | None = None
    reopens_at: float | None = None
    probe: str | None = None

    def phase(self, now: float) -> Phase:
        """How it stands now."""
        if self.reopens_at is None:
            return Phase.CLOSED
        return Phase.OPEN if now < self.reopens_at else Phase.HALF_OPEN

    def heard(
        self, verdict: Verdict, count: int, now: float, *, holder: str, threshold: int, cooldown: float
    ) -> "Breaker":
        """After ``count`` requests of a holder that ended alike."""
        if self.reopens_at is not None:
            # Answers to requests that had left before it opened decide nothing.
            return self._probed(verdict, count, now + cooldown) if holder == self.probe else self
        if verdict is Verdict.GOOD:
            return Breaker() if self.failures else self
        if verdict is not Verdict.FAILED:
            return self
        failures = self.failures + count
        if failures < threshold:
            return replace(self, failures=failures)
        return Breaker(failures, opened_at=now, reopens_at=now + cooldown)

    def probing(self, holder: str) -> "Breaker":
        """With its probe out."""
        return replace(self, probe=holder)

    def without(self, holder: str) -> "Breaker":
        """When a holder has no request any more: if the probe was its, another one may be sent."""
        return replace(self, probe=None) if self.probe == holder else self

    def moved(self, seconds: float) -> "Breaker":
        """With all times so much later."""
        if self.opened_at is None or self.reopens_at is None:
            return self
        return replace(self, opened_at=self.opened_at + seconds, reopens_at=self.reopens_at + seconds)

    def _probed(self, verdict: Verdict, count: int, reopens_at: float) -> "Breaker":
        if verdict is Verdict.FAILED:
            return replace(self, failures=self.failures + count, reopens_at=reopens_at, probe=None)
        return replace(self, probe=None) if verdict is Verdict.UNCLEAR else Breaker()

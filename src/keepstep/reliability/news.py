"""What became of requests since the last report, gathered."""

from collections import Counter

from keepstep.reliability.pacing import Heard, Outcome, Verdict
from keepstep.reliability.politeness import Report

_MOST_HEARD = 20


class News:
    """Outcomes in the order they came. ``codes`` counts answers by status, ``none`` where there was no answer."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self._outcomes: list[tuple[Verdict, int]] = []
        self._sent = 0
        self._refused = 0
        self._pause: float | None = None
        self._heard: list[tuple[Heard, float]] = []

    def __bool__(self) -> bool:
        return self._sent > 0

    def add(self, outcome: Outcome, now: float) -> None:
        """One more. ``now`` is on a clock that does not go back."""
        self._sent += 1
        self.codes["none" if outcome.code is None else str(outcome.code)] += 1
        last, count = self._outcomes[-1] if self._outcomes else (None, 0)
        if last is outcome.verdict:
            self._outcomes[-1] = (outcome.verdict, count + 1)
        else:
            self._outcomes.append((outcome.verdict, 1))
        self._refused += outcome.code == 429
        if outcome.retry_after is not None and outcome.verdict in (Verdict.LIMITED, Verdict.FAILED):
            self._pause = max(self._pause or 0.0, now + outcome.retry_after)
        if outcome.heard is not None:
            self._heard = [*self._heard[1 - _MOST_HEARD :], (outcome.heard, now)]

    def taken(self, now: float) -> Report:
        """Everything but the codes as a report; gathering begins anew."""
        pause = None if self._pause is None else max(self._pause - now, 0.0)
        heard = tuple(
            Heard(h.limit, h.remaining, None if h.reset_in is None else max(h.reset_in - (now - at), 0.0))
            for h, at in self._heard
        )
        report = Report(tuple(self._outcomes), self._sent, self._refused, pause, heard)
        self._outcomes, self._sent, self._refused, self._pause, self._heard = [], 0, 0, None, []
        return report

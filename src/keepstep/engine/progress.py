"""How fast a run goes and how long it will still take. Pure: the clock's reading is given."""

from collections import deque
from dataclasses import dataclass, field


@dataclass
class Meter:
    """Rows per second over the last half minute, and the time left where the total is known."""

    started: float
    window: float = 30.0
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._marks.append((self.started, 0))

    def mark(self, now: float, rows: int) -> None:
        """``rows`` have been done at ``now`` (seconds of any steady clock)."""
        self._marks.append((now, rows))
        while len(self._marks) > 2 and now - self._marks[0][0] > self.window:
            self._marks.popleft()

    @property
    def rows_per_second(self) -> float:
        """0.0 until there is anything to measure."""
        (first, before), (last, after) = self._marks[0], self._marks[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def eta(self, total: int | None) -> float | None:
        """Seconds until ``total`` rows are done; None when there is no honest estimate."""
        speed = self.rows_per_second
        if total is None or speed <= 0:
            return None
        return max(0.0, (total - self._marks[-1][1]) / speed)

"""The last reading of the connections, kept for the reading of the contacts that follows it."""

from collections.abc import Sequence

from keepstep.integrations.google_contacts.position import Mark
from keepstep.integrations.google_contacts.reading import Sheet
from keepstep.reliability.clock import Clock

MOST_BYTES = 64 * 1024 * 1024
LONGEST = 300.0
"""Seconds after which a kept reading is too old to be anybody's."""


class Memory:
    """One whole reading, for one use.

    It only saves requests. Each entity has its own sync token, so what is read again instead is as right as what was
    kept: a reading is taken only by one that would find nothing else.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sheets: list[Sheet] = []
        self._bytes = 0
        self._mark: Mark | None = None
        self._kept = False
        self._whole_at: float | None = None

    def forget(self) -> None:
        """Keep nothing."""
        self._sheets, self._bytes, self._mark, self._kept, self._whole_at = [], 0, None, False, None

    def begin(self, mark: Mark | None) -> None:
        """A reading begins, of what changed since a mark, or (None) of everything."""
        self.forget()
        self._mark, self._kept = mark, True

    def add(self, sheet: Sheet) -> None:
        """One more sheet of it."""
        if not self._kept:
            return
        self._bytes += sum(len(record) for record in map(bytes, sheet.people.records))
        if sheet.anew or self._bytes > MOST_BYTES:
            self.forget()
            return
        self._sheets.append(sheet)
        if sheet.last:
            self._whole_at = self._clock.monotonic()

    def take(self, mark: Mark | None) -> Sequence[Sheet] | None:
        """The sheets of a reading that holds all that changed since a mark, or (None) everything; None: there is none.

        What was kept is forgotten either way.
        """
        sheets, whole_at, kept = self._sheets, self._whole_at, self._mark
        self.forget()
        if whole_at is None or self._clock.monotonic() - whole_at > LONGEST:
            return None
        if kept is None or mark is None:
            return sheets if kept is mark else None
        return sheets if kept.no_later_than(mark) else None

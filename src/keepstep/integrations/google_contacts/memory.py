"""The last reading of the connections, kept for the reading of the contacts that follows it."""

from collections.abc import Sequence

from keepstep.integrations.google_contacts.reading import Sheet
from keepstep.reliability.clock import Clock

MOST_BYTES = 64 * 1024 * 1024
LONGEST = 300.0
"""Seconds after which a kept reading is too old to be anybody's."""


class Memory:
    """One whole reading, for one use.

    It only saves requests. Each entity has its own sync token, so what is read again instead is as right as what was
    kept: a reading is taken only by one that would ask for the very same.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sheets: list[Sheet] = []
        self._bytes = 0
        self._token: str | None = None
        self._whole_at: float | None = None

    def begin(self, token: str | None) -> None:
        """A reading begins, from this sync token (empty: of everything); None: from the middle, so it is not kept."""
        self._sheets, self._bytes, self._token, self._whole_at = [], 0, token, None

    def add(self, sheet: Sheet) -> None:
        """One more sheet of it."""
        if self._token is None:
            return
        self._bytes += sum(len(record) for record in map(bytes, sheet.people.records))
        if sheet.anew or self._bytes > MOST_BYTES:
            self.begin(None)
            return
        self._sheets.append(sheet)
        if sheet.last:
            self._whole_at = self._clock.monotonic()

    def take(self, token: str) -> Sequence[Sheet] | None:
        """The sheets of a reading from this token; None where there is none. What was kept is forgotten either way."""
        sheets, whole_at, same = self._sheets, self._whole_at, self._token == token
        self.begin(None)
        if not same or whole_at is None or self._clock.monotonic() - whole_at > LONGEST:
            return None
        return sheets

"""Which events somebody has seen: all up to the highest, but for the gaps.

Events get their ids in order and are committed in any order, some never: a gap is where an event may still come. Every
process computes the same positions from the same database, so a browser that was served by one goes on at another.
"""

import re
from dataclasses import dataclass

Gap = tuple[int, int]
"""The first and the last id of a stretch of ids."""
MOST_GAPS = 100
"""More are not remembered: the oldest is given up."""
_ONE = r"\d{1,19}(?:\.\.\d{1,19})?"
_TEXT = re.compile(rf"(\d{{1,19}})(?:-({_ONE}(?:,{_ONE}){{0,{2 * MOST_GAPS - 1}}}))?", re.ASCII)
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Position:
    """Everything up to ``high`` is seen, except what lies in ``gaps``: apart, ascending, below ``high``.

    Its text is an event's id on the wire: ``1041``, or ``1041-1033,1036..1038`` where 1033 and 1036 to 1038 are not
    seen yet.
    """

    high: int = 0
    gaps: tuple[Gap, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Position | None":
        """The position that a text stands for, None where it is none."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        high, gaps, before = int(found[1]), [], 0
        for one in found[2].split(",") if found[2] else ():
            first, _, last = one.partition("..")
            gaps.append((int(first), int(last or first)))
            if not before < gaps[-1][0] <= gaps[-1][1] < high:
                return None
            before = gaps[-1][1]
        return cls(high, tuple(gaps)) if high <= _LARGEST else None

    def __str__(self) -> str:
        gaps = ",".join(str(first) if first == last else f"{first}..{last}" for first, last in self.gaps)
        return f"{self.high}-{gaps}" if gaps else str(self.high)

    def __contains__(self, event_id: int) -> bool:
        return event_id <= self.high and not any(first <= event_id <= last for first, last in self.gaps)

    def plus(self, event_id: int) -> "Position":
        """After one more event, whose id was not seen before."""
        if event_id == self.high + 1:
            return Position(event_id, self.gaps)
        if event_id > self.high:
            return Position(event_id, (*self.gaps, (self.high + 1, event_id - 1))[-MOST_GAPS:])
        return Position(self.high, (*_below(self.gaps, event_id), *_above(self.gaps, event_id))[-MOST_GAPS:])

    def towards(self, target: "Position", event_id: int) -> "Position":
        """On the way to ``target``, which has seen more, in the order of the ids: after everything up to this one."""
        gaps = (*_below(target.gaps, event_id + 1), *_above(self.gaps, event_id))
        return Position(max(self.high, event_id), gaps)

    def covers(self, other: "Position") -> bool:
        """Whether all that ``other`` has seen is seen here."""
        if self.high < other.high:
            return False
        return all(
            any(start <= first and min(last, other.high) <= end for start, end in other.gaps)
            for first, last in self.gaps
            if first <= other.high
        )


def _below(gaps: tuple[Gap, ...], event_id: int) -> list[Gap]:
    return [(first, min(last, event_id - 1)) for first, last in gaps if first < event_id]


def _above(gaps: tuple[Gap, ...], event_id: int) -> list[Gap]:
    return [(max(first, event_id + 1), last) for first, last in gaps if last > event_id]

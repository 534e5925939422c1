"""One entity's records as rendered bytes, with sorted and filtered orders that follow changes.

A record lives in a slot for ever: the slot is the end of its id, and a deleted record leaves an empty slot. Nothing
is kept per record but its bytes. An order is a list of slots; after a change it is mended by merging the changed
slots in, so that changing 1 % of a million records does not cost a new sort.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

Key = tuple[int, Any, int]
Test = Callable[[Any], bool]

_ORDERS_KEPT = 12
_SAMPLE = 1000
_RESORT_SHARE = 5
"""When more than one in so many records changed, sorting anew is cheaper than mending."""


@dataclass(frozen=True, slots=True)
class View:
    """Which records in which order: ``filters`` are (field, text given) pairs that ``tests`` know, ``sort`` is a
    field or None for the order of rank.
    """

    sort: str | None = None
    filters: tuple[tuple[str, str], ...] = ()


class Table:
    """The records of one entity. ``test_for`` turns one filter of a view into (field, test of its value)."""

    def __init__(self, records: list[bytes], test_for: Callable[[str, str], tuple[str, Test]]) -> None:
        self._slots: list[bytes | None] = list(records)
        self._live = len(records)
        self._test_for = test_for
        self._ranks: dict[int, float] = {}
        self._odd_ids: dict[str, int] = {}
        self._orders: OrderedDict[View, Sequence[int]] = OrderedDict()
        self._known: set[str] = {"id", "createdAt", "updatedAt", "name"}
        self._readers: dict[str, Callable[[bytes], Any]] = {}

    def __len__(self) -> int:
        return self._live

    @property
    def next_slot(self) -> int:
        """The slot that the next record gets."""
        return len(self._slots)

    def all(self) -> list[bytes]:
        """Every record, in the order of slots."""
        return [record for record in self._slots if record is not None]

    def slots(self) -> Sequence[int]:
        """The slots that hold a record."""
        if self._live == len(self._slots):
            return range(self._live)
        return [slot for slot, record in enumerate(self._slots) if record is not None]

    def at(self, slot: int) -> bytes:
        """The record in a slot that holds one."""
        record = self._slots[slot]
        if record is None:
            raise KeyError(slot)
        return record

    def find(self, id_: str) -> int | None:
        """The slot of a record by its id, or None."""
        if id_ in self._odd_ids:
            return self._odd_ids[id_]
        try:
            slot = int(id_[-6:], 16)
        except ValueError:
            return None
        if slot < len(self._slots) and self._slots[slot] is not None and self.read(slot, "id") == id_:
            return slot
        return None

    def read(self, slot: int, field: str) -> Any:
        """One field's value; None where it is absent or the record cannot be read."""
        return self._reader(field)(self._slots[slot] or b"")

    def read_bytes(self, record: bytes, field: str) -> Any:
        """One field of a record that was served."""
        return self._reader(field)(record)

    def knows(self, field: str) -> bool:
        """Whether some record (of the first thousand) has the field."""
        if field not in self._known:
            readers = (self.read(slot, field) for slot in self.slots()[:_SAMPLE])
            if not any(value is not None for value in readers):
                return False
            self._known.add(field)
        return True

    def page(self, view: View, start: int, stop: int, *, descending: bool) -> tuple[int, list[bytes]]:
        """How many records the view holds, and those from ``start`` to ``stop``."""
        order = self.order(view)
        total = len(order)
        picked = order[max(total - stop, 0) : max(total - start, 0)][::-1] if descending else order[start:stop]
        slots = self._slots
        if isinstance(picked, range) and picked.step == 1:
            return total, slots[picked.start : picked.stop]  # type: ignore[return-value]  # an unbroken range has no empty slot
        return total, [slots[slot] for slot in picked]  # type: ignore[misc]  # orders hold live slots only

    def order(self, view: View) -> Sequence[int]:
        """The slots of a view, ascending."""
        if view in self._orders:
            self._orders.move_to_end(view)
            return self._orders[view]
        if view == View() and not self._ranks:
            order: Sequence[int] = self.slots()
        else:
            order = self._sorted(self._matching(view, self.slots()), view)
        self._orders[view] = order
        if len(self._orders) > _ORDERS_KEPT:
            self._orders.popitem(last=False)
        return order

    def put(self, records: Mapping[int, bytes | None], *, odd_ids: Mapping[str, int] | None = None) -> None:
        """Set records by slot (None deletes; the slot after the last one adds). ``odd_ids``: ids that do not end in
        their slot.
        """
        before = {slot for slot in records if slot < len(self._slots)}
        kept = self._orders_without(before)
        for slot in sorted(records):
            if slot == len(self._slots):
                self._slots.append(None)
            self._live += (records[slot] is not None) - (self._slots[slot] is not None)
            self._slots[slot] = records[slot]
        self._odd_ids |= odd_ids or {}
        self._odd_ids = {id_: slot for id_, slot in self._odd_ids.items() if self._slots[slot] is not None}
        self._merge(kept, [slot for slot in records if records[slot] is not None])

    def rank(self, slot: int, rank: float) -> None:
        """Move a record in the order of rank, where each slot is its own rank at first."""
        kept = self._orders_without({slot})
        self._ranks[slot] = rank
        self._merge(kept, [slot])

    def rank_of(self, slot: int) -> float:
        """A record's place in the order of rank."""
        return self._ranks.get(slot, slot)

    def last_rank(self) -> float:
        """A rank behind every record."""
        return max([float(len(self._slots)), *self._ranks.values()]) + 1

    def _orders_without(self, slots: set[int]) -> dict[View, list[int]] | None:
        if len(slots) * _RESORT_SHARE > len(self._slots):
            return None
        return {view: [slot for slot in order if slot not in slots] for view, order in self._orders.items()}

    def _merge(self, kept: dict[View, list[int]] | None, changed: Sequence[int]) -> None:
        self._orders.clear()
        for view, order in (kept or {}).items():
            if view == View() and not self._ranks:
                continue  # costs nothing to make again
            key = self._key(view)
            fresh = sorted(self._matching(view, changed), key=key)
            self._orders[view] = _merged(order, fresh, key)

    def _matching(self, view: View, slots: Sequence[int]) -> Sequence[int]:
        for name, given in view.filters:
            field, test = self._test_for(name, given)
            read, records = self._reader(field), self._slots
            slots = [slot for slot in slots if test(read(records[slot] or b""))]
        return slots

    def _sorted(self, slots: Sequence[int], view: View) -> list[int]:
        """Ascending slots in the order of a view; texts alone sort without a key tuple each, which a million feels."""
        if view.sort is not None:
            read, records = self._reader(view.sort), self._slots
            values = [read(records[slot] or b"") for slot in slots]
            if all(type(value) is str for value in values):
                folded = [value.casefold() for value in values]
                return [slots[place] for place in sorted(range(len(slots)), key=folded.__getitem__)]
        return sorted(slots, key=self._key(view))

    def _key(self, view: View) -> Callable[[int], Key]:
        if view.sort is None:
            ranks = self._ranks
            return lambda slot: (0, ranks.get(slot, slot), slot)
        read, records = self._reader(view.sort), self._slots
        return lambda slot: (*_comparable(read(records[slot] or b"")), slot)

    def _reader(self, field: str) -> Callable[[bytes], Any]:
        if field not in self._readers:
            self._readers[field] = _reader(field)
        return self._readers[field]


def _reader(field: str) -> Callable[[bytes], Any]:
    """Reads one field out of a record's bytes, skipping the rest. A poisoned record reads as None."""
    shape = msgspec.defstruct("Shape", [("value", Any, None)], rename={"value": field}, gc=False)
    decode = msgspec.json.Decoder(shape).decode

    def read(record: bytes) -> Any:
        try:
            return decode(record).value  # type: ignore[attr-defined]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
            return None

    return read


def _comparable(value: Any) -> tuple[int, Any]:
    """A value that sorts beside any other: absent first, then numbers, then text without regard to case."""
    if value is None:
        return 0, 0
    if isinstance(value, int | float):
        return 1, value
    if isinstance(value, str):
        return 2, value.casefold()
    return 3, repr(value)


def _merged(order: list[int], fresh: Iterable[int], key: Callable[[int], Key]) -> list[int]:
    """Both sorted lists as one, reading only as many keys of the long one as finding the places takes."""
    merged: list[int] = []
    taken = 0
    for slot in fresh:
        place = bisect_left(order, key(slot), lo=taken, key=key)
        merged += order[taken:place]
        merged.append(slot)
        taken = place
    merged += order[taken:]
    return merged

"""The emulated account: its tables, its clock, and everything that changes its records."""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from keepstep.integrations.doorloop.emulator.catalogue import LISTINGS, test_for
from keepstep.integrations.doorloop.emulator.options import SEED_FIELDS, EmulatorOptions
from keepstep.integrations.doorloop.emulator.poison import check_poison, poisoned
from keepstep.integrations.doorloop.emulator.seed import Seed
from keepstep.integrations.doorloop.emulator.table import Table, View
from keepstep.integrations.doorloop.emulator.world import encode, timestamp
from keepstep.integrations.emulation.options import check_unseeded

Which = int | str | Sequence[str]
"""How many records (picked by chance), a share such as ``"1%"``, or their ids."""

_UPDATED_FIELD = {
    "owners": "jobTitle",
    "properties": "description",
    "units": "marketRent",
    "leases": "outstandingBalance",
}
_UPDATED_NUMBERS = frozenset({"marketRent", "outstandingBalance"})


class Account:
    """Records that can be read and changed. Methods raise ``ValueError`` in plain words for what is not possible."""

    def __init__(self, options: EmulatorOptions) -> None:
        self.options = options
        self.reset({})

    def reset(self, values: Mapping[str, Any]) -> None:
        """Back to the seed, with some options replaced."""
        self.options = self.options.changed(values)
        self._seed = Seed(self.options)
        self._tables = {entity: Table(records, test_for(entity)) for entity, records in self._seed.records().items()}
        self._chance = random.Random(f"{self.options.seed}:changes")  # noqa: S311
        self._good: dict[str, dict[int, bytes | None]] = {}
        self._changes = 0

    def switch(self, values: Mapping[str, Any]) -> None:
        """Replace options that do not shape the seeded data."""
        check_unseeded(values, SEED_FIELDS)
        self.options = self.options.changed(values)

    def now(self) -> float:
        """The emulator's clock: real time and the offset."""
        return time.time() + self.options.clock_offset_s

    def table(self, entity: str) -> Table:
        """The table of an entity."""
        if entity not in self._tables:
            raise ValueError(f"there is no list {entity!r}; there are {', '.join(LISTINGS)}")
        return self._tables[entity]

    def records(self, entity: str) -> list[bytes]:
        """Every record of an entity as it goes over the wire, inactive ones included, in no order that a listing
        has.
        """
        return self.table(entity).all()

    def sizes(self) -> dict[str, int]:
        """How many records each list holds now."""
        return {entity: len(table) for entity, table in sorted(self._tables.items())}

    def find(self, entity: str, id_: str) -> bytes | None:
        """One record, or None."""
        table = self.table(entity)
        slot = table.find(id_)
        return None if slot is None else table.at(slot)

    def change(
        self,
        entity: str,
        *,
        create: int = 0,
        update: Which = 0,
        touch: Which = 0,
        delete: Which = 0,
        patch: Mapping[str, Mapping[str, Any]] | None = None,
        unset: Mapping[str, Sequence[str]] | None = None,
        silent: bool = False,
    ) -> dict[str, list[str]]:
        """Change records and say which (ids per kind of change).

        ``update`` changes a field's value and the update time, ``touch`` the update time only; ``patch`` sets fields
        by id, ``unset`` removes them. ``silent`` leaves update times alone, so that only a full read can notice. A
        deletion leaves nothing behind.
        """
        table, now = self.table(entity), self._now_text()
        self._changes += 1
        deleted = self._picked(table, delete)
        gone = set(deleted)
        edits: dict[int, dict[str, Any]] = {}
        updated = set(self._picked(table, update))
        touched = set(self._picked(table, touch))
        patched = {self._slot(table, id_): dict(fields) for id_, fields in (patch or {}).items()}
        stripped = {self._slot(table, id_): list(names) for id_, names in (unset or {}).items()}
        for slot in sorted({*updated, *touched, *patched, *stripped} - gone):
            record: dict[str, Any] = msgspec.json.decode(table.at(slot))
            if slot in updated:
                record |= self._changed_field(entity, record)
            if not silent:
                record["updatedAt"] = now
            record |= patched.get(slot, {})
            edits[slot] = {name: value for name, value in record.items() if name not in stripped.get(slot, ())}
        created = {
            table.next_slot + n: self._seed.make(entity, table.next_slot + n, int(self.now() * 1000))
            for n in range(create)
        }
        report = {
            "updated": [table.read(slot, "id") for slot in edits],
            "deleted": [table.read(slot, "id") for slot in deleted],
        }
        table.put({slot: encode(record) for slot, record in edits.items()} | dict.fromkeys(deleted) | created)
        return {"created": [table.read(slot, "id") for slot in created], **report}

    def poison(self, entity: str, kinds: Sequence[str], *, count: int = 1, replace: str | None = None) -> list[str]:
        """Add poison records (``count`` of each kind), or turn the record with an id into one; gives the ids of the
        good records they were made from. ``cure`` undoes it.
        """
        table, used = self.table(entity), []
        for kind in kinds:
            check_poison(kind, entity)
        for kind in [kind for kind in kinds for _ in range(count)]:
            slot = table.next_slot if replace is None else self._slot(table, replace)
            twin = self._first_good(entity) if kind == "duplicate-id" and replace is None else None
            if twin is not None:
                good = table.at(twin)
            elif replace is None:
                good = self._seed.make(entity, slot, int(self.now() * 1000))
            else:
                good = table.at(slot)
            bad = poisoned(kind, entity, good)
            self._good.setdefault(entity, {}).setdefault(slot, None if twin is not None else good)
            id_ = str(msgspec.json.decode(good)["id"])
            table.put({slot: bad}, odd_ids={} if twin is not None else {id_: slot})
            if twin is not None:
                table.rank(slot, table.rank_of(twin) + 0.5)
            used.append(id_)
        return used

    def inject(self, entity: str, raw: bytes, *, replace: str | None = None) -> None:
        """Put any bytes in the place of a record (a new one, or the one with an id). ``cure`` undoes it."""
        table = self.table(entity)
        slot = table.next_slot if replace is None else self._slot(table, replace)
        good = None if replace is None else table.at(slot)
        self._good.setdefault(entity, {}).setdefault(slot, good)
        table.put({slot: raw}, odd_ids={} if replace is None else {replace: slot})

    def cure(self, entity: str) -> int:
        """Let poisoned records arrive good, updated now (those that had no good form vanish); gives their number."""
        good = self._good.pop(entity, {})
        now = self._now_text()
        table = self.table(entity)
        table.put({slot: None if record is None else _stamped(record, now) for slot, record in good.items()})
        return len(good)

    def shift(self, entity: str, served: Sequence[int], rows: int, *, replace: bool) -> None:
        """Make rows move between pages: ``rows`` records that were served go behind the end of the listing, by a
        rename or (``replace``) by being deleted while as many new ones come in at the end, so that the total stays
        equal.
        """
        table, now = self.table(entity), self._now_text()
        for slot in served[:rows]:
            record: dict[str, Any] = msgspec.json.decode(table.at(slot))
            if replace:
                slot_now = table.next_slot
                record = msgspec.json.decode(self._seed.make(entity, slot_now, int(self.now() * 1000)))
            else:
                slot_now = slot
            record |= {"name": f"\U0010fffd {record.get('name', '')}", "updatedAt": now}
            table.put({slot: None, slot_now: encode(record)} if replace else {slot: encode(record)})
            if LISTINGS[entity].sort is None:
                table.rank(slot_now, table.last_rank())

    def _now_text(self) -> str:
        second, milli = divmod(int(self.now() * 1000), 1000)
        return timestamp(second, milli)

    def _picked(self, table: Table, which: Which) -> list[int]:
        if isinstance(which, Sequence) and not isinstance(which, str):
            return [self._slot(table, id_) for id_ in which]
        slots = table.slots()
        wanted = _share(which, len(slots)) if isinstance(which, str) else which
        if not 0 <= wanted <= len(slots):
            raise ValueError(f"there are {len(slots)} records, not {wanted}")
        if self._good:
            bad = {slot for entity, good in self._good.items() if self._tables[entity] is table for slot in good}
            slots = [slot for slot in slots if slot not in bad]
        return self._chance.sample(slots, min(wanted, len(slots)))

    def _slot(self, table: Table, id_: str) -> int:
        slot = table.find(id_)
        if slot is None:
            raise ValueError(f"there is no record with the id {id_!r}")
        return slot

    def _first_good(self, entity: str) -> int:
        bad = self._good.get(entity, {})
        for slot in self.table(entity).order(View(LISTINGS[entity].sort)):
            if slot not in bad:
                return slot
        raise ValueError(f"{entity} has no record that could be doubled")

    def _changed_field(self, entity: str, record: Mapping[str, Any]) -> dict[str, Any]:
        field = _UPDATED_FIELD.get(entity, "notes")
        if field not in _UPDATED_NUMBERS:
            return {field: f'Changed {self._changes}: "{self._chance.randrange(10**6)}" ✏️'}
        was = record.get(field)
        base = was if isinstance(was, int | float) else 0
        return {field: round(base + self._chance.randrange(1, 10**5) / 100, 2)}


def _share(text: str, of: int) -> int:
    try:
        return round(of * float(text.removesuffix("%")) / 100) if text.endswith("%") else int(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a number of records nor a share such as '1%'") from None


def _stamped(record: bytes, now: str) -> bytes:
    return encode({**msgspec.json.decode(record), "updatedAt": now})

"""The seeded account that records refer to: ids, instants and links, all computed from the seed."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec

from keepstep.integrations.doorloop.emulator.options import EmulatorOptions

SEED_START = int(datetime(2021, 1, 4, tzinfo=UTC).timestamp())
SEED_END = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
"""Seeded records were made and updated between these two instants, so that the same seed gives the same bytes for
ever.
"""
_SEED_SPAN = SEED_END - SEED_START - 86400

_FIRST_DAY = datetime(2018, 1, 1, tzinfo=UTC)
_FIRST_DAY_S = int(_FIRST_DAY.timestamp())
DAYS: Sequence[str] = [(_FIRST_DAY + timedelta(days=n)).strftime("%Y-%m-%d") for n in range(365 * 25)]
_MINUTES: Sequence[str] = [f"T{n // 60:02d}:{n % 60:02d}:" for n in range(1440)]
_SECONDS: Sequence[str] = [f"{n:02d}." for n in range(60)]
_MILLIS: Sequence[str] = [f"{n:03d}Z" for n in range(1000)]

MAIN_ENTITIES = ("owners", "properties", "units", "leases", "tenants")
_MACHINES = {name: n + 1 for n, name in enumerate((*MAIN_ENTITIES, "users"))}

encode = msgspec.json.encode


def day_number(second: int) -> int:
    """The index in ``DAYS`` of an epoch second's day."""
    return (second - _FIRST_DAY_S) // 86400


def timestamp(second: int, milli: int) -> str:
    """An instant as DoorLoop writes it: ``2025-11-07T18:21:05.123Z``. Fast within the table of days, right
    everywhere.
    """
    day, rest = divmod(second - _FIRST_DAY_S, 86400)
    if not 0 <= day < len(DAYS):
        return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{milli:03d}Z"
    return f"{DAYS[day]}{_MINUTES[rest // 60]}{_SECONDS[rest % 60]}{_MILLIS[milli]}"


def json_text(value: Any) -> str:
    """A value as compact JSON text, non-ASCII characters as they are."""
    return encode(value).decode()


class World:
    """Ids and links of an account of given sizes. Nothing here is drawn while records are rendered, so that any
    entity can refer to any other without it existing yet.
    """

    def __init__(self, options: EmulatorOptions) -> None:
        self.options = options
        self.sizes = {name: int(getattr(options, name)) for name in MAIN_ENTITIES}
        self._salt = random.Random(f"doorloop:{options.seed}").getrandbits(32)  # noqa: S311
        self._salts = {name: self._salt * number for name, number in _MACHINES.items()}

    def bits(self, entity: str, slot: int) -> random.Random:
        """The source of chance for one record."""
        return random.Random(f"{self.options.seed}:{entity}:{slot}")  # noqa: S311

    def created(self, entity: str, slot: int) -> int:
        """The epoch second at which a seeded record was made: scattered, so that slots are in no order of time."""
        mixed = (slot * 2654435761 + self._salts[entity]) & 0xFFFFFFFF
        return SEED_START + (mixed ^ (mixed >> 15)) % _SEED_SPAN

    def id(self, entity: str, slot: int, created: int | None = None) -> str:
        """The ObjectId of a record: its second of creation, a machine number, its slot."""
        second = self.created(entity, slot) if created is None else created
        return f"{second:08x}{self._salt:08x}{_MACHINES[entity]:02x}{slot:06x}"

    @cached_property
    def users(self) -> Sequence[str]:
        """Ids of the people who work in the account."""
        return [self.id("users", slot) for slot in range(4)]

    @cached_property
    def unit_properties(self) -> Sequence[int]:
        """Per unit, the slot of its property (or -1 where the account has none)."""
        count = self.sizes["properties"]
        return [(slot * 7 + slot // max(count, 1)) % count if count else -1 for slot in range(self.sizes["units"])]

    @cached_property
    def active_units(self) -> Sequence[int]:
        """Per property, how many active units it has."""
        counts = [0] * self.sizes["properties"]
        for slot, home in enumerate(self.unit_properties):
            if home >= 0 and self.unit_is_active(slot):
                counts[home] += 1
        return counts

    @cached_property
    def unit_ids(self) -> Sequence[str]:
        """The ids of all seeded units."""
        return [self.id("units", slot) for slot in range(self.sizes["units"])]

    @cached_property
    def property_ids(self) -> Sequence[str]:
        """The ids of all seeded properties."""
        return [self.id("properties", slot) for slot in range(self.sizes["properties"])]

    @cached_property
    def owned(self) -> Sequence[Sequence[int]]:
        """Per owner, the slots of the properties that are theirs."""
        owned: list[list[int]] = [[] for _ in range(self.sizes["owners"])]
        for slot in range(self.sizes["properties"]):
            for owner in self.owners_of(slot):
                owned[owner].append(slot)
        return owned

    def unit_is_active(self, slot: int) -> bool:
        """One seeded unit in ten is inactive."""
        return (slot * 2654435761 + self._salt) >> 7 & 0xFFFF >= 6554

    def owners_of(self, slot: int) -> Sequence[int]:
        """The owners (slots) of a property: one, or for every fifth property two."""
        count = self.sizes["owners"]
        if not count:
            return ()
        first = (slot * 13 + self._salt) % count
        return (first, (first + 1) % count) if slot % 5 == 4 and count > 1 else (first,)

"""From options to records: what an emulated account holds at first, and how a record is made later."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from keepstep.integrations.doorloop.emulator.leases import LeaseRenderer
from keepstep.integrations.doorloop.emulator.minor import minor_records
from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.doorloop.emulator.people import render_owner, render_tenant
from keepstep.integrations.doorloop.emulator.places import render_property, render_unit
from keepstep.integrations.doorloop.emulator.world import MAIN_ENTITIES, SEED_END, World, timestamp

Renderer = Callable[[World, int, Random, dict[str, Any]], bytes]

_RENDERERS: Mapping[str, Renderer] = {
    "owners": render_owner,
    "properties": render_property,
    "units": render_unit,
    "tenants": render_tenant,
}


class Seed:
    """The records of an account as its options describe it. The same options give the same bytes."""

    def __init__(self, options: EmulatorOptions) -> None:
        self.world = World(options)
        self._leases = LeaseRenderer(self.world)
        self._padding = b',"importMemo":"' + b"x" * options.padding_bytes + b'"}' if options.padding_bytes else b""

    def records(self) -> dict[str, list[bytes]]:
        """Every entity's records, in the order of their slots."""
        made = {entity: self._seeded(entity) for entity in MAIN_ENTITIES}
        return made | minor_records(self.world, made)

    def make(self, entity: str, slot: int, now_ms: int) -> bytes:
        """A record that comes to be now. Raises ``ValueError`` for an entity that has no maker."""
        chance = self.world.bits(entity, slot)
        second, milli = divmod(now_ms, 1000)
        now = timestamp(second, milli)
        if entity == "leases":
            id_ = self.world.id(entity, slot, second)
            lease = self._leases.render(
                slot, id_, SEED_END - 86400, now, chance.getrandbits(60), chance.getrandbits(60)
            )
            made_at = lease.index(b'"createdAt":"') + 13
            return self._padded(lease[:made_at] + now.encode() + lease[made_at + 24 :])
        if entity not in _RENDERERS:
            raise ValueError(f"records of {entity!r} cannot be created; {', '.join(MAIN_ENTITIES)} can")
        stamps = {"id": self.world.id(entity, slot, second), "createdAt": now, "updatedAt": now}
        return self._padded(_RENDERERS[entity](self.world, slot, chance, stamps))

    def _seeded(self, entity: str) -> list[bytes]:
        count = self.world.sizes[entity]
        if entity == "leases":
            leases = self._leases.render_all(count)
            return [self._padded(lease) for lease in leases] if self._padding else leases
        chance = Random(f"{self.world.options.seed}:{entity}")  # noqa: S311
        render = _RENDERERS[entity]
        return [
            self._padded(render(self.world, slot, chance, self._stamps(entity, slot, chance))) for slot in range(count)
        ]

    def _stamps(self, entity: str, slot: int, chance: Random) -> dict[str, Any]:
        """Who made a seeded record and when; rows that the system or a tenant made name nobody."""
        created = self.world.created(entity, slot)
        updated = created + int((SEED_END - created) * chance.random())
        stamps = {
            "id": self.world.id(entity, slot, created),
            "createdAt": timestamp(created, chance.randrange(500)),
            "updatedAt": timestamp(updated, 500 + chance.randrange(500)),
        }
        if chance.random() < 0.9:
            stamps["createdBy"] = chance.choice(self.world.users)
            stamps["updatedBy"] = chance.choice(self.world.users)
        return stamps

    def _padded(self, record: bytes) -> bytes:
        return record[:-1] + self._padding if self._padding else record

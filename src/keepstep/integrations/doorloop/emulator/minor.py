"""The lists beside the five main ones: small, real shapes, so that every documented path answers."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import msgspec

from keepstep.integrations.doorloop.emulator.world import World, encode, json_text

_MINOR = (
    *("accounts", "communications", "expenses", "files", "lease-charges", "lease-credits", "lease-payments"),
    *("lease-reversed-payments", "leases/tenants", "notes", "notifications", "property-groups", "tasks", "users"),
    *("vendor-bills", "vendor-credits", "vendors"),
)
_STAMPS = {"createdAt": "2025-03-01T14:02:11.402Z", "updatedAt": "2026-05-09T08:31:55.118Z"}


def minor_records(world: World, main: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
    """Every other list's records (many lists are empty), referring to the main entities given."""
    chance = Random(f"{world.options.seed}:minor")  # noqa: S311
    leases = [msgspec.json.decode(lease) for lease in main["leases"][:25]]
    tenants = [msgspec.json.decode(tenant) for tenant in main["tenants"][:25]]
    made: dict[str, list[dict[str, Any]]] = {entity: [] for entity in _MINOR}
    made["users"] = [
        {
            "id": user,
            "name": f"Office {n + 1}",
            "email": f"office{n + 1}@example.test",
            "role": "ADMIN" if n == 0 else "STAFF",
            "active": True,
        }
        for n, user in enumerate(world.users)
    ]
    made["accounts"] = [
        {"name": name, "type": kind, "active": True}
        for name, kind in (
            ("Rent Income", "INCOME"),
            ("Deposits Held", "LIABILITY"),
            ("Repairs", "EXPENSE"),
            ("Checking", "ASSET_BANK"),
        )
    ]
    made["property-groups"] = [
        {"name": name, "properties": list(world.property_ids[n::3][:20])}
        for n, name in enumerate(("North", "Süd", "西"))
    ]
    made["vendors"] = [{"name": f"Fix-It {n}", "active": n != 2, "emails": [], "phones": []} for n in range(4)]
    made["tasks"] = [_task(chance, world, n) for n in range(6)]
    made["leases/tenants"] = [
        {"name": tenant["name"], "lease": lease["id"], "units": lease["units"], "status": "CURRENT", "tenant": tenant}
        | ({"property": lease["property"]} if "property" in lease else {})
        for lease, tenant in zip(leases, tenants, strict=False)
    ]
    for n, lease in enumerate(leases):
        tenant = tenants[n % len(tenants)]["id"] if tenants else None
        made["lease-charges"].append(_charge(lease["id"], n))
        made["lease-payments"].append(_payment(lease["id"], tenant, n))
    return {
        entity: [encode({"id": _id(entity, n)} | record | _STAMPS) for n, record in enumerate(records)]
        for entity, records in made.items()
    }


def user_record(users: Sequence[bytes]) -> bytes:
    """The answer of ``/users/me``."""
    return users[0] if users else json_text({"name": "Office"}).encode()


def _id(entity: str, slot: int) -> str:
    return f"66d7aa00{0x0E00000000 + _MINOR.index(entity):010x}{slot:06x}"


def _task(chance: Random, world: World, n: int) -> dict[str, Any]:
    task: dict[str, Any] = {
        "type": chance.choice(("INTERNAL_TASK", "TENANT_REQUEST")),
        "subject": ("Leaking tap", "Peindre l'entrée", "Boiler 🔧")[n % 3],
        "status": ("NOT_STARTED", "IN_PROGRESS", "COMPLETED")[n % 3],
        "dateType": "DATE",
        "assignedToUsers": list(world.users[:1]),
    }
    if world.property_ids:
        task["linkedResource"] = {"resourceId": world.property_ids[0], "resourceType": "PROPERTY"}
    return task


def _charge(lease: str, n: int) -> dict[str, Any]:
    amount = 1200 + n * 10.25
    line = {"id": f"{n:024x}", "amount": amount, "account": _id("accounts", 0), "balance": 0, "memo": "Rent"}
    return {
        "date": f"2026-04-{n % 28 + 1:02d}",
        "lease": lease,
        "totalAmount": amount,
        "totalBalance": 0,
        "lines": [line],
        "reference": f"c{n:05d}",
    }


def _payment(lease: str, tenant: str | None, n: int) -> dict[str, Any]:
    amount = 1200 + n * 10.25
    payment: dict[str, Any] = {
        "date": f"2026-05-{n % 28 + 1:02d}",
        "lease": lease,
        "amountReceived": amount,
        "amountAppliedToCharges": amount,
        "amountNotAppliedToCharges": 0,
        "amountAppliedToCredits": 0,
        "linkedCharges": [
            {"amount": amount, "linkedTransaction": _id("lease-charges", n), "account": _id("accounts", 0)}
        ],
        "linkedCredits": [],
        "paymentMethod": ("CHECK", "EPAY", "CASH")[n % 3],
        "depositStatus": "DEPOSITED",
        "reference": f"p{n:05d}",
        "autoApplyPaymentOnCharges": True,
    }
    return payment | ({"receivedFromTenant": tenant} if tenant else {})

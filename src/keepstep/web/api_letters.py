"""Dead letters: looking at them, applying them again, closing them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from keepstep.model.errors import BadRequest
from keepstep.model.schedule import Role
from keepstep.service.core import Service
from keepstep.service.shapes import Absent, DeadLetterDetail, DeadLetterPage, Requeued
from keepstep.web.parameters import NO_NUL, Body, Id, Limit, Number, OfEntity, Older, Reason, Word, Words
from keepstep.web.security import Operator, needs

_MOST = 1000
_USER = [needs(Role.USER)]
Ids = Annotated[list[Number], Field(min_length=1, max_length=_MOST)]
OfReason = Annotated[
    str | None,
    Query(max_length=2000, pattern=NO_NUL, description="Only those with this reason, or of this kind."),
]


class _Which(Body):
    id: Annotated[Number | None, Absent] = None
    ids: Annotated[Ids | None, Absent] = None
    entity: Annotated[Word | None, Absent] = None
    kind: Annotated[Word | None, Absent] = None
    all: bool = False
    before: Annotated[Number | None, Absent] = None


class RequeueAsked(_Which):
    """Which to apply again: one ``id``, several ``ids``, or all of an ``entity``, a ``kind``, or ``all``.

    ``reason`` keeps to those with this reason (or kind), ``before`` to those with a smaller id. ``note``: why, for the
    admin log.
    """

    reason: Annotated[Words | None, Absent] = None
    note: Annotated[Words | None, Absent] = None


class DiscardAsked(_Which):
    """Which to close for good: one ``id``, several ``ids``, or all of an ``entity``, a ``kind``, or ``all``; and why.

    ``before`` keeps to those with a smaller id.
    """

    reason: Reason


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api/admin/sync/dlq", tags=["dead letters"])

    @routes.get("", summary="Dead letters, newest first", dependencies=_USER)
    async def letters(
        entity: OfEntity = None,
        state: Literal["open", "resolved", "discarded", "all", ""] = "open",
        reason: OfReason = None,
        limit: Limit = 100,
        before: Older = "",
    ) -> DeadLetterPage:
        wanted = None if state in ("all", "") else state
        older_than = int(before) if before else None
        return await service.views.dead_letters(
            entity=entity or None, state=wanted, reason=reason or None, limit=limit, before=older_than
        )

    @routes.get("/{letter_id:int}", summary="One dead letter with its payload", dependencies=_USER)
    async def letter(letter_id: Id) -> DeadLetterDetail:
        return await service.views.dead_letter(letter_id)

    @routes.post("/requeue", summary="Apply dead letters again")
    async def requeue(body: RequeueAsked, who: Operator) -> list[Requeued]:
        ids = await _chosen(service, body, body.reason)
        return await service.commands.requeue(ids, by=who.name, note=body.note or "") if ids else []

    @routes.post("/discard", summary="Close dead letters for good")
    async def discard(body: DiscardAsked, who: Operator) -> list[Requeued]:
        ids = await _chosen(service, body, None)
        return await service.commands.discard(ids, by=who.name, reason=body.reason) if ids else []

    return routes


async def _chosen(service: Service, which: _Which, reason: str | None) -> list[int]:
    """The ids that are meant, each once; of those that match the newest thousand."""
    matching = which.all or which.entity is not None or which.kind is not None
    if sum((which.id is not None, which.ids is not None, matching)) != 1:
        raise BadRequest(
            "Name dead letters in exactly one way.", fix="Give id, or ids, or what they have in common: entity, kind."
        )
    if matching:
        return await service.commands.matching_letters(
            entity=which.entity, reason=which.kind if reason is None else reason, limit=_MOST, before=which.before
        )
    return list(dict.fromkeys([which.id] if which.id is not None else which.ids or []))

"""Alerts for people: what is open and what has been, where messages go, and a test of that."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from keepstep.alerts.alerter import Arrangement, Channel
from keepstep.alerts.messages import Message
from keepstep.model.errors import Conflict
from keepstep.service.audit import Audit
from keepstep.service.scope import visible
from keepstep.service.shapes import Shape, one_of
from keepstep.store import alerts as store
from keepstep.store.db import Database

MOST_LISTED = 500
_TEST = Message(
    title="Keepstep: test message",
    text="This is a test. Alerts of Keepstep will arrive here. Nothing is wrong, and nothing needs to be done.",
)


class DeliveryView(Shape):
    """A message of an alert: ``waiting`` to be delivered, ``sent``, or ``failed`` for good; the last answer."""

    channel: str
    kind: Annotated[str, one_of("start", "reminder", "end")]
    state: Annotated[str, one_of("waiting", "sent", "failed")]
    attempts: int
    answer: str | None
    sent_at: datetime | None


class AlertView(Shape):
    """Something that somebody must look at. ``since``: since when it is so; ``startedAt``: when it was noticed."""

    id: int
    rule: str
    severity: Annotated[str, one_of("critical", "warning")]
    state: Annotated[str, one_of("open", "ended")]
    connection_id: int | None
    integration: str | None
    owner: str | None
    title: str
    detail: str
    impact: str
    fix: str
    since: datetime
    started_at: datetime
    reminded_at: datetime | None
    ended_at: datetime | None
    link: str
    deliveries: list[DeliveryView]


class ChannelView(Shape):
    """Where messages go. ``waiting``: so many have not arrived yet; ``lastFailure``: what was answered to the last
    that did not arrive at once."""

    name: str
    waiting: int
    last_sent_at: datetime | None
    last_failure: str | None


class WebhookView(Shape):
    """The Teams webhook. ``kind``: of a workflow, or of a connector, which Microsoft retires."""

    set: bool
    kind: Annotated[str, one_of("workflow", "connector", "none")]
    warnings: list[str]


class AlertList(Shape):
    """Alerts, open ones first, and how their messages get to people. ``count``: of the open ones."""

    items: list[AlertView]
    count: int
    channels: list[ChannelView]
    webhook: WebhookView


class TestDelivery(Shape):
    """What became of the test message, on every channel together."""

    delivered: bool
    status: int | None
    message: str
    fix: str


class Alerts:
    """``arrangement`` gives what people have set, ``webhook`` the kind of the Teams address or an empty text."""

    def __init__(
        self, database: Database, audit: Audit, arrangement: Callable[[], Awaitable[Arrangement]]
    ) -> None:  # fmt: skip
        self._database = database
        self._audit = audit
        self.arrangement = arrangement

    async def list(self, *, state: str | None = None, limit: int = 100) -> AlertList:
        """Alerts, open ones first. ``state``: open or ended."""
        arrangement = await self.arrangement()
        async with self._database.connection() as connection:
            only = await visible(connection)
            rows = await store.newest(connection, state=state, limit=min(max(limit, 1), MOST_LISTED), only=only)
            counts = await store.counts(connection, only=only)
            delivery = {row["channel"]: row for row in await store.delivery(connection)}
        return AlertList(
            items=[_view(row, arrangement.link) for row in rows],
            count=sum(row["open"] for row in counts),
            channels=[_channel(channel, delivery.get(channel.name)) for channel in arrangement.channels],
            webhook=_webhook(arrangement.channels),
        )

    async def test(self, *, by: str) -> TestDelivery:
        """Send a test message to every channel. Raises ``Conflict`` where there is none."""
        channels = (await self.arrangement()).channels
        if not channels:
            raise Conflict(
                "No webhook is set: alerts go nowhere.",
                fix="Set INTEGRATIONS_TEAMS_WEBHOOK to the address of a Teams workflow.",
            )
        deliveries = [(channel.name, await channel.deliver(_TEST)) for channel in channels]
        async with self._database.connection() as connection, connection.transaction():
            for name, one in deliveries:
                await store.record_test(
                    connection, name, _TEST.as_json(), delivered=one.delivered, status=one.status, answer=one.message
                )
            words = " ".join(one.message for _, one in deliveries)
            await self._audit.record(by, "alerts.test", {}, words, within=connection)
        worst = next((one for _, one in deliveries if not one.delivered), deliveries[0][1])
        return TestDelivery(delivered=worst.delivered, status=worst.status, message=words, fix=worst.fix)


def _view(row: dict[str, Any], link: str) -> AlertView:
    return AlertView(
        id=row["id"], rule=row["rule"], severity=row["severity"], state="ended" if row["ended_at"] else "open",
        connection_id=row["connection_id"], integration=row["integration"], owner=row["owner_id"], title=row["title"],
        detail=row["detail"], impact=row["impact"], fix=row["fix"], since=row["since"], started_at=row["started_at"],
        reminded_at=row["reminded_at"], ended_at=row["ended_at"], link=link,
        deliveries=[DeliveryView.model_validate(one) for one in row["deliveries"]],
    )  # fmt: skip


def _channel(channel: Channel, row: dict[str, Any] | None) -> ChannelView:
    return ChannelView(
        name=channel.name,
        waiting=row["waiting"] if row else 0,
        last_sent_at=row["last_sent_at"] if row else None,
        last_failure=row["last_failure"] if row else None,
    )


def _webhook(channels: Sequence[Channel]) -> WebhookView:
    teams = next((channel for channel in channels if channel.name == "teams"), None)
    if teams is None:
        return WebhookView(set=False, kind="none", warnings=["No webhook is set: alerts go nowhere but to this page."])
    kind = "connector" if teams.legacy else "workflow"
    warnings = ["Microsoft retires Office 365 connectors: make a Teams workflow."] if teams.legacy else []
    return WebhookView(set=True, kind=kind, warnings=warnings)

"""What upstream answers when it is asked whether it is there."""

from datetime import datetime
from typing import Annotated

from keepstep.model.integration import Check, Ping
from keepstep.service.shapes import Absent, Diagnosed, Shape, diagnosed, one_of


class RateLimitShape(Shape):
    """What upstream last said of its limits."""

    limit: int | None
    remaining: int | None
    reset: datetime | None


class PingAnswer(Shape, Diagnosed):
    """Whether upstream answers. ``state``: ok, degraded or failing."""

    ok: bool
    state: Annotated[str, one_of("ok", "degraded", "failing")]
    reason: str
    base_url: str
    authenticated: bool
    sample_count: int
    elapsed_ms: int
    fix: str
    rate_limit: Annotated[RateLimitShape | None, Absent] = None


class CheckAnswer(Shape, Diagnosed):
    """What one endpoint answers. ``count``: the records that upstream says it has there."""

    status: int | None
    endpoint: str
    first_item_keys: list[str]
    count: int | None
    message: str
    fix: str
    ok: bool


def ping_answer(ping: Ping) -> PingAnswer:
    """A ping as the API gives it."""
    limit = ping.rate_limit
    return PingAnswer(
        ok=ping.ok,
        state=ping.state,
        reason=ping.reason,
        base_url=ping.base_url,
        authenticated=ping.authenticated,
        sample_count=ping.sample_count,
        elapsed_ms=ping.elapsed_ms,
        fix=ping.fix,
        **diagnosed(ping.code),
        rate_limit=None
        if limit is None
        else RateLimitShape(limit=limit.limit, remaining=limit.remaining, reset=limit.reset),
    )


def check_answer(check: Check) -> CheckAnswer:
    """A check as the API gives it."""
    return CheckAnswer(
        status=check.status,
        endpoint=check.endpoint,
        first_item_keys=list(check.first_item_keys),
        count=check.count,
        message=check.message,
        fix=check.fix,
        **diagnosed(check.code),
        ok=check.ok,
    )

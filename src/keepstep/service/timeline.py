"""A run in time: each flush of pages with what it brought and what it waited for. Pure arithmetic on what was told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from keepstep.service.limits import RateSample
from keepstep.service.shapes import EntityRun, LoggedEvent, RunDetail

_PAUSES = ("run-waiting", "run-given-back")
_ENDED = ("entity-finished", "entity-failed")
_REFUSALS = ("retry-after", "breaker")
_WORTH_TELLING_MS = 100
_CAUSES = {
    "rate": "for our own rate limit", "concurrency": "for others to end", "window": "for the vendor's limit",
    "headers": "for the limit to refill", "retry-after": "upstream asked for a pause", "breaker": "the breaker is open",
    "probe": "for the breaker's probe",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Flush:
    """One committed transaction. ``seconds``: since what was told before; ``rows``: the whole reading's so far.

    ``waited_ms``: the longest wait of a request meanwhile, and its ``cause``; ``remaining`` of ``limit``: what upstream
    said is left.
    """

    id: int
    ts: datetime
    seconds: float
    page: int
    pages: int
    look: int
    rows: int
    batch: int
    inserted: int
    updated: int
    unchanged: int
    dead_lettered: int
    requests: int
    waited_ms: int
    cause: str
    limit: int | None
    remaining: int | None

    @property
    def waited(self) -> str:
        """What its requests waited for, in words; empty for nothing worth telling."""
        # What a refusal makes the next requests wait is not known when it is told.
        is_long = self.waited_ms >= _WORTH_TELLING_MS and self.cause not in _REFUSALS
        how_long = f"{self.waited_ms / 1000:.1f} s" if is_long else ""
        return " ".join(filter(None, (how_long, _CAUSES.get(self.cause, self.cause))))

    @property
    def extra(self) -> int:
        """Requests beyond one a page: retries, or looks to be sure."""
        return max(self.requests - self.pages, 0)


@dataclass(frozen=True, slots=True)
class Pause:
    """The run left its worker and waited in the database. ``until``: None while that is not over and not known."""

    id: int
    ts: datetime
    until: datetime | None
    over: bool
    words: str


@dataclass(slots=True)
class Track:
    """One entity of a run and what happened of it, in order."""

    entity: EntityRun
    steps: list[Flush | Pause] = field(default_factory=list)
    bars: list["Bar"] = field(default_factory=list)

    @property
    def flushes(self) -> list[Flush]:
        """Its flushes."""
        return [step for step in self.steps if isinstance(step, Flush)]


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of the picture of a track: where it is, how high (both in hundredths), and what it stands for."""

    x: int
    y: float
    height: float
    kind: str
    words: str


def tracks(run: RunDetail, waits: Sequence[RateSample]) -> list[Track]:
    """What happened of each entity of a run, as far as its newest events tell."""
    found = {one.entity: Track(one) for one in run.entities}
    if not found:
        return []
    order = list(found)
    current, before = order[0], run.started_at
    for event in run.events:
        if event.type == "page" and event.entity in found:
            current = event.entity
            found[current].steps.append(_flush(event, before, waits))
        elif event.type in _PAUSES:
            found[current].steps.append(_pause(event, run))
        elif event.type in _ENDED and event.entity in found:
            place = order.index(event.entity) + 1
            current = order[min(place, len(order) - 1)]
        before = event.ts
    for track in found.values():
        track.bars = list(_picture(track.steps))
    return list(found.values())


def _flush(event: LoggedEvent, before: datetime | None, waits: Sequence[RateSample]) -> Flush:
    data = event.data
    since = before or event.ts
    meanwhile = [one for one in waits if since < one.ts <= event.ts]
    told = next((one.cause for one in meanwhile if one.cause in _REFUSALS), meanwhile[-1].cause if meanwhile else "")
    left = data.get("rateLimit") or {}
    return Flush(
        id=event.id, ts=event.ts, seconds=max((event.ts - since).total_seconds(), 0.0), page=event.page or 0,
        pages=data.get("pages", 1), look=data.get("look") or 1, rows=event.rows or 0, batch=data.get("batchRows", 0),
        inserted=data.get("inserted", 0), updated=data.get("updated", 0), unchanged=data.get("unchanged", 0),
        dead_lettered=data.get("deadLettered", 0), requests=data.get("requests", 0),
        waited_ms=max((one.waited_ms for one in meanwhile), default=0), cause="" if told == "answer" else told,
        limit=left.get("limit"), remaining=left.get("remaining"),
    )  # fmt: skip


def _pause(event: LoggedEvent, run: RunDetail) -> Pause:
    on = next((one.ts for one in run.events if one.id > event.id and one.type == "run-resumed"), None)
    is_last = on is None and run.finished_at is None
    return Pause(
        event.id,
        event.ts,
        on or (run.due_at if is_last else run.finished_at),
        not is_last,
        event.data.get("message") or event.msg,
    )


_KINDS = ("dead_lettered", "inserted", "updated", "unchanged")


def _picture(steps: Sequence[Flush | Pause]) -> list[Bar]:
    """One column a step: as high as its rows, in the colours of what became of them; a pause fills its column."""
    most = max((step.batch for step in steps if isinstance(step, Flush)), default=0)
    bars: list[Bar] = []
    for place, step in enumerate(steps):
        if isinstance(step, Pause):
            bars.append(Bar(place * 100, 0, 100, "pause", step.words))
            continue
        words = f"page {step.page}: {step.batch:,} rows in {step.seconds:.1f} s"
        if step.waited:
            words += f"; waited {step.waited}"
            bars.append(Bar(place * 100, 92, 8, "waited", words))
        y = 90.0
        for kind in _KINDS:
            count = getattr(step, kind)
            height = round(max(88 * count / most, 3), 1) if count and most else 0
            if height:
                y = max(y - height, 0)
                bars.append(Bar(place * 100, round(y, 1), height, kind, words))
    return bars

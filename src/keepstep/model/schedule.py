"""What a schedule is, and who a request comes from."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a connection is synced by itself. ``name`` tells several schedules of one connection apart.

    Runs are due on a grid: ``anchor_at`` plus whole intervals. Once every UTC day, at ``full_at_hour_utc``, the run is
    a full one. ``due_at`` is None while the schedule is not enabled.
    """

    id: int
    connection_id: int
    integration: str
    owner: str | None
    name: str
    enabled: bool
    interval_seconds: int
    full_at_hour_utc: int | None
    entities: tuple[str, ...]
    anchor_at: datetime
    due_at: datetime | None
    delta_at: datetime | None
    full_at: datetime | None


class Role(StrEnum):
    """What somebody may do: mind their own, look, act, or change who may."""

    USER = "user"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Roles in order: a greater one may do all that a smaller one may."""
        return list(Role).index(self)


@dataclass(frozen=True, slots=True)
class Scope:
    """What somebody may see: ``everything``, or what is ``shared`` (or an agent's) and what is the user ``owner``'s."""

    everything: bool = False
    shared: bool = False
    owner: str | None = None

    def sees(self, owner: str | None) -> bool:
        """Whether what belongs to this user (None: to nobody, or to an agent) may be seen."""
        return self.everything or (self.shared if owner is None else owner == self.owner)


EVERYTHING = Scope(everything=True)
SHARED = Scope(shared=True)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from. ``user_id`` is None for tokens; ``owner`` is whose connections are their own."""

    name: str
    role: Role
    user_id: int | None = None
    owner: str = ""

    @property
    def scope(self) -> Scope:
        """An administrator sees everything; staff what is shared, and everybody their own."""
        if self.role is Role.ADMIN:
            return EVERYTHING
        return Scope(shared=self.role is not Role.USER, owner=self.owner or None)

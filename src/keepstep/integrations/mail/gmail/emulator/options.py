"""Everything that can be chosen about an emulated Gmail, in one flat dataclass that flags and JSON map onto."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from keepstep.integrations.emulation.options import CONSENT_CHOICES, CONSENT_MEANINGS, Switches

MOST_MESSAGES = 1 << 20
SEED_FIELDS = frozenset({"seed", "messages", "odd_messages", "message_bytes"})
"""Options that shape the seeded data: they change with a reset only."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "throttle_as": ("403", "429"),
    "throttle_reason": ("userRateLimitExceeded", "rateLimitExceeded"),
    "throttle_hint": ("none", "message", "retry-after"),
    "unit_costs": ("classic", "2026"),
    "history_lost_as": ("404", "400"),
    "batch_order": ("shuffled", "kept"),
    "int64_as": ("text", "number"),
    **CONSENT_CHOICES,
}

MEANINGS: Mapping[str, str] = {
    "messages": "How many messages the mailbox has.",
    "odd_messages": "Make some of them malformed, as in every real mailbox.",
    "message_bytes": "Make each message larger by about so much.",
    "account": "Whose mailbox it is.",
    **CONSENT_MEANINGS,
    "throttle_as": "The status of too many requests.",
    "throttle_reason": "Its reason.",
    "throttle_hint": "Whether it says how long to wait, and where.",
    "units_per_minute": "Quota units a minute before that; 0 for no limit.",
    "unit_costs": "What requests cost: by the older page, or for projects made since May 2026.",
    "quota_window_scale": "Shorten or stretch the minute: 0.01 makes it last 0.6 s.",
    "history_lost_as": "What a history that is too old is answered with.",
    "history_days": "How long the history is kept; 0 for ever.",
    "batch_max": "Most calls of a batch.",
    "batch_throttled_after": "Throttle all calls of a batch after so many; 0 for none.",
    "batch_order": "In which order a batch is answered.",
    "int64_as": "How numbers of 64 bits are written.",
}
"""What the switches do, for ``--help``."""


@dataclass(frozen=True, slots=True)
class EmulatorOptions(Switches):
    """How the emulated mailbox looks and behaves.

    ``odd_messages``: some of them are malformed, as in every real mailbox. ``message_bytes`` makes each larger by about
    so much. ``units_per_minute``: quota units of one user (0: no limit), each call of a batch counted, with a minute
    of ``quota_window_scale``. ``batch_throttled_after``: only so many calls of a batch are answered, the others are
    throttled (0: all are answered). ``history_days``: how long the history is kept (0: for ever).
    """

    seed: int = 1
    messages: int = 300
    odd_messages: bool = True
    message_bytes: int = 0

    account: str = "me@example.test"
    access_token: str = field(default="ya29.EMULATOR-gmail-access-0123456789abcdef", repr=False)
    refresh_token: str = field(default="1//EMULATOR-gmail-refresh-0123456789abcdef", repr=False)
    client_id: str = "emulated-client"
    client_secret: str = field(default="emulated-client-secret-0123456789", repr=False)
    access_token_s: float = 3599.0
    refresh_token_days: float = 0.0
    rotate_refresh_tokens: bool = False
    expires_in_as: str = "number"
    consent: str = "allow"

    throttle_as: str = "403"
    throttle_reason: str = "userRateLimitExceeded"
    throttle_hint: str = "none"
    units_per_minute: int = 0
    unit_costs: str = "classic"
    quota_window_scale: float = 1.0

    history_lost_as: str = "404"
    history_days: float = 0.0
    batch_max: int = 100
    batch_throttled_after: int = 0
    batch_order: str = "shuffled"
    int64_as: str = "text"

    pretty: bool = False
    latency_ms: float = 0
    clock_offset_s: float = 0
    requests_kept: int = 10_000

    def __post_init__(self) -> None:
        self.check_choices(CHOICES)
        self.check_range(("messages",), MOST_MESSAGES)
        if self.batch_max < 1:
            raise ValueError("batch_max is at least 1")
        if self.quota_window_scale <= 0:
            raise ValueError("quota_window_scale is more than 0")
        positive = ("latency_ms", "requests_kept", "message_bytes", "units_per_minute", "batch_throttled_after")
        self.check_not_negative((*positive, "history_days", "access_token_s", "refresh_token_days"))

    @property
    def api_key(self) -> str:
        """What proves a request: the access token that is valid from the start."""
        return self.access_token

    def shown(self) -> dict[str, Any]:
        """The options as JSON, without what is secret."""
        hidden = {name: "set" for name in ("access_token", "refresh_token", "client_secret") if getattr(self, name)}
        return {**asdict(self), **hidden}

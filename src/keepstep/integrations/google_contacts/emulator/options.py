"""Everything that can be chosen about an emulated Google, in one flat dataclass that flags and JSON map onto."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from keepstep.integrations.emulation.options import CONSENT_CHOICES, CONSENT_MEANINGS, Switches

MAX_PEOPLE = 1 << 22
SEED_FIELDS = frozenset({"seed", "people", "no_identifier_percent", "undocumented_fields"})
"""Options that shape the seeded data: they change with a reset only."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "expired_as": ("400", "400-failed-precondition", "410", "410-bare"),
    "param_mismatch": ("reject", "ignore"),
    "page_size_over_max": ("clamp", "reject"),
    "paging": ("stable", "offset"),
    "changes_since": ("first-page", "last-page"),
    "quota_hint": ("none", "retry-after", "window-start"),
    "totals": ("both", "items", "people", "none"),
    **CONSENT_CHOICES,
}

MEANINGS: Mapping[str, str] = {
    "people": "How many people each account has.",
    "no_identifier_percent": "How many of them have neither e-mail address nor phone number.",
    "account": "Whose account it is when nobody is named.",
    **CONSENT_MEANINGS,
    "expired_as": "What an expired sync token is answered with.",
    "sync_token_days": "How long a sync token lasts, from its full reading on.",
    "changes_since": "Which moment of a reading its sync token stands for.",
    "param_mismatch": "What becomes of a token that comes with other parameters.",
    "default_page_size": "People of a page when none is asked for.",
    "max_page_size": "Most people of a page.",
    "page_size_over_max": "What becomes of a larger page size.",
    "paging": "Whether people shift between pages when some are deleted.",
    "totals": "Which of the two totals are told.",
    "first_page_quota": "First pages of full readings a minute before 429; 0 for no limit.",
    "read_quota": "Requests a minute before 429; 0 for no limit.",
    "quota_window_scale": "Shorten or stretch the minute: 0.01 makes it last 0.6 s.",
    "quota_hint": "Whether 429 says how long to wait.",
}
"""What the switches do, for ``--help``."""


@dataclass(frozen=True, slots=True)
class EmulatorOptions(Switches):
    """How the emulated accounts look and behave. Every account has ``people`` people of its own.

    ``account`` is the one that a consent is for when nobody is named, and the one of ``access_token`` and
    ``refresh_token``, which are valid from the start. Quotas of 0 mean no limit; ``quota_window_scale`` shortens or
    stretches their minute. A ``refresh_token_days`` of 0 means for ever.
    """

    seed: int = 1
    people: int = 300
    no_identifier_percent: float = 20.0
    undocumented_fields: bool = True

    account: str = "me@example.test"
    client_id: str = "emulated-client"
    client_secret: str = field(default="emulated-client-secret-0123456789", repr=False)
    access_token: str = field(default="ya29.EMULATOR-access-0123456789abcdef", repr=False)
    refresh_token: str = field(default="1//EMULATOR-refresh-0123456789abcdef", repr=False)
    access_token_s: float = 3599.0
    refresh_token_days: float = 0.0
    rotate_refresh_tokens: bool = False
    expires_in_as: str = "number"
    consent: str = "allow"

    expired_as: str = "400"
    sync_token_days: float = 7.0
    changes_since: str = "first-page"
    param_mismatch: str = "reject"
    default_page_size: int = 100
    max_page_size: int = 1000
    page_size_over_max: str = "clamp"
    paging: str = "stable"
    totals: str = "both"

    first_page_quota: int = 0
    read_quota: int = 0
    quota_window_scale: float = 1.0
    quota_hint: str = "none"

    pretty: bool = False
    latency_ms: float = 0
    clock_offset_s: float = 0
    requests_kept: int = 10_000

    def __post_init__(self) -> None:
        self.check_choices(CHOICES)
        self.check_range(("people",), MAX_PEOPLE)
        if not 0 <= self.no_identifier_percent <= 100:
            raise ValueError("no_identifier_percent lies between 0 and 100")
        if self.default_page_size < 1 or self.max_page_size < 1:
            raise ValueError("page sizes are at least 1")
        if self.quota_window_scale <= 0:
            raise ValueError("quota_window_scale is more than 0")
        positive = ("first_page_quota", "read_quota", "latency_ms", "requests_kept", "sync_token_days")
        self.check_not_negative((*positive, "access_token_s", "refresh_token_days"))

    @property
    def api_key(self) -> str:
        """What proves a request: the access token that is valid from the start."""
        return self.access_token

    def shown(self) -> dict[str, Any]:
        """The options as JSON, without what is secret."""
        hidden = {name: "set" for name in ("client_secret", "access_token", "refresh_token") if getattr(self, name)}
        return {**asdict(self), **hidden}

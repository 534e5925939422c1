"""Everything that can be chosen about an emulated DoorLoop, in one flat dataclass that flags and JSON map onto."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from keepstep.integrations.emulation.options import Switches

MAX_RECORDS = 1 << 24
"""Records of one entity: their number is the last six hex digits of the id."""

SEED_FIELDS = frozenset(
    {"seed", "owners", "properties", "units", "leases", "tenants", "undocumented_fields", "padding_bytes"}
)
"""Options that shape the seeded data: they change with a reset only."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "page_size_over_max": ("clamp", "reject"),
    "sort": ("honoured", "ignored", "ascending"),
    "unknown_sort_field": ("ignore", "reject"),
    "filter_active_false": ("inactive", "all"),
    "returned_payments": ("both", "lease-reversed-payments", "lease-returned-payments"),
    "portfolios": ("both", "portfolios", "property-groups"),
    "rate_headers": ("none", "x-ratelimit", "ratelimit", "ratelimit-draft"),
    "rate_scope": ("api", "endpoint"),
}


@dataclass(frozen=True, slots=True)
class EmulatorOptions(Switches):
    """How the emulated account looks and behaves.

    Sizes are numbers of records (units: inactive ones included). Rates of 0 mean no limit. ``rate_window_scale``
    shortens or stretches both windows (0.01: a minute lasts 0.6 s). An empty ``api_key`` accepts any key, but one
    must be sent. ``forbidden`` names entities that the key's role may not read. ``padding_bytes`` makes each record
    of the five main entities larger by about so much. ``docs_host``: every answer is the page of the documentation
    site.
    """

    seed: int = 1
    owners: int = 60
    properties: int = 120
    units: int = 800
    leases: int = 900
    tenants: int = 1200
    undocumented_fields: bool = True
    padding_bytes: int = 0

    api_key: str = field(default="dl_api_key_EMULATOR0123456789abcdef", repr=False)
    raw_key_accepted: bool = True
    forbidden: frozenset[str] = frozenset()
    docs_host: bool = False

    default_page_size: int = 50
    max_page_size: int = 1000
    page_size_over_max: str = "clamp"
    sort: str = "honoured"
    unknown_sort_field: str = "ignore"
    filter_active_false: str = "inactive"
    returned_payments: str = "both"
    portfolios: str = "both"

    pretty: bool = False
    shuffle_keys: bool = False
    volatile_field: bool = False

    latency_ms: float = 0
    rate_per_minute: int = 0
    rate_per_hour: int = 0
    rate_window_scale: float = 1.0
    rate_scope: str = "api"
    rate_headers: str = "none"
    clock_offset_s: float = 0
    requests_kept: int = 10_000

    def __post_init__(self) -> None:
        self.check_choices(CHOICES)
        self.check_range(("owners", "properties", "units", "leases", "tenants"), MAX_RECORDS // 2)
        if self.default_page_size < 1 or self.max_page_size < 1:
            raise ValueError("page sizes are at least 1")
        if self.rate_window_scale <= 0:
            raise ValueError("rate_window_scale is more than 0")
        self.check_not_negative(("latency_ms", "rate_per_minute", "rate_per_hour", "requests_kept", "padding_bytes"))

    def shown(self) -> dict[str, Any]:
        """The options as JSON, without the key."""
        shown = asdict(self)
        shown["api_key"] = "set" if self.api_key else "any"
        shown["forbidden"] = sorted(self.forbidden)
        return shown

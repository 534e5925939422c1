"""Everything that can be chosen about an emulated ERP, in one flat dataclass that flags and JSON map onto."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from keepstep.integrations.emulation.options import Switches

SEED_FIELDS = frozenset({"seed", "agents", "customers", "orders", "ddt", "invoices", "products", "prices"})
"""Options that shape the data: they change with a reset only."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "rules": ("unruled", "ruled", "boxed"),
    "page_number": ("head", "foot"),
    "printed": ("change", "request"),
    "login_refusal": ("page", "status"),
}
MEANINGS: Mapping[str, str] = {
    "agents": "The agents' codes, with commas.",
    "customers": "Rows of each agent.",
    "orders": "Rows of each agent.",
    "ddt": "Rows of each agent.",
    "invoices": "Rows of each agent.",
    "products": "Rows.",
    "prices": "Rows.",
    "username": "Who is let in.",
    "password": "With which password.",
    "login_refusal": "What a refused login gets: the login page again, or 401.",
    "session_uses": "Requests after which a session has ended; 0 for never.",
    "rules": "Whether reports have rules between their cells, or boxes around them.",
    "page_number": "Where a page's number stands.",
    "printed": "Which time a report tells: of the data's last change, or of the request.",
    "new_column": "Print a column more.",
    "moved_column": "Print a column elsewhere.",
    "split_rows": "Let rows begin on one page and end on the next.",
    "polls": "How often a report is still being made when asked.",
}
"""What the switches do, for ``--help``."""
MOST_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class EmulatorOptions(Switches):
    """How the emulated ERP looks and behaves.

    Sizes are rows; those of customers, orders, ddt and invoices are of each agent. ``printed``: a report tells the time
    of the last change of the data, so that the same data gives the same document, or that of each request.
    ``login_refusal``: a refused login gets the login page again (200), or 401. ``polls``: how often a report is still
    being made when asked. ``session_uses``: after so many requests a session has ended (0: never). ``new_column``,
    ``moved_column`` and ``split_rows`` (a row begins on one page and ends on the next) shape every report.
    """

    seed: int = 1
    agents: frozenset[str] = frozenset({"007", "012"})
    customers: int = 120
    orders: int = 90
    ddt: int = 70
    invoices: int = 80
    products: int = 120
    prices: int = 240

    username: str = "keepstep"
    password: str = field(default="erp_password_EMULATOR0123456789", repr=False)
    login_refusal: str = "page"
    session_uses: int = 0

    rules: str = "unruled"
    page_number: str = "head"
    printed: str = "change"
    new_column: bool = False
    moved_column: bool = False
    split_rows: bool = False

    polls: int = 1
    latency_ms: float = 0
    clock_offset_s: float = 0
    requests_kept: int = 10_000

    def __post_init__(self) -> None:
        self.check_choices(CHOICES)
        self.check_range(("customers", "orders", "ddt", "invoices", "products", "prices"), MOST_ROWS)
        self.check_not_negative(("polls", "latency_ms", "session_uses", "requests_kept"))
        if not self.agents:
            raise ValueError("agents names at least one agent")

    @property
    def api_key(self) -> str:
        """What a caller needs to be let in, as user and password."""
        return f"{self.username}:{self.password}"

    def shown(self) -> dict[str, Any]:
        """The options as JSON, without the password."""
        return {**asdict(self), "password": "set", "agents": sorted(self.agents)}

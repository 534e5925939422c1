"""What the emulated API answers to one request: decided here without any network, from the path, the query and the
key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keepstep.integrations.doorloop.emulator.answers import (
    APP_SHELL,
    README_PAGE,
    as_json,
    invalid,
    listing,
    message,
)
from keepstep.integrations.doorloop.emulator.catalogue import LISTINGS, entity_at, view_of
from keepstep.integrations.doorloop.emulator.commands import EmulatorCommands
from keepstep.integrations.doorloop.emulator.faults import Fault, spoiled
from keepstep.integrations.doorloop.emulator.minor import user_record
from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.doorloop.emulator.table import Table
from keepstep.integrations.doorloop.emulator.wire import dressed
from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.faults import limit_headers

API = "/api"


@dataclass(frozen=True, slots=True)
class Target:
    """What a path is: a ``list``, ``one`` record, ``me``, a ``report``, or ``nothing`` of the API."""

    kind: str
    entity: str | None = None
    id: str = ""


NOTHING = Target("nothing")


def target_of(path: str, options: EmulatorOptions) -> Target:
    """What a path names. ``/leases/tenants`` is a list of its own, not the lease called tenants."""
    if not path.startswith(API + "/"):
        return NOTHING
    rest = path[len(API) + 1 :].rstrip("/")
    entity = entity_at(rest, options)
    if entity is not None:
        return Target("list", entity)
    if rest in ("users/me", "auth/me"):
        return Target("me")
    head, _, tail = rest.rpartition("/")
    if head == "reports":
        return Target("report", id=tail)
    entity = entity_at(head, options)
    return NOTHING if entity is None or not tail else Target("one", entity, tail)


def page_of(target: Target, query: Mapping[str, str]) -> int | None:
    """The number of the page asked for; None where none is, or where it is no number."""
    if target.kind != "list":
        return None
    given = query.get("page_number", "1")
    return int(given) if given.isdecimal() else None


class Api:
    """The answers of one emulated account."""

    def __init__(self, commands: EmulatorCommands) -> None:
        self._commands = commands
        self._served = 0

    def answer(self, method: str, target: Target, query: Mapping[str, str], key: str, fault: Fault | None) -> Answer:
        """The answer to one request; ``key`` is the Authorization header, ``fault`` what hits its page."""
        options = self._commands.options
        if options.docs_host:
            return README_PAGE
        if target.kind == "nothing":
            return APP_SHELL
        if not _is_authorized(key, options):
            return message(401, "Unauthorized")
        limited, headers = self._limit(target)
        if limited:
            return limited
        if method != "GET" or (target.entity in options.forbidden):
            return message(405, "METHOD_NOT_ALLOWED")
        answer = self._data(target, query, fault)
        return replace(answer, headers={**answer.headers, **headers}) if headers else answer

    def _limit(self, target: Target) -> tuple[Answer | None, dict[str, str]]:
        """The refusal of a full rate window, or the headers that an admitted request gets."""
        options, now = self._commands.options, self._commands.account.now()
        scope = "api" if options.rate_scope == "api" else target.entity or target.kind
        verdict = self._commands.windows.admit(
            scope, options.rate_per_minute, options.rate_per_hour, options.rate_window_scale
        )
        if verdict is None:
            return None, {}
        headers = limit_headers(options.rate_headers, verdict.limit, verdict.remaining, verdict.reset_s, now)
        if verdict.retry_after is None:
            return None, headers
        refusal = message(429, "RATE_LIMIT_EXCEEDED")
        return replace(refusal, headers={"Retry-After": str(verdict.retry_after), **headers}), {}

    def _data(self, target: Target, query: Mapping[str, str], fault: Fault | None) -> Answer:
        account = self._commands.account
        if target.kind == "list" and target.entity:
            return self._list(target.entity, query, fault)
        if target.kind == "me":
            return Answer(200, user_record(account.records("users")))
        if target.kind == "report":
            return _report(query)
        record = account.find(target.entity or "", target.id)
        if record is None:
            return message(404, "Not Found")
        self._served += 1
        return Answer(200, dressed([record], self._commands.options, self._served)[0])

    def _list(self, entity: str, query: Mapping[str, str], fault: Fault | None) -> Answer:
        options, account = self._commands.options, self._commands.account
        size, number, refusal = _paging(query, options)
        if refusal:
            return refusal
        table = account.table(entity)
        sort, descending, refusal = _sorting(entity, query, table, options)
        if refusal:
            return refusal
        if fault and fault.kind == "repeat":
            number = 1
        view = view_of(entity, query, sort, options)
        start = (number - 1) * size
        total, records = table.page(view, start, start + size, descending=descending)
        self._served += 1
        data_first = options.shuffle_keys and self._served % 2 == 0
        shown = dressed(records, options, self._served)
        page = listing(total, shown, pretty=options.pretty, data_first=data_first)
        if fault and fault.kind == "shift":
            account.shift(entity, _slots(table, records), fault.rows, replace=fault.variant == "replace")
        return spoiled(fault, page) if fault else page


def _is_authorized(header: str, options: EmulatorOptions) -> bool:
    scheme, _, rest = header.strip().partition(" ")
    given = rest.strip() if scheme.lower() == "bearer" else header.strip() if options.raw_key_accepted else ""
    return bool(given) and (not options.api_key or given == options.api_key)


def _paging(query: Mapping[str, str], options: EmulatorOptions) -> tuple[int, int, Answer | None]:
    """Page size and number, or a refusal (GUESS: what DoorLoop does with a size of 0 or no number is not known)."""
    numbers = {"page_size": options.default_page_size, "page_number": 1}
    for name in numbers:
        given = query.get(name)
        if given is None:
            continue
        if not given.isdecimal() or int(given) < 1:
            return 0, 0, invalid(name, "must be a positive number")
        numbers[name] = int(given)
    if numbers["page_size"] > options.max_page_size:
        if options.page_size_over_max == "reject":
            return 0, 0, invalid("page_size", f"must not be greater than {options.max_page_size}")
        numbers["page_size"] = options.max_page_size
    return numbers["page_size"], numbers["page_number"], None


def _sorting(
    entity: str, query: Mapping[str, str], table: Table, options: EmulatorOptions
) -> tuple[str | None, bool, Answer | None]:
    """The field to sort by and the direction, or a refusal."""
    default = LISTINGS[entity].sort, LISTINGS[entity].descending, None
    field = query.get("sort_by")
    if not field or options.sort == "ignored":
        return default
    if not table.knows(field):
        return (None, False, invalid("sort_by", "unknown field")) if options.unknown_sort_field == "reject" else default
    return field, query.get("sort_descending", "").lower() == "true" and options.sort != "ascending", None


def _slots(table: Table, records: Sequence[bytes]) -> list[int]:
    """The slots of records that were just served, in order; poisoned ones are left out."""
    found = (table.find(id_) for record in records if isinstance(id_ := table.read_bytes(record, "id"), str))
    return [slot for slot in found if slot is not None]


def _report(query: Mapping[str, str]) -> Answer:
    """A report: refused without its accounting method (FACT, captured), else empty."""
    if not query.get("filter_accountingMethod"):
        return invalid("filter_accountingMethod", "This field is required")
    return as_json(200, {"rows": [], "total": 0})

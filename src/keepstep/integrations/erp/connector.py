"""The ERP connector: one report is one reading, proven whole before its first page is given."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from msgspec import Raw

from keepstep.integrations import probing
from keepstep.integrations.erp.answers import FACTS, classify
from keepstep.integrations.erp.entities import ENTITIES
from keepstep.integrations.erp.errand import MADE_WITHIN, Errand, Fetched
from keepstep.integrations.erp.layout import LAYOUTS
from keepstep.integrations.erp.parser import Report, check_file, document_hash
from keepstep.integrations.erp.reader import ReportReader
from keepstep.integrations.erp.refusal import Refused
from keepstep.integrations.http import HttpClient, Timeouts, without_credentials
from keepstep.integrations.probing import PING_PATIENCE, Seen, failed_check, good_check
from keepstep.model.document import Document
from keepstep.model.errors import Answer, AuthFailed, NotData, Permanent, UpstreamError
from keepstep.model.integration import Check, Entity, Json, Mode, Page, Ping, Reading
from keepstep.reliability.clock import Clock, SystemClock
from keepstep.reliability.pacing import Pacer, Pacing
from keepstep.reliability.retry import LONGEST_SLEEP, MAX_ATTEMPTS

CHECK_SECONDS = 60.0
OLDER = timedelta(hours=2)
"""A report may be older by so much than the last one: the ERP prints local time, which goes back once a year."""
SAME = "the ERP gave the same document as the last time; there is nothing to read"
NEW_COLUMNS = "the report has columns that are not known, kept under their headers: {}"
NO_AGENT = "It is printed for one agent at a time, and this connection has none."


Keep = Callable[[Document], Awaitable[object]]
"""Puts a document where people can look at it."""


class Erp:
    """A sales ERP behind one login, read for one agent (or, without one, the reports that all agents share).

    ``keep`` is given every document that was read, refused ones too. ``reader`` replaces one of its own, which it would
    close. ``pacer`` replaces the one made of ``max_concurrency`` and ``rate_limit_rps`` (0: no ceiling).
    """

    key: str = "erp"
    title: str = "The ERP"
    entities: tuple[Entity, ...] = ENTITIES

    def __init__(
        self,
        *,
        base_url: str,
        username: str,
        password: str,
        agent: str = "",
        page_size: int = 1000,
        max_concurrency: int = 2,
        rate_limit_rps: float = 4.0,
        keep: Keep | None = None,
        reader: ReportReader | None = None,
        pacer: Pacing | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.base_url = without_credentials(base_url.strip().rstrip("/"))
        self.agent = agent
        self.page_size = max(1, page_size)
        self._credentials = username.strip() and password
        self._keep = keep
        self._clock = clock
        self._reader = reader or ReportReader()
        self._own_reader = reader is None
        pacing: Pacing = pacer or Pacer(
            max_concurrency=max(1, max_concurrency), per_second=max(0.0, rate_limit_rps), clock=clock
        )
        self._client = HttpClient(
            self.base_url,
            title=self.title,
            headers={"Accept": "application/json, application/pdf, text/html"},
            secrets=(password,),
            pacer=pacing,
            classify=lambda response, shown: classify(response, shown, self.base_url),
            clock=clock,
            base_url_setting="ERP_BASE_URL",
            size_fix="Narrow the report down, to a shorter time.",
            rng=rng,
            timeouts=timeouts,
        )
        self._errand = Errand(self._client, username.strip(), password, base_url=self.base_url, clock=clock)

    @property
    def requests(self) -> int:
        """How many requests have been sent, every attempt counted."""
        return self._client.requests

    async def read(self, entity: Entity, reading: Reading) -> AsyncGenerator[Page, None]:
        """Give the rows of a report in order. Raises ``UpstreamError``, and then no page was given."""
        fetched = await self._fetch(entity.name)
        document = document_hash(fetched.body)
        facts: Json = {"document": document, "layout": LAYOUTS[entity.name].name, "full": reading.mode is Mode.BACKFILL}
        if reading.cursor is None and _is_known(reading, facts):
            # It was proven then: that it came again is what tells a refused one before it as over.
            await self._kept(entity.name, self.agent if entity.owned else "", fetched, None, None)
            yield Page((), (), 1, {"document": document, "rows": 0}, last=True, high=fetched.began,
                       requests=fetched.requests, notes=(SAME,), unchanged=True)  # fmt: skip
            return
        report = await self._proven(entity.name, fetched, reading.facts)
        if report.printed is not None:
            facts = {**facts, "printed": report.printed.isoformat()}
        for page in _pages(report, fetched, reading.cursor, self.page_size, facts):
            yield page

    async def ping(self) -> Ping:
        """Log in, which proves host, path and credentials. Never raises for what upstream does."""

        async def look() -> Seen:
            self._check_credentials()
            response = await self._errand.log_in(max_attempts=1, patience=PING_PATIENCE)
            return Seen("The ERP answers and lets us in.", response=response)

        return await probing.ping(look, base_url=self.base_url, facts=FACTS, clock=self._clock)

    async def check(self, endpoint: str, *, page_size: int = 1) -> Check:
        """Fetch one report and say in words what it holds. Never raises for what upstream does."""
        name = endpoint.strip().strip("/")
        if name not in LAYOUTS:
            fix = f"Its reports are {', '.join(LAYOUTS)}."
            return Check(None, endpoint, (), None, "This is not the name of a report.", False, fix)
        try:
            fetched = await self._fetch(name, within=CHECK_SECONDS, max_attempts=1, patience=PING_PATIENCE)
            report = await self._proven(name, fetched, {})
        except UpstreamError as error:
            return failed_check(error, name)
        sample = [Raw(record) for record in report.records[: max(1, page_size)]]
        message = f"The report has {len(report.records)} rows on {report.pages} pages, and its sums hold."
        if report.new_columns:
            message += f" New columns: {', '.join(report.new_columns)}."
        return good_check(name, fetched.response.status, sample, len(report.records), message)

    async def aclose(self) -> None:
        """Close the connections, and end the processes that read."""
        await self._client.aclose()
        if self._own_reader:
            await self._reader.aclose()

    async def _fetch(
        self, name: str, *, within: float = MADE_WITHIN, max_attempts: int = MAX_ATTEMPTS,
        patience: float = LONGEST_SLEEP,
    ) -> Fetched:  # fmt: skip
        self._check_credentials()
        per_agent = LAYOUTS[name].per_agent
        if per_agent and not self.agent:
            raise Permanent.named("report-refused", facts={**FACTS, "path": name, "detail": NO_AGENT.rstrip(".")})
        agent = self.agent if per_agent else ""
        return await self._errand.fetch(name, agent, within=within, max_attempts=max_attempts, patience=patience)

    def _check_credentials(self) -> None:
        if not self._credentials:
            raise AuthFailed.named("key-missing", facts={**FACTS, "see": ""})

    async def _proven(self, name: str, fetched: Fetched, facts: Json) -> Report:
        """Read it, prove it, keep it. Raises ``NotData``, after keeping it all the same."""
        agent = self.agent if LAYOUTS[name].per_agent else ""
        try:
            check_file(fetched.body)
            _check_size(fetched)
            report = await self._reader.read(name, fetched.body, agent=agent)
            _check_age(report, facts)
        except Refused as refused:
            error = self._not_data(name, fetched, refused)
            await self._kept(name, agent, fetched, error, refused)
            raise error from None
        await self._kept(name, agent, fetched, None, None)
        return report

    async def _kept(
        self, name: str, agent: str, fetched: Fetched, error: UpstreamError | None, refused: Refused | None
    ) -> None:
        if self._keep is not None:
            spot = (refused.spot.page, refused.spot.row, refused.spot.box) if refused else ()
            await self._keep(Document(document_hash(fetched.body), fetched.body, name, agent, error, *spot))

    def _not_data(self, name: str, fetched: Fetched, refused: Refused) -> NotData:
        response = fetched.response
        pdf = fetched.body[:8].startswith(b"%PDF-")
        shown = Answer(
            response.method, response.path, response.status, response.content_type,
            f"a PDF of {len(fetched.body)} bytes, SHA-256 {document_hash(fetched.body)}" if pdf
            else self._client.answer_of(response).snippet,
        )  # fmt: skip
        facts = {**FACTS, "path": name, "detail": self._client.masked(refused.detail)}
        return NotData.named(refused.code, facts=facts, answer=shown)


def _is_known(reading: Reading, facts: Json) -> bool:
    """Whether this very document has been applied: read in full where a full reading is asked for, and to its end."""
    known = reading.facts
    same = known.get("document") == facts["document"] and known.get("layout") == facts["layout"]
    return same and reading.settled and (known.get("full") is True or reading.mode is Mode.DELTA)


def _check_size(fetched: Fetched) -> None:
    """Refuse what is shorter than the ERP said, whether or not it can be read."""
    if fetched.expected is not None and len(fetched.body) < fetched.expected:
        raise Refused("report-cut-off", f"{len(fetched.body)} of {fetched.expected} bytes came")


def _check_age(report: Report, facts: Json) -> None:
    """Refuse a report from before the last one."""
    if report.printed is None or not isinstance(known := facts.get("printed"), str):
        return
    last = datetime.fromisoformat(known)
    if report.printed < last - OLDER:
        detail = f"printed {report.printed:%d/%m/%Y %H:%M}, and the last one {last:%d/%m/%Y %H:%M}"
        raise Refused("report-old", detail)


def _pages(report: Report, fetched: Fetched, cursor: Json | None, size: int, facts: Json) -> Sequence[Page]:
    """The rows in pages, from where an interrupted reading of the same document goes on."""
    total = len(report.records)
    done, same = _position(cursor, report.document, total)
    began = (_began(cursor) if same else None) or fetched.began
    if done and done >= total:
        return [Page((), (), 1, dict(cursor or {}), last=True, total=total, requests=fetched.requests)]
    notes = (NEW_COLUMNS.format(", ".join(report.new_columns)),) if report.new_columns else ()
    pages = []
    for number, start in enumerate(range(done, max(total, 1), size), start=1):
        end = min(start + size, total)
        last = end >= total
        pages.append(
            Page(
                records=[Raw(record) for record in report.records[start:end]],
                keys=report.keys[start:end],
                number=number,
                cursor={"document": report.document, "rows": end, "began": began.isoformat()},
                last=last,
                total=total,
                high=began,
                requests=fetched.requests if number == 1 else 0,
                facts=facts if last else None,
                notes=notes if number == 1 else (),
                anew=number == 1 and cursor is not None and not same,
            )
        )
    return pages


def _position(cursor: Json | None, document: str, total: int) -> tuple[int, bool]:
    """How many rows of this document are done, and whether a cursor is of it."""
    if cursor is None or cursor.get("document") != document or _began(cursor) is None:
        return 0, False
    rows = cursor.get("rows")
    return (rows, True) if isinstance(rows, int) and 0 <= rows <= total else (0, False)


def _began(cursor: Json | None) -> datetime | None:
    """When the reading of a cursor began; None where it does not say."""
    try:
        began = datetime.fromisoformat(str((cursor or {}).get("began")))
    except ValueError:
        return None
    return began if began.tzinfo is not None else None

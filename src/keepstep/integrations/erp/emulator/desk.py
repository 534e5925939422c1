"""What the emulated ERP answers: decided here without any network, from the path, the form and the session."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from keepstep.integrations.emulation.answers import HTML, Answer
from keepstep.integrations.erp.emulator import names
from keepstep.integrations.erp.emulator.faults import Fault
from keepstep.integrations.erp.emulator.ledger import Ledger, layout_of
from keepstep.integrations.erp.emulator.press import FLAWS, Printed, Sheet, print_report, print_scan
from keepstep.integrations.erp.layout import LAYOUTS

BASE = "/erp"
COOKIE = "ERPSESSID"
_MOST_KEPT = 64


@dataclass(slots=True)
class Job:
    """A report that somebody has asked for."""

    id: str
    report: str
    agent: str
    fault: Fault | None
    polled: int = 0
    pdf: bytes | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is for: a ``step`` on the way to a report, or ``nothing``."""

    step: str
    report: str = ""
    agent: str = ""
    job: str = ""


LOGIN_PAGE = (
    '<!DOCTYPE html><html lang="it"><head><meta charset="utf-8"><title>Gestionale – Accesso</title></head><body>'
    '<form method="post" action="/erp/login"><p class="errore">{}</p><input name="username">'
    '<input name="password" type="password"><button>Entra</button></form></body></html>'
)
ERROR_PAGE = (
    '<!DOCTYPE html><html lang="it"><head><title>Errore</title></head><body><h1>Errore applicativo 0x80004005</h1>'
    "<p>La stampa richiesta non è disponibile. Riprovare più tardi.</p></body></html>"
).encode()


class Desk:
    """The sessions, the jobs and the answers of one emulated ERP."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._sessions: dict[str, int] = {}
        self._jobs: dict[str, Job] = {}
        self._printed: dict[tuple[Any, ...], Printed] = {}
        self._before: dict[tuple[str, str], bytes] = {}

    def forget(self) -> None:
        """End every session, drop every job and document."""
        self._sessions.clear()
        self._jobs.clear()
        self._printed.clear()
        self._before.clear()

    def target_of(self, method: str, path: str, form: Mapping[str, str]) -> Target:
        """What a request is for."""
        parts = path.removeprefix(BASE).strip("/").split("/") if path.startswith(BASE + "/") else []
        match (method, parts):
            case ("POST", ["login"]):
                return Target("login")
            case ("POST", ["reports"]):
                return Target("request", form.get("report", ""), form.get("agent", ""))
            case ("GET", ["reports", job]):
                return self._of_job("poll", job)
            case ("GET", ["reports", job, "file"]):
                return self._of_job("download", job)
        return Target("nothing")

    def answer(self, target: Target, form: Mapping[str, str], cookie: str, fault: Fault | None) -> Answer:
        """The answer to one request; ``fault`` is what hits it."""
        if target.step == "nothing":
            return Answer(404, ERROR_PAGE, HTML)
        if fault is not None and (instead := self._instead(fault, target)) is not None:
            return instead
        if target.step == "login":
            return self._login(form)
        if not self._admitted(cookie) or (fault is not None and fault.kind == "logged-out"):
            self._sessions.pop(cookie, None)
            return Answer(303, b"", headers={"Location": f"{BASE}/login"})
        if target.step == "request":
            answer = self._request(target, fault)
        else:
            if fault is not None and fault.kind == "forgotten":
                self._jobs.pop(target.job, None)
            job = self._jobs.get(target.job)
            if job is None:
                return _json(404, {"message": "stampa non trovata"})
            answer = self._poll(job) if target.step == "poll" else self._download(job)
        return answer if fault is None else _spoiled(answer, fault)

    def document(self, report: str, agent: str, **more: Any) -> Printed:
        """The report as it would be printed now."""
        ledger, options = self._ledger, self._ledger.options
        layout = layout_of(report)
        place = ledger.place(report, agent)
        rows = more.pop("rows", ledger.rows(report, agent))
        at = ledger.now() if options.printed == "request" else ledger.changed_at(report, agent)
        sheet = Sheet(
            layout,
            rows,
            datetime.fromtimestamp(at, UTC).replace(tzinfo=None),
            _titled(place[1]),
            **{
                "ruled": options.rules == "ruled",
                "boxed": options.rules == "boxed",
                "foot": options.page_number == "foot",
                "new_column": options.new_column,
                "moved_column": options.moved_column,
                "split_rows": options.split_rows,
                **more,
            },
        )
        known = (place, int(at // 60), len(rows), options, tuple(sorted(more.items(), key=str)))
        if known in self._printed:
            return self._printed[known]
        printed = print_report(sheet)
        if len(self._printed) >= _MOST_KEPT:
            self._printed.pop(next(iter(self._printed)))
        self._printed[known] = printed
        return printed

    # Steps

    def _login(self, form: Mapping[str, str]) -> Answer:
        options = self._ledger.options
        if (form.get("username"), form.get("password")) != (options.username, options.password):
            status = 401 if options.login_refusal == "status" else 200
            return Answer(status, LOGIN_PAGE.format("Utente o password errati").encode(), HTML)
        session = secrets.token_hex(16)
        self._sessions[session] = options.session_uses or -1
        cookie = f"{COOKIE}={session}; Path={BASE}; HttpOnly; SameSite=Lax"
        return Answer(303, b"", headers={"Location": f"{BASE}/home", "Set-Cookie": cookie})

    def _admitted(self, session: str) -> bool:
        left = self._sessions.get(session)
        if left is None or left == 0:
            return False
        self._sessions[session] = left - 1
        return True

    def _request(self, target: Target, fault: Fault | None) -> Answer:
        try:
            self._ledger.place(target.report, target.agent)
        except ValueError as error:
            return _json(422, {"message": str(error)})
        job = Job(secrets.token_hex(6), target.report, target.agent, fault)
        if len(self._jobs) >= _MOST_KEPT:
            self._jobs.pop(next(iter(self._jobs)))
        self._jobs[job.id] = job
        return _json(202, {"id": job.id, "status": "queued"})

    def _poll(self, job: Job) -> Answer:
        job.polled += 1
        kind = job.fault.kind if job.fault else ""
        if kind == "failed":
            return _json(200, {"id": job.id, "status": "failed", "message": "Archivio bloccato da altro utente"})
        if job.polled <= self._ledger.options.polls or kind == "stuck":
            return _json(200, {"id": job.id, "status": "running", "percent": min(99, 40 * job.polled)})
        pdf = self._pdf(job)
        return _json(200, {"id": job.id, "status": "ready", "bytes": len(pdf), "file": _file_name(job)})

    def _download(self, job: Job) -> Answer:
        headers = {"Content-Disposition": f'attachment; filename="{_file_name(job)}"'}
        return Answer(200, self._pdf(job), "application/pdf", headers)

    def _pdf(self, job: Job) -> bytes:
        if job.pdf is None:
            job.pdf = self._made(job)
        return job.pdf

    def _made(self, job: Job) -> bytes:
        kind = job.fault.kind if job.fault else ""
        where = self._ledger.place(job.report, job.agent)
        if kind == "scan":
            return print_scan()
        if kind == "yesterday" and where in self._before:
            return self._before[where]
        more: dict[str, Any] = {}
        if kind == "empty":
            more["rows"] = ()
        elif kind in ("new-column", "moved-column"):
            more[kind.replace("-", "_")] = True
        elif kind in FLAWS:
            more["flaw"] = kind
        return self.document(job.report, job.agent, **more).pdf

    def keep_for_later(self, report: str, agent: str) -> None:
        """Remember the report as it is now: the fault ``yesterday`` serves it again after changes."""
        self._before[self._ledger.place(report, agent)] = self.document(report, agent).pdf

    def _instead(self, fault: Fault, target: Target) -> Answer | None:
        """The whole answer of a fault that needs no data; None for the other kinds."""
        if fault.kind == "status":
            seconds = 1.0 if fault.retry_after is None and fault.status == 429 else fault.retry_after
            headers = {} if seconds is None else {"Retry-After": f"{seconds:g}"}
            return replace(_json(fault.status, {"message": "servizio non disponibile"}), headers=headers)
        if fault.kind == "html":
            if target.step != "download":
                return Answer(200, ERROR_PAGE, HTML)
            headers = {"Content-Disposition": f'attachment; filename="{_file_name(target)}"'}
            return Answer(200, ERROR_PAGE, "application/pdf", headers)  # what it is, and what it says that it is
        return None

    def _of_job(self, step: str, id_: str) -> Target:
        job = self._jobs.get(id_)
        return Target(step, job.report if job else "", job.agent if job else "", id_)


def _spoiled(answer: Answer, fault: Fault) -> Answer:
    """An answer after a fault of its body."""
    body = answer.body
    if fault.kind == "truncate":
        cut = int(fault.keep) if fault.keep >= 1 else int(len(body) * fault.keep)
        return replace(answer, cut=cut) if fault.variant == "connection" else replace(answer, body=body[:cut])
    if fault.kind == "bad-json":
        return replace(answer, body=body[:-1] + b",}")
    if fault.kind == "envelope":
        data = json.loads(body)
        data.pop({"no-id": "id", "no-status": "status"}.get(fault.variant, ""), None)
        if fault.variant == "no-id":
            data.pop("status", None)
        return replace(answer, body=json.dumps([data] if fault.variant == "list" else data).encode())
    return answer


def _json(status: int, body: Any) -> Answer:
    return Answer(status, json.dumps(body, ensure_ascii=False).encode())


def _titled(agent: str) -> str:
    """An agent's code and name."""
    return f"{agent} {names.AGENT_NAMES[sum(agent.encode()) % len(names.AGENT_NAMES)]}" if agent else ""


def _file_name(of: Job | Target) -> str:
    title = LAYOUTS[of.report].title if of.report in LAYOUTS else "Stampa"
    return f"{title.replace(' ', '_')}{f'_{of.agent}' if of.agent else ''}.pdf"

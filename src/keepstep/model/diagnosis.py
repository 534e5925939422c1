"""Everything that can go wrong, once: how bad it is, in plain words, what it means for the data, and what to do.

Errors, the API, the command line, the log, doctor and the documentation (``docs/diagnosis.md``) take their texts from
here. A text may have places to fill in, ``{title}``; where a fact is not known, ``GENERIC`` stands in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from types import MappingProxyType
from typing import Any

from keepstep.model.faults import Fault, Severity
from keepstep.model.faults_of_keepstep import OF_DATABASE, OF_KEEPSTEP
from keepstep.model.faults_of_reports import OF_REPORTS
from keepstep.model.faults_of_upstream import OF_DATA, OF_UPSTREAM

DOCS = "docs/diagnosis.md"
AREAS: Mapping[str, tuple[Fault, ...]] = MappingProxyType(
    {
        "Upstream": OF_UPSTREAM,
        "Data": OF_DATA,
        "Reports": OF_REPORTS,
        "Database": OF_DATABASE,
        "Keepstep itself": OF_KEEPSTEP,
    }
)
TABLE: Mapping[str, Fault] = MappingProxyType({fault.code: fault for faults in AREAS.values() for fault in faults})
"""Every fault by its code."""
GENERIC: Mapping[str, str] = MappingProxyType(
    {
        "title": "Upstream",
        "host": "its host",
        "path": "this endpoint",
        "url": "this address",
        "url_setting": "the base URL (DOORLOOP_BASE_URL)",
        "use_url": "Set DOORLOOP_BASE_URL=https://app.doorloop.com/api.",
        "key_setting": "DOORLOOP_API_KEY",
        "size_setting": "DOORLOOP_PAGE_SIZE",
        "entities_setting": "SYNC_ENTITIES",
        "detail": "",
        "see": "",
        "advice": "keepstep doctor says more.",
        "status": "an error",
        "count": "some",
        "integration": "this integration",
    }
)
_BY_STATUS = {
    401: "auth-failed", 403: "access-denied", 404: "endpoint-unknown", 405: "role-refused", 400: "request-rejected",
    422: "request-rejected",
}  # fmt: skip
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Said:
    """A fault in words, with its facts filled in."""

    code: str
    message: str
    fix: str


class _Facts(dict[str, object]):
    """Facts, and what stands in for those that are not known."""

    def __missing__(self, name: str) -> object:
        return GENERIC.get(name, "")


def said(code: str, **facts: object) -> Said:
    """The sentences of a fault. Raises ``KeyError`` for a code that is not in the table."""
    fault = TABLE[code]
    known = _Facts({name: value for name, value in facts.items() if value is not None})
    message, fix = (_filled(text, known) for text in (fault.message, fault.fix))
    return Said(code, message, fix)


def _filled(text: str, facts: Mapping[str, object]) -> str:
    return " ".join(Formatter().vformat(text, (), facts).split())


def fault_of(error: Mapping[str, Any] | BaseException | str | None) -> Fault | None:
    """The table's entry of an error, of one as it is stored, or of a code; None for what is nobody's fault there.

    What an earlier version stored has only a coarse code: the status that came with it says more.
    """
    if isinstance(error, BaseException):
        answer = getattr(error, "answer", None)
        return _fault(getattr(error, "code", ""), getattr(answer, "status", None))
    if isinstance(error, Mapping):
        answer = error.get("answer") or {}
        return _fault(error.get("code"), answer.get("status"))
    return _fault(error, None)


def _fault(code: object, status: object) -> Fault | None:
    if code == "permanent" and status in _BY_STATUS:
        return TABLE[_BY_STATUS[int(str(status))]]
    return TABLE.get(str(code))


def docs_of(code: str) -> str:
    """Where a fault is described."""
    return f"{DOCS}#{code}"


def explained(error: Mapping[str, Any]) -> dict[str, Any]:
    """A stored error with what the table says of it: with ``severity``, ``title``, ``impact`` and ``docs`` as well."""
    fault = fault_of(error)
    if fault is None:
        return dict(error)
    more = {"severity": fault.severity, "title": fault.title, "impact": fault.impact, "docs": docs_of(fault.code)}
    return {**error, "fix": error.get("fix") or said(fault.code).fix, **more}


def weight(severity: Severity) -> int:
    """For sorting, the worst first."""
    return _SEVERITIES.index(severity)

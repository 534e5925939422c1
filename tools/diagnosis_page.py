"""Writes ``docs/diagnosis.md`` from the table of faults, ``src/keepstep/model/diagnosis.py``.

``--check`` compares instead, and fails when the page is not what the table makes.
"""

import argparse
import difflib
import re
import sys
from pathlib import Path

from keepstep.model.diagnosis import AREAS, GENERIC
from keepstep.model.faults import Fault

PAGE = Path(__file__).parents[1] / "docs/diagnosis.md"
HEADER = """<!-- Written by tools/diagnosis_page.py (make faults) from the table of faults; do not edit. -->

# Diagnosis

Everything that can go wrong, with its code. The same words stand in the API (`code`, `impact`, `fix`, `docs`), in
`keepstep doctor`, `status` and `ping`, in the log and in alerts. **Error**: something is not kept in step until
somebody, or upstream, acts. **Warning**: it is, but look at it. **Info**: good to know. Words in ‹brackets› are
filled in.

| code | severity | what |
| --- | --- | --- |
"""
_PLACE = re.compile(r"\{(\w+)\}")
_SETTINGS = ("key_setting", "size_setting", "entities_setting", "url_setting", "use_url")


def page() -> str:
    """The page as Markdown."""
    rows = [f"| [{fault.code}](#{fault.code}) | {fault.severity} | {fault.title} |" for fault in _all()]
    parts = [HEADER + "\n".join(rows) + "\n"]
    for area, faults in AREAS.items():
        parts.append(f"\n## {area}\n")
        parts += [_section(fault) for fault in faults]
    return "".join(parts)


def _all() -> list[Fault]:
    return [fault for faults in AREAS.values() for fault in faults]


def _section(fault: Fault) -> str:
    head = f"\n### {fault.code}\n\n**{fault.title}** ({fault.severity}).\n"
    lines = {"Says": fault.message, "For the data": fault.impact, "Fix": fault.fix}
    return head + "".join(f"\n- *{name}*: {_words(text)}" for name, text in lines.items()) + "\n"


def _words(text: str) -> str:
    filled = _PLACE.sub(lambda place: _shown(place[1]), text)
    return " ".join(filled.split())


def _shown(place: str) -> str:
    if place in _SETTINGS or place == "title":
        return GENERIC[place]
    return {"see": "", "advice": "‹advice›", "detail": "‹detail›"}.get(place, f"‹{place}›")


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only say whether it is current")
    check: bool = parser.parse_args().check
    made, kept = page(), PAGE.read_text("utf-8") if PAGE.exists() else ""
    if made == kept:
        return 0
    if not check:
        PAGE.write_text(made, "utf-8")
        return 0
    lines = difflib.unified_diff(kept.splitlines(True), made.splitlines(True), "diagnosis.md", "what the table makes")
    sys.stderr.writelines(lines)
    sys.stderr.write("docs/diagnosis.md is not current. Write it anew with: make faults\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""The table of everything that can go wrong: complete, worded for people, and found from whatever an error is."""

import re
import subprocess
import sys
from pathlib import Path
from string import Formatter

import pytest

from keepstep.model import diagnosis, errors
from keepstep.model.diagnosis import GENERIC, TABLE, explained, fault_of, said
from keepstep.model.run import error_json

ROOT = Path(__file__).parents[2]
NAMED_BY_THE_ISSUE = """
    wrong-host docs-host wrong-path http-not-https dns-failed connection-refused tls-failed answer-timeout auth-failed
    access-denied role-refused endpoint-unknown rate-limited-minute rate-limited-hour upstream-failed
    html-instead-of-data answer-cut-off bad-json wrong-envelope page-repeats listing-shifts source-emptied
    poison-records schema-drift database-full database-down database-read-only database-too-old migrations-missing
    lock-orphaned scheduler-silent worker-missing webhook-refused secret-key-changed clock-skew disk-full
"""


def test_the_table_names_all_that_it_must() -> None:
    assert [code for code in re.findall(r"\S+", NAMED_BY_THE_ISSUE) if code not in TABLE] == []
    assert len(TABLE) == sum(len(faults) for faults in diagnosis.AREAS.values())


@pytest.mark.parametrize("code", TABLE)
def test_every_fault_says_what_it_means_and_what_to_do(code: str) -> None:
    fault = TABLE[code]
    words = said(code)
    places = {name for text in (fault.message, fault.fix) for _, name, _, _ in Formatter().parse(text) if name}

    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
    assert fault.title[:1].isupper()
    assert not fault.title.endswith(".")
    assert fault.impact.endswith(".")
    assert "{" not in fault.impact + fault.title + words.message + words.fix
    assert fault.fix
    assert places <= set(GENERIC), "a place without words for when nothing is known"
    assert said(code, **dict.fromkeys(places, "X")).message


def test_facts_are_filled_in_and_what_is_not_known_is_named_in_general() -> None:
    words = said("dns-failed", title="DoorLoop", host="app.example.test")

    assert words.message == "The name of DoorLoop's host, app.example.test, cannot be resolved."
    assert "DOORLOOP_BASE_URL" in words.fix
    assert said("auth-failed", see=None).fix.endswith("the word bearer.")
    with pytest.raises(KeyError):
        said("no-such-code")


def test_an_error_is_found_by_its_code_and_one_of_an_earlier_version_by_its_status() -> None:
    named = errors.Permanent.named("role-refused", facts={"path": "/leases"})

    assert (named.code, named.kind) == ("role-refused", "permanent")
    assert fault_of(named) is TABLE["role-refused"]
    assert fault_of(error_json(named)) is TABLE["role-refused"]
    assert fault_of({"code": "permanent", "answer": {"status": 403}}) is TABLE["access-denied"]
    assert fault_of({"code": "permanent", "answer": None}) is TABLE["permanent"]
    assert fault_of(errors.NotFound("There is no run 7.")) is None
    assert fault_of(None) is None


def test_a_stored_error_keeps_what_it_has_and_is_told_with_its_meaning() -> None:
    stored = error_json(errors.AuthFailed.named("auth-failed", facts={"title": "DoorLoop"}))
    told = explained(stored)

    assert {name: told[name] for name in stored} == stored
    assert (told["impact"], told["severity"]) == (TABLE["auth-failed"].impact, "error")
    assert told["docs"] == "docs/diagnosis.md#auth-failed"
    assert explained({"code": "unheard-of", "message": "m"}) == {"code": "unheard-of", "message": "m"}
    assert explained({"code": "transient", "message": "m"})["fix"], "an old error without a fix gets the table's"


def test_every_kind_of_upstream_and_database_error_has_an_entry_of_its_own() -> None:
    def below(kind: type[errors.KeepstepError]) -> list[type[errors.KeepstepError]]:
        return [kind, *(deeper for each in kind.__subclasses__() for deeper in below(each))]

    found = [kind.code for root in errors.UpstreamError.__subclasses__() for kind in below(root)]

    assert [code for code in (*found, errors.StoreError.code, "internal") if code not in TABLE] == []


def test_the_page_is_what_the_table_makes_and_has_an_anchor_for_every_code() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "tools/diagnosis_page.py", "--check"], capture_output=True, text=True, check=False
    )
    page = (ROOT / "docs/diagnosis.md").read_text(encoding="utf-8")

    assert checked.returncode == 0, checked.stderr
    assert [code for code in TABLE if f"\n### {code}\n" not in page] == []

"""What is known of a folder's messages, whatever the server does with their numbers; and which folders are read."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepstep.integrations.mail.folders import Folder, chosen
from keepstep.integrations.mail.known import Known, Mailbox, identity_of, numbers, ranges
from keepstep.integrations.mail.structure import attachments_in


@given(st.sets(st.integers(1, 200)))
def test_numbers_are_kept_as_ranges_and_come_back(uids: set[int]) -> None:
    assert numbers(ranges(sorted(uids))) == sorted(uids)


def test_ranges_are_written_as_imap_writes_them() -> None:
    assert ranges([1, 2, 3, 7, 9, 10]) == "1:3,7,9:10"


MESSAGES = st.sampled_from([b"one", b"two", b"three"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrives"), MESSAGES),
        st.tuples(st.just("goes"), st.integers(0, 9)),
        st.tuples(st.just("renumbered"), st.none()),
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_every_message_has_one_key_of_its_own_and_keeps_it(steps: list[tuple[str, Any]]) -> None:
    known, server, next_uid, validity = Known(), {}, 1, 1
    known.renew(validity)
    rows: set[str] = set()
    for step, what in steps:
        if step == "arrives":
            server[next_uid] = what
            next_uid += 1
        elif step == "goes" and server:
            server.pop(sorted(server)[what % len(server)])
        elif step == "renumbered":
            messages = [server[uid] for uid in sorted(server)]
            server, next_uid, validity = dict(enumerate(messages, start=1)), len(messages) + 1, validity + 1
            known.renew(validity)
        # A delta: what is gone, then what is new, then what was not met again.
        before = set(rows)
        rows -= set(known.forget(sorted(known.rows.keys() - server.keys())))
        for uid in sorted(server.keys() - known.rows.keys()):
            rows.add(known.met(uid, identity_of("INBOX", server[uid]), ()))
        rows -= known.orphans
        known.orphans.clear()

        assert len(rows) == len(server) == len(known.rows)
        if step == "renumbered":
            assert len(rows & before) == len(rows)
        known = Known.of(json.loads(json.dumps(known.stored())))


def test_flags_are_told_apart() -> None:
    known = Known()
    known.met(1, identity_of("INBOX", b"one"), ["\\Seen", "$Work"])

    assert not known.flags_differ(1, ["$Work", "\\Seen"])
    assert known.flags_differ(1, ["\\Seen"])


def test_the_same_message_in_two_folders_is_two_rows() -> None:
    mailbox = Mailbox({})

    keys = {mailbox.folder(name).met(1, identity_of(name, b"one"), ()) for name in ("INBOX", "Archive")}

    assert len(keys) == 2
    assert set(mailbox.drop("Archive")) < keys
    assert Mailbox(json.loads(json.dumps(mailbox.facts()))).names == ["INBOX"]


@pytest.mark.parametrize(
    "stored", [None, 7, {}, {"uids": "1:2", "rows": "short"}, {"uids": "x"}, {"folders": {"INBOX": [1]}}]
)
def test_facts_that_make_no_sense_are_no_facts(stored: Any) -> None:
    assert Known.of(stored).rows == {}
    assert Mailbox({"folders": stored} if stored is not None else {}).folder("INBOX").upto == 0


def folders(*described: str) -> list[Folder]:
    """Folders of these names, each with the attributes that follow it after a bar."""
    pairs = (one.partition("|") for one in described)
    return [Folder(name, name, frozenset(attributes.split())) for name, _, attributes in pairs]


def test_the_usual_folders_are_all_but_spam_bin_drafts_and_what_shows_messages_twice() -> None:
    listed = folders(
        "Sent|\\sent", "[Gmail]|\\noselect", "[Gmail]/All|\\all", "Spam|\\junk", "Bin|\\trash", "Notes|\\drafts",
        "INBOX", "Clients/Rossi",
    )  # fmt: skip

    assert [one.name for one in chosen(listed, ())] == ["INBOX", "Clients/Rossi", "Sent"]


def test_where_a_server_tells_no_roles_the_usual_names_do() -> None:
    assert [one.name for one in chosen(folders("INBOX", "INBOX/Trash", "Spam", "Cestino", "Sent"), ())] == [
        "INBOX", "Sent",
    ]  # fmt: skip


def test_named_folders_are_read_whatever_their_role() -> None:
    listed = folders("INBOX", "Spam|\\junk", "Work/a", "Work/b", "Odd[1]")

    assert [one.name for one in chosen(listed, ("Inbox", "spam"))] == ["INBOX"]
    assert [one.name for one in chosen(listed, ("Spam", "Work/*", "Odd[1]"))] == ["Odd[1]", "Spam", "Work/a", "Work/b"]


def test_the_structure_that_a_server_tells_names_the_attachments() -> None:
    text = (b"TEXT", b"PLAIN", (b"CHARSET", b"utf-8"), None, None, b"7BIT", 20, 1)
    pdf = (
        b"APPLICATION", b"PDF", (b"NAME", b"=?utf-8?q?pi=C3=B9.pdf?="), None, None, b"BASE64", 78_000, None,
        (b"ATTACHMENT", (b"FILENAME", b"pi\xc3\xb9.pdf")), None,
    )  # fmt: skip
    logo = (b"IMAGE", b"PNG", None, b"<logo@example.test>", None, b"7BIT", 10, None, None, None)
    structure = ([([text, text], b"ALTERNATIVE"), pdf, logo], b"MIXED")

    found = attachments_in(structure)

    assert [(a["part"], a["filename"], a["mimeType"], a["size"], a["inline"], a["contentId"]) for a in found] == [
        ("2", "più.pdf", "application/pdf", 57_000, False, None),
        ("3", None, "image/png", 10, True, "logo@example.test"),
    ]


@pytest.mark.parametrize(
    "structure", [None, (), (b"TEXT",), ([None], b"MIXED"), ([(1, 2)], b"x"), "text", (b"A", 1, 2)]
)
def test_a_structure_that_makes_no_sense_names_none(structure: Any) -> None:
    assert attachments_in(structure) == []

"""A message taken apart: what is well-formed comes out as it was meant, and nothing that is broken stops it."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from email.message import EmailMessage
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keepstep.integrations.mail.message import Limits, parse_message, snippet_of


def raw(*lines: str | bytes, body: bytes = b"") -> bytes:
    """A message of these header lines and this body."""
    return b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\r\n\r\n" + body


def composed() -> EmailMessage:
    """A message with a plain and an HTML text, a picture in it and a file with it."""
    mail = EmailMessage()
    mail["From"] = "Mario Rossi <mario.rossi@example.test>"
    mail["To"] = "Anna Bianchi <anna@example.test>, info@example.test"
    mail["Cc"] = "=?utf-8?q?Caff=C3=A8=2C_Roma?= <caffe@example.test>"
    mail["Subject"] = "Città e più"
    mail["Date"] = "Fri, 20 Nov 2026 10:15:30 +0100"
    mail["Message-ID"] = "<third@example.test>"
    mail["In-Reply-To"] = "<second@example.test>"
    mail["References"] = "<first@example.test> <second@example.test>"
    mail.set_content("Ciao Anna,\nperché no?\n\n> Ciao Mario\n")
    mail.add_alternative("<p>Ciao <b>Anna</b>,<br>perch&eacute; no?</p>", subtype="html")
    mail.add_attachment(b"%PDF-1.4 invented", maintype="application", subtype="pdf", filename="fattura più.pdf")
    return mail


def test_a_well_formed_message_comes_out_as_it_was_meant() -> None:
    data = composed().as_bytes()

    message = parse_message(data)

    assert (message.message_id, message.in_reply_to) == ("third@example.test", "second@example.test")
    assert message.references == ["first@example.test", "second@example.test"]
    assert message.thread_id == "first@example.test"
    assert message.subject == "Città e più"
    assert message.participants == [
        {"role": "from", "name": "Mario Rossi", "address": "mario.rossi@example.test"},
        {"role": "to", "name": "Anna Bianchi", "address": "anna@example.test"},
        {"role": "to", "name": "", "address": "info@example.test"},
        {"role": "cc", "name": "Caffè, Roma", "address": "caffe@example.test"},
    ]
    assert message.sent_at == datetime(2026, 11, 20, 9, 15, 30, tzinfo=UTC)
    assert message.text == "Ciao Anna,\nperché no?\n\n> Ciao Mario"
    assert message.snippet == "Ciao Anna, perché no?"
    assert message.hash == sha256(data).hexdigest()
    assert (message.truncated, message.defects) == (False, [])


def test_attachments_are_described_and_their_content_comes_only_where_it_is_wanted() -> None:
    data = composed().as_bytes()

    (bare,) = parse_message(data).attachments
    (full,) = parse_message(data, Limits(attachment_bytes=1000)).attachments
    (no_room,) = parse_message(data, Limits(attachment_bytes=5)).attachments

    assert bare == {
        "part": "2", "filename": "fattura più.pdf", "mimeType": "application/pdf", "size": 17, "inline": False,
        "contentId": None, "hash": sha256(b"%PDF-1.4 invented").hexdigest(),
    }  # fmt: skip
    assert b64decode(full["content"]) == b"%PDF-1.4 invented"
    assert no_room == bare


def test_a_picture_in_the_text_is_inline_and_a_forwarded_message_is_attached() -> None:
    mail = composed()
    body = mail.get_body(("html",))
    assert body is not None
    body.add_related(b"\x89PNG", maintype="image", subtype="png", cid="<logo@example.test>")
    inner = EmailMessage()
    inner["Subject"] = "inside"
    inner.set_content("text of another message")
    mail.add_attachment(inner)

    message = parse_message(mail.as_bytes())

    assert [(a["mimeType"], a["inline"], a["contentId"]) for a in message.attachments] == [
        ("image/png", True, "logo@example.test"),
        ("application/pdf", False, None),
        ("message/rfc822", False, None),
    ]
    assert "another message" not in message.text


def test_html_alone_becomes_readable_text() -> None:
    html = (
        b"<html><head><title>no</title><style>p{color:red}</style></head><body><p>Ciao&nbsp;Anna</p>"
        b"<script>alert('no')</script><table><tr><td>rent</td><td>900&euro;</td></tr></table><ul><li>one<li>two</ul>"
    )
    message = parse_message(raw("Content-Type: text/html; charset=utf-8", body=html))

    assert message.text == "Ciao Anna\n\nrent 900€\n\none\ntwo"
    assert message.snippet == "Ciao Anna rent 900€ one two"


@pytest.mark.parametrize(
    ("charset", "body", "text", "honest"),
    [
        ("utf-8", "perché".encode(), "perché", True),
        ("iso-8859-1", "perché – sì".encode("cp1252"), "perché – sì", True),
        ("us-ascii", "perché".encode(), "perché", True),
        ("utf-8", "perché".encode("latin-1"), "perché", False),
        ("utf-8", "perché è così \xe9".encode() + b"\xff", "perché è così é\ufffd", False),
        ("x-unknown-99", "perché".encode(), "perché", False),
        ("gb2312", "你好".encode("gb18030"), "你好", True),
        ("iso-2022-jp", "こんにちは".encode("iso-2022-jp"), "こんにちは", True),
        ("utf-16", b"\x00", "\x00", False),
        ("rot13", b"uryyb", "uryyb", False),
        ("unicode_escape", rb"\ud800 \x00", r"\ud800 \x00", False),
        ('"', b"hello", "hello", False),
    ],
)
def test_a_charset_that_is_wrong_or_unknown_still_gives_the_text(
    charset: str, body: bytes, text: str, honest: bool
) -> None:
    message = parse_message(raw(f"Content-Type: text/plain; charset={charset}", body=body))

    assert message.text == text.replace("\x00", "\ufffd")
    assert ("is not in the charset that it says" in message.defects) is not honest


def test_a_header_with_raw_bytes_broken_words_and_unknown_charsets_is_read_as_far_as_it_goes() -> None:
    message = parse_message(
        raw(
            "Subject: perché".encode("latin-1"),
            "From: =?x-nope?q?caff=E9?= <caffe@example.test>",
            "To: =?utf-8?b?broken!!?= <b@example.test>, undisclosed-recipients:;, \x00@example.test",
            "Date: Thu, 99 Foo 2026 25:00:00",
        )
    )

    assert message.subject == "perché"
    assert message.sender() == {"role": "from", "name": "caffé", "address": "caffe@example.test"}
    assert "b@example.test" in [one["address"] for one in message.participants]
    assert message.sent_at is None
    assert {"has no usable date", "has no Message-ID"} <= set(message.defects)


def test_nul_characters_are_replaced_and_told_of() -> None:
    message = parse_message(raw("Subject: a\x00b", "Message-ID: <a\x00b@example.test>", body=b"one\x00two"))

    assert (message.subject, message.text) == ("a\ufffdb", "one\ufffdtwo")
    assert "has NUL characters" in message.defects
    assert not [text for text in texts_of(asdict(message)) if "\0" in text]


def test_base64_that_breaks_off_gives_what_there_is() -> None:
    cut = b64encode(b"the text of this message")[:-7]
    message = parse_message(raw("Content-Type: text/plain", "Content-Transfer-Encoding: base64", body=cut))

    assert message.text.startswith("the text of this")
    assert "is malformed" in message.defects


def test_a_multipart_without_its_boundary_is_not_lost() -> None:
    message = parse_message(raw("Content-Type: multipart/mixed; boundary=abc", body=b"no boundary in here"))

    assert "is malformed" in message.defects
    assert message.text == "no boundary in here"


def test_a_message_beyond_the_size_limit_is_read_as_far_as_the_limit() -> None:
    data = raw("Subject: long", "Message-ID: <long@example.test>", body=b"word " * 10_000)

    message = parse_message(data, Limits(message_bytes=5000))

    assert (message.subject, message.truncated) == ("long", True)
    assert message.hash == sha256(data).hexdigest()
    assert 4000 < len(message.text) < 5000


def test_a_text_beyond_its_limit_is_cut_and_said_to_be() -> None:
    message = parse_message(raw("Content-Type: text/plain", body=b"x" * 500), Limits(text_characters=100))

    assert (len(message.text), message.truncated) == (100, True)


def test_part_of_a_message_has_no_hash() -> None:
    assert parse_message(b"Subject: a\r\n\r\nbody", whole=False).hash is None


def test_parts_within_parts_without_end_are_given_up_on() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(3000))

    message = parse_message(b"Subject: deep\r\n" + deep)

    assert message.subject == "deep"
    assert message.truncated


def test_a_thousand_parts_are_looked_at_up_to_a_limit() -> None:
    parts = b"".join(b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" for _ in range(1000))

    message = parse_message(raw("Content-Type: multipart/mixed; boundary=b", body=parts), Limits(parts=10))

    assert message.truncated
    assert message.text.count("x") < 10


def test_a_snippet_leaves_out_what_is_quoted_and_ends_at_its_limit() -> None:
    assert snippet_of("yes\n> no\n  > no\nwhy") == "yes why"
    assert len(snippet_of("word " * 200)) <= 200
    assert snippet_of("word " * 200).endswith("…")


def texts_of(value: object) -> Iterator[str]:
    """Every text in what a message says, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from (*texts_of(name), *texts_of(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"From", b"To", b"Subject", b"Date", b"Message-ID", b"References", b"Content-Type",
             b"Content-Transfer-Encoding", b"Content-Disposition", b"Content-ID"]
        ),
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(
                [b"multipart/mixed; boundary=b", b"multipart/alternative; boundary=\"\"", b"text/html; charset=utf-7",
                 b"message/rfc822", b"base64", b"quoted-printable", b"x-uuencode", b"=?utf-8?b?====?=", b"<a@b>,,<",
                 b"attachment; filename*=utf-8''%ff%00", b"attachment; filename*0=a; filename*9=b", b"a:b;c<d>@"]
            ),
        ),
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(HEADERS, st.binary(max_size=300))
@example([(b"Content-Type", b"text/plain; charset*=utf-8''%")], b"")
@example([(b"Content-Disposition", b"attachment; filename*=x''%")], b"")
@example([(b"Content-Type", b"multipart/mixed; boundary=b")], b"--b\r\n--b\r\n\r\n--b--\r\n--b")
def test_whatever_comes_is_taken_apart_and_can_be_stored(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    data = b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n" + body

    message = parse_message(data, Limits(attachment_bytes=100, text_characters=50))

    for text in texts_of(asdict(message)):
        assert "\0" not in text
        text.encode()
    assert len(message.text) <= 50
    assert message.hash == sha256(data).hexdigest()
    for attachment in message.attachments:
        assert json.dumps(attachment)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000))
def test_bytes_that_are_no_message_are_one_all_the_same(data: bytes) -> None:
    assert parse_message(data).hash == sha256(data).hexdigest()


HTML = b"Content-Type: text/html\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        HTML + b"<!--" * 200_000,
        HTML + b"<![CDATA[" * 80_000,
        HTML + b"<a" * 400_000,
        HTML + b"</" * 400_000,
        HTML + b"<script>" + b"</scrip" * 100_000,
        HTML + b"<a '>" * 150_000,
        b"To: a@example.test\r\n" * 200_000 + b"\r\n",
        b"To: " + b"(" * 60_000 + b"\r\n\r\n",
        b"Content-Type: text/plain;" + b"a=b;" * 200_000 + b"\r\n\r\nx",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 300_000,
        b"\r\n\r\n" + b"\n" * 5_000_000,
    ],
    ids=[
        "comments",
        "sections",
        "tags",
        "ends",
        "script",
        "quotes",
        "people",
        "brackets",
        "parameters",
        "parts",
        "lines",
    ],
)
def test_a_message_that_is_made_to_keep_the_reader_busy_does_not(data: bytes) -> None:
    """Each of these takes minutes or hours where time grows with the square of something."""
    message = parse_message(data)

    assert message.hash == sha256(data).hexdigest()
    assert len(message.text) <= Limits().text_characters


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a <b title='x>y'>bold</b> c", "a bold c"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<svg><svg></svg>no</svg>yes", "yes"),
        ("<head><title>no<body>yes", "yes"),
        ("one<!-- no <p> -->two<!-- open", "onetwo<!-- open"),
        ("<p>one<p>two<br/>three</p>", "one\ntwo\nthree"),
        ("<STYLE>no</Style>yes<script>no", "yes"),
        ("&lt;kept&gt; &amp; &#233; &nope;", "<kept> & é &nope;"),
        ("<td>a</td><td>b</td>", "a b"),
        ("open <a href='x", "open <a href='x"),
    ],
)
def test_html_is_read_as_a_browser_would_show_it(html: str, text: str) -> None:
    assert parse_message(HTML + html.encode()).text == text

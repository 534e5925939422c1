"""Invented mail: threads between invented people, with attachments, HTML, many scripts, and some that is malformed."""

import random
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, formataddr

from keepstep.integrations.emulation.names import COMPANIES, FIRST, LAST, NOTES

_SUBJECTS = (
    "Affitto di novembre", "Rent for November", "Caldaia rotta", "Viewing on Friday?", "Re: chiavi", "家賃の件",
    "Счёт за воду", "🏠 new listing", "Quote \"A\" & <B>", "",
)  # fmt: skip
_ODD = (
    b"From: someone@example.test\r\nSubject: \xe9t\xe9\r\n\r\nBytes without a charset: \xe9\xff\r\n",
    b"From: nobody\r\nContent-Type: multipart/mixed; boundary=gone\r\n\r\nno boundary in here\r\n",
    b"Subject: a\x00b\r\nContent-Type: text/plain; charset=x-unknown\r\n\r\none\x00two\r\n",
    b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nbroken!base64=\r\n",
    b"no header at all",
    b"Date: yesterday\r\nFrom: =?utf-8?b?!!!?= <x@example.test>\r\nTo: undisclosed-recipients:;\r\n\r\n\r\n",
)


def letter(number: int, thread: int, at: float, chance: random.Random, *, odd: bool, padding: int) -> bytes:
    """The message of a number, as it would come over the wire."""
    if odd and chance.random() < 0.04:
        return chance.choice(_ODD)
    mail = EmailMessage()
    first, last = chance.choice(FIRST), chance.choice(LAST)
    mail["From"] = formataddr((f"{first} {last}", f"person{chance.randrange(50)}@example.test"))
    mail["To"] = formataddr((chance.choice(COMPANIES), "me@example.test")).replace("\t", " ")
    mail["Subject"] = chance.choice(_SUBJECTS)
    mail["Date"] = format_datetime(datetime.fromtimestamp(int(at), UTC))
    mail["Message-ID"] = f"<{number}@mail.example.test>"
    if thread != number:
        mail["In-Reply-To"] = mail["References"] = f"<{thread}@mail.example.test>"
    text = "\n".join(chance.choice(NOTES).replace("\x00", "") for _ in range(chance.randrange(1, 4))) + "\n"
    mail.set_content(text + "x" * padding)
    if chance.random() < 0.5:
        mail.add_alternative(f"<html><body><p>{text}</p></body></html>", subtype="html")
    if chance.random() < 0.15:
        mail.add_attachment(
            bytes(chance.randrange(256) for _ in range(200)), maintype="application", subtype="pdf",
            filename="contratto più.pdf",
        )  # fmt: skip
    for place, part in enumerate(mail.walk()):
        if part.is_multipart():  # the library's own are random
            part.set_boundary(f"==={number}.{place}===")
    return mail.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

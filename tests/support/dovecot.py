"""A real Dovecot for the length of a test: unprivileged, on the loopback, with mailboxes that tests can reach into."""

import contextlib
import imaplib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from pathlib import Path
from shlex import quote

from tools.system_parts import PLACE, needed

from tests.support.elsewhere import self_signed
from tests.support.programs import Ordinary, ordinary
from tests.support.server import eventually

PASSWORD = "correct-horse-battery-staple"
NOTES = ("dovecot-uidlist", "dovecot-uidvalidity*", "dovecot.index*", "dovecot.list.index*")
"""What Dovecot keeps beside the messages of a folder. Without it every message gets a new number."""

CONFIG = """\
base_dir = {place}/run
state_dir = {place}/state
instance_name = imap-test
protocols = imap
listen = 127.0.0.1
ssl = {ssl}
{certificate}
disable_plaintext_auth = no
auth_mechanisms = plain login {oauth_mechanisms}
auth_failure_delay = 0
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
first_valid_uid = 1
log_path = {place}/logs/dovecot.log
mail_location = maildir:{place}/mail/%u:LAYOUT=fs
mailbox_list_index = no
mail_max_userip_connections = 50
{oauth}
passdb {{
  driver = passwd-file
  deny = yes
  args = {place}/refused
}}
passdb {{
  driver = static
  mechanisms = plain login
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={place}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
protocol imap {{
  imap_capability = {capability}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service anvil {{
  chroot =
}}
{more}
"""
OAUTH = """\
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {place}/oauth2.conf.ext
}}
"""
INTROSPECTION = """\
introspection_mode = post
introspection_url = {url}
username_attribute = email
username_format = %u
active_attribute = active
active_value = true
"""


class Dovecot:
    """A running server. It lets anybody in who has the password; a mailbox is there as soon as somebody asks for it."""

    def __init__(self, user: Ordinary, port: int, tls_port: int, certificate: Path) -> None:
        self.certificate = certificate
        self.port = port
        self.tls_port = tls_port
        self.user = user
        self._refused: set[str] = set()

    def refuse(self, user: str, *, refused: bool = True) -> None:
        """Let somebody in no more, as if they had another password by now; or again."""
        (self._refused.add if refused else self._refused.discard)(user)
        self.user.write("refused", "".join(f"{name}:{{PLAIN}}x\n" for name in self._refused))

    @property
    def log(self) -> str:
        """What the server has written."""
        path = self.user.place / "logs/dovecot.log"
        return path.read_text() if path.exists() else self.user.said

    def mailbox(self, user: str) -> "Mailbox":
        """Somebody's mailbox."""
        return Mailbox(user, self.port, self.user.place / "mail" / user)


class Mailbox:
    """One user's mailbox, as others than Keepstep use it."""

    def __init__(self, user: str, port: int, place: Path) -> None:
        self.user = user
        self.port = port
        self.place = place

    @contextlib.contextmanager
    def session(self, folder: str | None = "INBOX") -> Iterator[imaplib.IMAP4]:
        """Somebody else who uses the mailbox, with the standard library's client."""
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=20)
        try:
            client.login(self.user, PASSWORD)
            if folder is not None:
                _done(client.select(f'"{folder}"'))
            yield client
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                client.logout()

    def create(self, *folders: str) -> None:
        """Make folders."""
        with self.session(None) as client:
            for folder in folders:
                _done(client.create(f'"{folder}"'))

    def add(self, *messages: bytes, folder: str = "INBOX", flags: str = "", at: str | None = None) -> None:
        """Let messages arrive."""
        with self.session(None) as client:
            for message in messages:
                _done(client.append(f'"{folder}"', flags, at or '"20-Nov-2026 10:15:30 +0000"', message))

    def flag(self, uids: Sequence[int], flags: str, folder: str = "INBOX", *, add: bool = True) -> None:
        """Set or take away flags."""
        with self.session(folder) as client:
            _done(client.uid("STORE", ",".join(map(str, uids)), "+FLAGS" if add else "-FLAGS", f"({flags})"))

    def remove(self, uids: Sequence[int], folder: str = "INBOX") -> None:
        """Delete messages for good."""
        with self.session(folder) as client:
            _done(client.uid("STORE", ",".join(map(str, uids)), "+FLAGS", r"(\Deleted)"))
            _done(client.expunge())

    def renumber(self, folder: str = "INBOX") -> None:
        """Take away what Dovecot knows of a folder: it gets another UIDVALIDITY, and its messages other numbers."""
        place = self.place if folder == "INBOX" else self.place / folder
        before = self.uidvalidity(folder)

        def renumbered() -> bool:
            for pattern in NOTES:
                for path in place.glob(pattern):
                    path.unlink(missing_ok=True)
            return self.uidvalidity(folder) != before

        eventually(renumbered)  # UIDVALIDITY is a time in seconds

    def uidvalidity(self, folder: str = "INBOX") -> int:
        """The folder's UIDVALIDITY."""
        return self._status(folder, "UIDVALIDITY")

    def highest_modseq(self, folder: str = "INBOX") -> int:
        """The folder's HIGHESTMODSEQ."""
        return self._status(folder, "HIGHESTMODSEQ")

    def uids(self, folder: str = "INBOX") -> list[int]:
        """The numbers of the messages in a folder."""
        with self.session(folder) as client:
            return [int(uid) for uid in _done(client.uid("SEARCH", "ALL"))[0].split()]

    def truth(self, folder: str = "INBOX") -> list[tuple[int, frozenset[str], bytes]]:
        """Every message of a folder as the server has it: its number, its flags, its bytes."""
        with self.session(folder) as client:
            found: list[tuple[int, frozenset[str], bytes]] = []
            for piece in _done(client.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")):
                if isinstance(piece, tuple):
                    head = piece[0].decode()
                    uid, flags = re.search(r"UID (\d+)", head), re.search(r"FLAGS \(([^)]*)\)", head)
                    assert uid is not None, head
                    assert flags is not None, head
                    found.append((int(uid[1]), frozenset(flags[1].split()) - {r"\Recent"}, piece[1]))
            return found

    def _status(self, folder: str, name: str) -> int:
        with self.session(None) as client:
            said = _done(client.status(f'"{folder}"', f"({name})"))[0].decode()
        return int(said.rpartition(" ")[2].rstrip(")"))


def mail(subject: str, text: str = "Ciao.", **headers: str) -> bytes:
    """A message with an identifier of its own; what is given for a header as None is left out."""
    made = EmailMessage()
    made["From"] = "Mario Rossi <mario@example.test>"
    made["To"] = "alice@example.test"
    made["Subject"] = subject
    made["Date"] = "Fri, 20 Nov 2026 10:15:30 +0000"
    made["Message-ID"] = f"<{subject.replace(' ', '.')}@example.test>"
    for name, value in headers.items():
        del made[name.replace("_", "-")]
        made[name.replace("_", "-")] = value
    made.set_content(text)
    return made.as_bytes().replace(b"\n", b"\r\n")


@contextlib.contextmanager
def dovecot(*, introspection_url: str = "", without: Sequence[str] = (), tls: bool = False) -> Iterator[Dovecot]:
    """A server until the end of the block.

    ``without``: capabilities that it does not tell of. ``tls``: with a certificate of its own.
    """
    with ordinary() as user:
        place, uid, gid = user.place, user.uid, user.gid
        for name in ("run", "state", "logs", "mail"):
            (place / name).mkdir()
            os.chown(place / name, user.owner, -1)
        user.write("refused", "")
        user.write("oauth2.conf.ext", INTROSPECTION.format(url=introspection_url))
        self_signed(place)
        certificate = user.write("server.pem", (place / "server.pem").read_text())
        port, tls_port = _free_port(), _free_port() if tls else 0
        program, more = _program(place)
        config = CONFIG.format(
            place=place, password=PASSWORD, user=user.name, group=user.group, uid=uid, gid=gid, port=port,
            tls_port=tls_port, more=more, ssl="yes" if tls else "no",
            certificate=f"ssl_cert = <{certificate}\nssl_key = <{certificate}" if tls else "",
            oauth=OAUTH.format(place=place) if introspection_url else "",
            oauth_mechanisms="xoauth2 oauthbearer" if introspection_url else "", capability=_capability(without),
        )  # fmt: skip
        path = user.write("dovecot.conf", config)
        user.start("/bin/sh", user.write("start.sh", program.format(config=quote(str(path)))), ends_on=signal.SIGTERM)
        server = Dovecot(user, port, tls_port, certificate)
        try:
            eventually(lambda: _answers(port))
        except AssertionError:
            raise AssertionError(server.log) from None
        yield server


def _program(place: Path) -> tuple[str, str]:
    """How Dovecot is started, and what its configuration must say of where its parts lie."""
    dovecot = needed("dovecot")
    version = subprocess.run([dovecot, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("2.3."), f"these tests know the configuration of Dovecot 2.3, and this is {version}"
    if not dovecot.is_relative_to(PLACE):
        return f"exec {quote(str(dovecot))} -F -c {{config}}", ""
    # Where it was not installed it finds neither its own parts nor the program that reads its configuration.
    root = PLACE / "dovecot/root"
    own = root / "usr/lib/dovecot"
    others = (own, own / "modules/old-stats", *root.glob("usr/lib/*-linux-*"))
    libraries = ":".join(map(str, (_with_modules_beside(own, place), *others)))
    start = (
        f"export LD_LIBRARY_PATH={quote(libraries)}\n"
        f"exec {quote(str(root / 'usr/bin/doveconf'))} -c {{config}} -m master"
        f" -e {quote(str(root / 'usr/sbin/dovecot'))} -F -c {{config}}"
    )
    more = f"libexec_dir = {own}\nmail_plugin_dir = {own}/modules\nimport_environment = TZ LD_LIBRARY_PATH={libraries}"
    return start, more


def _with_modules_beside(own: Path, place: Path) -> Path:
    """Where a copy of its library lies that looks for modules in the directory where its processes begin.

    The place where it looks otherwise was settled when it was compiled.
    """
    library, there, here = (own / "libdovecot.so.0").read_bytes(), b"/usr/lib/dovecot/modules\0", b"modules"
    assert library.count(there) == 1, "not the library that is known"
    (place / "lib").mkdir()
    (place / "lib/libdovecot.so.0").write_bytes(library.replace(there, here.ljust(len(there), b"\0")))
    (place / "run/modules").symlink_to(own / "modules")
    return place / "lib"


def _capability(without: Sequence[str]) -> str:
    known = "IMAP4rev1 SASL-IR LITERAL+ ENABLE UIDPLUS UNSELECT CHILDREN NAMESPACE CONDSTORE QRESYNC SPECIAL-USE"
    return " ".join(word for word in known.split() if word not in without)


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as there:
        return there.recv(4).startswith(b"* OK")
    return False


def _done(answer: tuple[str, list]) -> list:  # type: ignore[type-arg]
    assert answer[0] == "OK", answer
    return answer[1]

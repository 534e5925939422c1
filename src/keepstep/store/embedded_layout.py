"""Where the embedded database keeps its files, and the words its keeper and its users exchange.

Imported by the keeper as well, which runs without site-packages and should stay small: standard library only,
and nothing heavy (no dataclasses, no hashlib) in here, in ``embedded_identity`` and in ``embedded_cluster``.
"""

from pathlib import Path
from typing import NamedTuple

PORT = 5432
"""Only part of the socket's file name; nothing listens on TCP."""
USER = "keepstep"
DATABASE = "keepstep"

# Keeper to user: one JSON document a line, its "state" one of these. User to keeper: BYE, or simply the end.
STARTING = "starting"  # {"note"}: still at it; repeated every second, so silence means a keeper that is stuck
READY = "ready"  # {"version"}: connections are accepted
FAILED = "failed"  # {"message", "fix"}
OTHERS = "others"  # answer to BYE: others still use the server, it stays. No answer but the end: it has stopped
BYE = b"bye\n"


class Unusable(Exception):
    """The embedded database cannot be had: one plain sentence, and what to do. ``embedded`` makes it a StoreError."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class Layout(NamedTuple):
    """The files of one home. ``name`` is unique to the home and shows in the titles of the server's processes."""

    home: Path
    sockets: Path
    name: str

    @property
    def postgres(self) -> Path:
        return self.home / "postgres"

    @property
    def data(self) -> Path:
        return self.postgres / "data"

    @property
    def unfinished_data(self) -> Path:
        """Where initdb works; renamed to ``data`` when it is complete."""
        return self.postgres / "data.unfinished"

    @property
    def lock(self) -> Path:
        return self.postgres / "keeper.lock"

    @property
    def log(self) -> Path:
        return self.home / "logs" / "postgres.log"

    @property
    def keeper_socket(self) -> Path:
        return self.sockets / "keeper"


def last_lines(path: Path, *, since: int = 0, count: int = 4) -> str:
    """The last lines that a log gained since a byte position, joined by " | "; empty when there are none.

    Where a server said why it ended, they end with that, and leave out what it said on its way out.
    """
    try:
        with path.open("rb") as log:
            log.seek(max(since, path.stat().st_size - 16_384))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reasons = [number for number, line in enumerate(lines) if _is_reason(line)] if count > 1 else []
    return " | ".join(lines[: reasons[-1] + 1 if reasons else None][-count:])


def _is_reason(line: str) -> bool:
    turned_away = "FATAL:  the database system is" in line or "FATAL:  terminating connection" in line
    return "PANIC:  " in line or ("FATAL:  " in line and not turned_away)


def fix_for(text: str, home: Path) -> str:
    """What to do about a failure of PostgreSQL, from what it printed."""
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return f"Free some disk space for {home} and start again; nothing half-written is kept."
    if "could not look up effective user ID" in text:
        return "Run as a user that has an entry in /etc/passwd (PostgreSQL insists on one), or set DATABASE_URL."
    if "Read-only file system" in text:
        return f"Make {home} writable, or set KEEPSTEP_HOME to a directory that is."
    if "Permission denied" in text:
        return f"Make sure that everything under {home} belongs to the user that runs Keepstep."
    return f"The whole story is in {home / 'logs' / 'postgres.log'}."

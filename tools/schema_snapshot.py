"""Writes the snapshot of the control tables, ``src/keepstep/store/schema.sql``, from a freshly migrated database.

``--check`` compares instead, and fails when the snapshot is not what the migrations make.
"""

import argparse
import asyncio
import difflib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from keepstep.store.db import Database
from keepstep.store.embedded import EmbeddedPostgres, binaries
from keepstep.store.migrate import migrate

SNAPSHOT = Path(__file__).parents[1] / "src/keepstep/store/schema.sql"
HEADER = "-- What all migrations together make. Written by tools/schema_snapshot.py (make schema); do not edit.\n\n"
# Comments, psql's own commands and session settings differ between releases of pg_dump.
_NOISE = re.compile(r"^(--.*|\\.*|SET .*|SELECT pg_catalog\.set_config\(.*)\n", re.MULTILINE)


def snapshot(dsn: str) -> str:
    """The control tables of a migrated database as SQL that is the same every time."""
    command = [str(binaries() / "pg_dump"), "--schema-only", "--schema=keepstep", "--no-owner", "--no-privileges", dsn]
    dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own words
    return HEADER + re.sub(r"\n{3,}", "\n\n", _NOISE.sub("", dumped)).strip() + "\n"


async def _migrate(dsn: str) -> None:
    async with Database(dsn).connection() as connection:
        await migrate(connection)


def main() -> int:
    """Write the snapshot, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only say whether it is current")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory(prefix="keepstep-schema-") as home, EmbeddedPostgres.open(Path(home)) as server:
        asyncio.run(_migrate(server.dsn))
        made = snapshot(server.dsn)
    kept = SNAPSHOT.read_text("utf-8") if SNAPSHOT.exists() else ""
    if made == kept:
        return 0
    if not check:
        SNAPSHOT.write_text(made, "utf-8")
        return 0
    lines = difflib.unified_diff(kept.splitlines(True), made.splitlines(True), "schema.sql", "what the migrations make")
    sys.stderr.writelines(lines)
    sys.stderr.write("The schema snapshot is not current. Write it anew with: make schema\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

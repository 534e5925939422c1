"""COPY of ready text, metered. Arguments: DSN, table, file, rows of a flush (0: everything at once)."""

import sys
from pathlib import Path

import psycopg

from bench.child import metered

BLOCK = 256 * 1024


def main(dsn: str, table: str, file: Path, rows_of_flush: int) -> None:
    """Send the file, whole or in flushes that are transactions."""
    lines = file.read_bytes().splitlines(keepends=True)
    step = rows_of_flush or max(len(lines), 1)
    flushes = [b"".join(lines[start : start + step]) for start in range(0, len(lines), step)]
    statement = f"COPY {table} FROM STDIN".encode()
    with metered() as told, psycopg.connect(dsn, autocommit=True) as connection, connection.cursor() as cursor:
        for text in flushes:
            with cursor.copy(statement) as copy:
                for start in range(0, len(text), BLOCK):
                    copy.write(text[start : start + BLOCK])
        told |= {"rows": len(lines)}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))

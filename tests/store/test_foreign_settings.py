"""A database of somebody's own, with settings of its own: what is read and written does not depend on them."""

from datetime import datetime

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from keepstep.model.errors import StoreError
from keepstep.store.db import Connection, Database

SETTINGS = {
    "datestyle": "SQL, DMY", "intervalstyle": "iso_8601", "standard_conforming_strings": "off",
    "client_encoding": "latin1", "timezone": "Asia/Kathmandu",
}  # fmt: skip


async def read_and_write(connection: Connection) -> None:
    """What the hot path does: text goes in by COPY as bytes, instants come out."""
    await connection.execute("CREATE TABLE IF NOT EXISTS public.notes (note text, at timestamptz DEFAULT now())")
    cursor = connection.cursor()
    async with cursor.copy("COPY public.notes (note) FROM STDIN (FORMAT csv)") as copy:
        await copy.write("Zoë — 日本\n".encode())
    row = await (await connection.execute("SELECT note, at, interval '1 day' AS day FROM public.notes")).fetchone()
    assert row
    assert (row["note"], type(row["at"]), row["day"].days) == ("Zoë — 日本", datetime, 1)
    await connection.execute("DELETE FROM public.notes")


async def test_dates_and_letters_do_not_depend_on_the_settings_of_the_database(dsn: str) -> None:
    name = conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as admin:
        for setting, value in SETTINGS.items():
            admin.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'".encode())

    database = Database(dsn)
    session = await database.open()
    await read_and_write(session)
    await session.close()
    async with database.pooled(), database.connection() as pooled:
        await read_and_write(pooled)


async def test_a_database_that_cannot_hold_every_letter_is_refused_with_what_to_do(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        try:
            with pytest.raises(StoreError, match="LATIN1; Keepstep needs UTF8") as refused:
                await Database(make_conninfo(dsn, dbname="latin")).open()
        finally:
            admin.execute("DROP DATABASE latin WITH (FORCE)")
    assert "ENCODING 'UTF8'" in refused.value.fix

"""The least that a dispatch can be, to hold ours against: narrow tables, no rules, the queue engine as it comes.

``without`` claims due schedules, moves their times and makes a run for each; ``with_rows`` gives these to the engine.
"""

from importlib import resources

from keepstep.store.db import Connection, Database

CONTENDERS = {
    "a bare prototype without queue rows": "SELECT started FROM without(%s)",
    "a bare prototype": "SELECT started FROM with_rows(%s)",
}
_TABLES = """
CREATE TABLE schedules (id bigint PRIMARY KEY, due_at timestamptz NOT NULL, seconds integer NOT NULL);
CREATE INDEX ON schedules (due_at);
CREATE TABLE runs (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schedule_id bigint NOT NULL,
    state       text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
"""
_FUNCTION = """
CREATE FUNCTION {name}(batch integer, OUT started bigint[])
LANGUAGE sql SET enable_seqscan = off SET synchronous_commit = off AS $$
    WITH due AS (
        SELECT id FROM schedules WHERE due_at <= now() ORDER BY due_at LIMIT batch FOR UPDATE SKIP LOCKED
    ), moved AS (
        UPDATE schedules s SET due_at = due_at + seconds * interval '1 second' FROM due WHERE s.id = due.id
        RETURNING s.id
    ), queued AS (
        INSERT INTO runs (schedule_id, state) SELECT id, 'queued' FROM moved RETURNING id, schedule_id
    )
    SELECT {result} FROM queued
$$;
"""
_ROWS = """procrastinate_defer_jobs_v1(array_agg(ROW(
    'scheduled', 'keepstep.run', 50, 'connection/' || schedule_id, 'run/' || id, jsonb_build_object('run_id', id), NULL
)::procrastinate_job_to_defer_v1))"""


async def set_the_stage(connection: Connection, count: int) -> None:
    """So many schedules that are due in a hundred days, and the two functions."""
    engine = resources.files("procrastinate").joinpath("sql", "schema.sql").read_text("utf-8")
    functions = (("without", "array_agg(id)"), ("with_rows", _ROWS))
    for statement in (engine, _TABLES, *(_FUNCTION.format(name=name, result=result) for name, result in functions)):
        await connection.execute(statement.encode())
    await connection.execute(
        "INSERT INTO schedules SELECT n, now() + interval '100 days' + n % 3600 * interval '1 second', 3600"
        f" FROM generate_series(1, {count}) n".encode()
    )


async def make_due(database: Database, count: int) -> None:
    """So many of them have been due within the last minute; nothing is queued."""
    async with database.connection() as connection:
        await connection.execute("TRUNCATE runs, procrastinate_jobs CASCADE")
        await connection.execute(
            "UPDATE schedules SET due_at = now() + interval '100 days' WHERE due_at < now() + interval '9 days'"
        )
        await connection.execute(
            "UPDATE schedules s SET due_at = now() - random() * interval '1 minute' FROM ("
            f" SELECT id FROM schedules ORDER BY id * 618033 % 1000003 LIMIT {count}) n WHERE s.id = n.id".encode()
        )

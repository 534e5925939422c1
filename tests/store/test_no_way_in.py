"""What is said where a database does not let us in: the server's own words decide, there is no code."""

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from keepstep.store.db import Database, DatabaseAway, explain


@pytest.mark.parametrize(
    ("other", "message", "fix"),
    [
        ({"dbname": "nosuch"}, "The database does not exist.", "Create it, or correct the name"),
        ({"user": "nosuch"}, "The database refused the user.", "Correct the user"),
        ({"host": "/nowhere"}, "The database cannot be reached.", "Check that it runs"),
    ],
)
async def test_a_database_that_is_not_there_is_told_from_one_that_is_not_ours(
    dsn: str, other: dict[str, str], message: str, fix: str
) -> None:
    with pytest.raises(DatabaseAway) as refused:
        await Database(make_conninfo(**{**conninfo_to_dict(dsn), **other})).open()

    assert refused.value.message.startswith(message)
    assert refused.value.fix.startswith(fix)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('FATAL:  password authentication failed for user "app"', "The database refused the password."),
        ("fe_sendauth: no password supplied", "The database refused the password."),
        ('FATAL:  no pg_hba.conf entry for host "192.0.2.1", user "app"', "The database refused the user."),
        ("FATAL:  sorry, too many clients already", "The database has no free connection."),
        ("FATAL:  the database system is starting up", "The database is starting up."),
    ],
)
def test_a_server_that_refuses_is_asked_again_and_its_reason_is_told(said: str, message: str) -> None:
    error = explain(psycopg.OperationalError(f"connection failed: {said}"))

    assert isinstance(error, DatabaseAway)
    assert error.message.startswith(message)

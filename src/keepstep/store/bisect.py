"""Finds the rows of a batch that the database refuses, by halving it inside savepoints."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import psycopg

from keepstep.store.db import Connection, reason_of, refused

T = TypeVar("T")


async def write_bisecting(
    connection: Connection, rows: Sequence[T], write: Callable[[Sequence[T]], Awaitable[int]]
) -> tuple[int, list[tuple[T, str]]]:
    """Write what can be written; give the sum of what ``write`` returned, and the refused rows with the reasons."""
    await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what is refused at the commit has no row to it
    return await _halving(connection, rows, write)


async def _halving(
    connection: Connection, rows: Sequence[T], write: Callable[[Sequence[T]], Awaitable[int]]
) -> tuple[int, list[tuple[T, str]]]:
    if not rows:
        return 0, []
    try:
        async with connection.transaction():
            return await write(rows), []
    except psycopg.Error as error:
        if not refused(error):
            raise
        if len(rows) == 1:
            return 0, [(rows[0], reason_of(error))]
    half = len(rows) // 2
    first, refused_first = await _halving(connection, rows[:half], write)
    second, refused_second = await _halving(connection, rows[half:], write)
    return first + second, refused_first + refused_second

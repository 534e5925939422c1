"""Opening the service for as long as a command needs it."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar

from keepstep.cli import render
from keepstep.cli.parts import Parts
from keepstep.cli.signals import drive

if TYPE_CHECKING:
    from keepstep.service.core import Service

T = TypeVar("T")


def opened(parts: Parts, *, migrated: bool = True, stays: bool = False) -> "AbstractAsyncContextManager[Service]":
    """The service, with a word about what a slow start is doing. ``stays``: for a process that keeps it open."""
    told: set[str] = set()

    def tell(words: str) -> None:
        what = words.partition(":")[0]
        if what not in told:
            told.add(what)
            render.note(f"{what} …", style="dim")

    return parts.open(migrated=migrated, pooled=stays, on_wait=tell)


def ask(parts: Parts, question: "Callable[[Service], Awaitable[T]]", *, migrated: bool = True) -> T:
    """Open the service, ask it something, close it."""

    async def work() -> T:
        async with opened(parts, migrated=migrated) as service:
            return await question(service)

    return drive(work())

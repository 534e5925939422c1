"""What whoever asks may see: everything, or what is shared and their own.

The front end narrows it as soon as it knows who asks; everything that reads for people asks here. It travels with the
task, and not through every signature, so that a new page or route is narrowed without knowing of it. Nobody has
narrowed it for the command line and the loops: they see everything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from keepstep.model.schedule import EVERYTHING, Scope
from keepstep.store import scopes
from keepstep.store.db import Connection

_SCOPE: ContextVar[Scope] = ContextVar("keepstep_scope", default=EVERYTHING)


def narrow(scope: Scope) -> None:
    """From now on in this task, and those that it starts."""
    _SCOPE.set(scope)


@contextmanager
def within(scope: Scope) -> Iterator[None]:
    """While the block lasts."""
    token = _SCOPE.set(scope)
    try:
        yield
    finally:
        _SCOPE.reset(token)


def current() -> Scope:
    """Of whoever asks."""
    return _SCOPE.get()


def is_hidden(owner: str | None) -> bool:
    """Whether what belongs to this user (None: to nobody, or to an agent) is not for whoever asks."""
    return not current().sees(owner)


async def visible(connection: Connection) -> list[int] | None:
    """The ids of the connections whose runs, events and dead letters may be seen; None: all."""
    scope = current()
    return None if scope.everything else await scopes.visible(connection, scope)

"""Who may: every route says the smallest role that may use it, in one of these ways::

    async def runs(...)          with  dependencies=[needs(Role.VIEWER)]     on the route or its router
    async def stop(who: Operator)      the caller's identity, for the admin log
    async def healthz()          with  dependencies=[anyone]                 open to all, said aloud

A route that says nothing is refused when the application is made (``secure``). Tests walk the routes with ``doors``.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from fastapi.security import APIKeyCookie, HTTPBearer

from keepstep.model.errors import NotAllowed
from keepstep.model.schedule import Identity, Role
from keepstep.service.accounts import Accounts
from keepstep.web.guard import SESSION_COOKIE, Guard, identity_of

UNDECLARED_OPEN = frozenset(("/openapi.json",))
"""Paths of the library's own routes, which can declare nothing and are open to all."""

# They say in OpenAPI what is accepted; reading it is ``identity_of``'s.
_BEARER = HTTPBearer(
    scheme_name="token", auto_error=False, description="ADMIN_SYNC_TOKEN, or an API token made with it."
)
_COOKIE = APIKeyCookie(
    name=SESSION_COOKIE, scheme_name="session", auto_error=False, description="The session of a user who signed in."
)


class _Needs:
    """The dependency behind ``needs``."""

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(
        self,
        request: Request,
        _bearer: Annotated[object, Security(_BEARER)],
        _cookie: Annotated[object, Security(_COOKIE)],
    ) -> Identity:
        """The caller. Raises ``NotSignedIn``, ``NotAllowed``."""
        who = await identity_of(request.scope, request.app.state.accounts)
        if who.role.rank < self.role.rank:
            raise NotAllowed(
                f"This needs the role {self.role}; {who.name} has {who.role}.",
                fix=f"Ask an administrator for the role {self.role}, or use a token that has it.",
            )
        return who


class _Anyone:
    """The dependency behind ``anyone``."""

    async def __call__(self) -> None:
        """Nothing is asked."""


def needs(role: Role) -> Any:
    """A dependency that lets only this role or a greater one pass, and gives the caller's ``Identity``.

    Roles stand in OpenAPI as the scopes of the route's security.
    """
    return Security(_Needs(role), scopes=[role.value])


anyone = Depends(_Anyone())
"""Declares a route open to all."""

Caller = Annotated[Identity, needs(Role.USER)]
Viewer = Annotated[Identity, needs(Role.VIEWER)]
Operator = Annotated[Identity, needs(Role.OPERATOR)]
Admin = Annotated[Identity, needs(Role.ADMIN)]


@dataclass(frozen=True, slots=True)
class Door:
    """One way in: a method of a route, and the role that it asks for (None: it is open to all)."""

    method: str
    path: str
    role: Role | None


def doors(app: FastAPI) -> Iterator[Door]:
    """Every way in. Raises ``RuntimeError`` for a route that does not say who may use it."""
    for route in iter_route_contexts(app.routes):
        path = route.path or ""
        dependant = getattr(route, "dependant", None)
        declared = list(_declared(dependant)) if dependant is not None else []
        if not declared and path not in UNDECLARED_OPEN:
            raise RuntimeError(f"The route {path} does not say who may use it: add needs(Role...) or anyone.")
        roles = [mark.role for mark in declared if isinstance(mark, _Needs)]
        role = max(roles, key=lambda role: role.rank, default=None)
        for method in sorted(route.methods or ()):
            yield Door(method, path, role)


def secure(app: FastAPI, accounts: Accounts, *, allowed: Collection[str] = ()) -> None:
    """Guard an application whose routes are all in place. ``allowed``: as ``Guard`` has it.

    Raises ``RuntimeError`` as ``doors`` does.
    """
    app.state.accounts = accounts
    is_open = frozenset((door.method, door.path) for door in doors(app) if door.role is None)
    app.add_middleware(Guard, accounts=accounts, is_open=is_open, allowed=allowed)


def _declared(dependant: Dependant) -> Iterator[_Needs | _Anyone]:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, _Needs | _Anyone):
            yield dependency.call
        yield from _declared(dependency)

"""Signing in and out, users, API tokens, the admin log, and stored credentials."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from keepstep.model.errors import BadRequest
from keepstep.model.schedule import Identity, Role
from keepstep.service.accounts import Accounts, User
from keepstep.service.audit import MOST_LISTED, Audit, AuditEntry
from keepstep.service.shapes import Shape
from keepstep.service.tokens import NewToken, RoleName, Token, Tokens
from keepstep.service.vault import Credentials, CredentialsSet
from keepstep.web.guard import SESSION_COOKIE, session_cookie
from keepstep.web.openapi import problems
from keepstep.web.parameters import NO_NUL, Limit, Number
from keepstep.web.security import Admin, Caller, anyone, needs

Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=1024)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Login(_Body):
    """A user's name and password."""

    name: Annotated[str, Field(min_length=1, max_length=1000)]
    password: Password


class NewPassword(_Body):
    """The password now, and the one from now on."""

    current: Password
    new: Password


class NewUser(_Body):
    """Somebody who may sign in."""

    name: Name
    password: Password
    role: Role = Role.VIEWER


class UserChange(_Body):
    """What is to change; at least one."""

    role: Role | None = None
    password: Password | None = None


class TokenRequest(_Body):
    """A token to be made."""

    name: Name
    role: Role = Role.VIEWER


class Me(Shape):
    """Who the caller is: a user with a session, or a token."""

    name: str
    role: RoleName
    kind: Literal["user", "token"]


def router(accounts: Accounts, audit: Audit, credentials: Credentials) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    routes.include_router(_sign_in(accounts))
    routes.include_router(_users(accounts))
    routes.include_router(_tokens(accounts.tokens))
    routes.include_router(_secrets(audit, credentials))
    return routes


def _sign_in(accounts: Accounts) -> APIRouter:
    routes = APIRouter(prefix="/api/auth", tags=["auth"])

    @routes.post(
        "/login",
        summary="Sign in: sets the session's cookie",
        dependencies=[anyone],
        responses=problems(401, 403, 429, 503),
    )
    async def login(body: Login, request: Request, response: Response) -> Me:
        signed_in = await accounts.sign_in(body.name, body.password.get_secret_value(), address=caller_address(request))
        response.set_cookie(
            SESSION_COOKIE, signed_in.session, max_age=int(signed_in.lives), httponly=True, samesite="lax",
            secure=is_https(request),
        )  # fmt: skip
        return _me(signed_in.who)

    @routes.post(
        "/logout",
        summary="Sign out; harmless without a session",
        status_code=204,
        dependencies=[anyone],
        responses=problems(403, 503),
    )
    async def logout(request: Request) -> Response:
        if (session := session_cookie(request.headers)) is not None:
            await accounts.sign_out(session)
        response = Response(status_code=204)
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax", secure=is_https(request))
        return response

    @routes.get("/me", summary="Who the caller is")
    async def me(who: Caller) -> Me:
        return _me(who)

    @routes.post(
        "/password",
        summary="Change one's own password; ends one's other sessions",
        status_code=204,
        responses=problems(429),
    )
    async def password(body: NewPassword, request: Request, who: Caller) -> None:
        await accounts.change_own_password(
            who, current=body.current.get_secret_value(), new=body.new.get_secret_value(),
            session=session_cookie(request.headers) or "", address=caller_address(request),
        )  # fmt: skip

    return routes


def _users(accounts: Accounts) -> APIRouter:
    routes = APIRouter(prefix="/api/admin/users", tags=["users"])

    @routes.get("", summary="Users by name, page by page", dependencies=[needs(Role.ADMIN)])
    async def users(
        search: Annotated[str, Query(max_length=200, pattern=NO_NUL, description="Part of a name.")] = "",
        after: Annotated[Number | None, Query(description="Only those behind the one of this id.")] = None,
        limit: Limit = 1000,
    ) -> list[User]:
        return await accounts.users(search=search, after=after, limit=limit)

    @routes.post("", summary="Add a user", status_code=201, responses=problems(409))
    async def add(body: NewUser, who: Admin) -> User:
        return await accounts.add_user(body.name, body.password.get_secret_value(), body.role, by=who.name)

    @routes.patch("/{user_id}", summary="Change a user's role or password; a new password ends their sessions")
    async def change(user_id: Id, body: UserChange, who: Admin) -> User:
        if body.role is None and body.password is None:
            raise BadRequest("Nothing is to change.", fix="Give a role, a password, or both.")
        password = None if body.password is None else body.password.get_secret_value()
        return await accounts.change_user(user_id, role=body.role, password=password, by=who.name)

    @routes.delete("/{user_id}", summary="Remove a user and end their sessions", status_code=204)
    async def remove(user_id: Id, who: Admin) -> None:
        await accounts.remove_user(user_id, by=who.name)

    return routes


def _tokens(tokens: Tokens) -> APIRouter:
    routes = APIRouter(prefix="/api/admin/tokens", tags=["tokens"])

    @routes.get("", summary="API tokens by name, without those that were revoked", dependencies=[needs(Role.ADMIN)])
    async def all_tokens() -> list[Token]:
        return await tokens.all()

    @routes.post("", summary="Make an API token; it is shown this once", status_code=201, responses=problems(409))
    async def create(body: TokenRequest, who: Admin) -> NewToken:
        return await tokens.create(body.name, body.role, by=who.name)

    @routes.delete("/{token_id}", summary="Revoke an API token, at once", status_code=204)
    async def revoke(token_id: Id, who: Admin) -> None:
        await tokens.revoke(token_id, by=who.name)

    return routes


def _secrets(audit: Audit, credentials: Credentials) -> APIRouter:
    routes = APIRouter(prefix="/api/admin")

    @routes.get("/audit", summary="What people did, newest first", tags=["audit"], dependencies=[needs(Role.VIEWER)])
    async def acts(
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
        before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
        user: Annotated[str | None, Query(max_length=200, pattern=NO_NUL, description="Only what they did.")] = None,
        action: Annotated[
            str | None,
            Query(max_length=200, pattern=NO_NUL, description="Only this: run.start, or run for all of it."),
        ] = None,
    ) -> list[AuditEntry]:
        return await audit.newest(limit=limit, before=before, user=user or None, action=action or None)

    path = "/integrations/{integration}/credentials"

    @routes.put(
        path, summary="Store an integration's credentials, encrypted", tags=["integrations"], responses=problems(409)
    )
    async def put(
        integration: Annotated[str, Path(max_length=100)],
        body: Annotated[dict[str, str], Field(max_length=20, json_schema_extra={"examples": [{"apiKey": "..."}]})],
        who: Admin,
    ) -> CredentialsSet:
        return await credentials.put(integration, body, by=who.name)

    @routes.delete(
        path,
        summary="Forget an integration's credentials",
        tags=["integrations"],
        status_code=204,
        responses=problems(409),
    )
    async def remove(integration: Annotated[str, Path(max_length=100)], who: Admin) -> None:
        await credentials.remove(integration, by=who.name)

    return routes


def _me(who: Identity) -> Me:
    return Me(name=who.name, role=who.role, kind="token" if who.user_id is None else "user")


def caller_address(request: Request) -> str:
    """Where a request comes from, for counting its tries."""
    return request.client.host if request.client else "unknown"


def is_https(request: Request) -> bool:
    """Whether the browser speaks TLS, with us or with a proxy before us. A false claim hurts only who makes it."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "").split(",")[0].strip())

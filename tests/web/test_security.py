"""No way in is left open by mistake: every route of the application is tried, whatever routes there are."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI

from keepstep.model.schedule import Role
from keepstep.web.guard import HEADERS, SAFE
from keepstep.web.security import Door, anyone, doors, needs, secure
from tests.support.site import Served, served

OPEN = {
    ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/openapi.json"), ("HEAD", "/openapi.json"),
    ("POST", "/api/auth/login"), ("POST", "/api/auth/logout"),
    ("GET", "/login"), ("POST", "/login"), ("POST", "/logout"), ("GET", "/static/{digest}/{name:path}"),
}  # fmt: skip
"""Every way in that asks for no credentials. A new one is added here on purpose or not at all."""


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(dsn, tmp_path) as site:
        yield site


def closed(site: Served) -> list[Door]:
    return [door for door in doors(site.app) if door.role is not None]


def filled(path: str) -> str:
    """The address of a route, with something in place of its parameters."""
    return re.sub(r"\{[^}]*\}", "1", path)


async def test_only_these_routes_are_open_to_all(site: Served) -> None:
    assert {(door.method, door.path) for door in doors(site.app) if door.role is None} <= OPEN
    assert len(closed(site)) > 8


async def test_every_other_route_answers_401_without_credentials_and_with_wrong_ones(site: Served) -> None:
    wrong = [{}, {"authorization": "Bearer keepstep_wrong"}, {"authorization": "Bearer"},
             {"cookie": "keepstep_session=wrong"}, {"authorization": "Basic YWRtaW46YWRtaW4="}]  # fmt: skip
    for door in closed(site):
        for headers in wrong:
            answer = await site.nobody.request(door.method, filled(door.path), headers=headers)
            assert answer.status_code == 401, (door, headers, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer"), door
            if door.method != "HEAD":
                assert answer.headers["content-type"] == "application/problem+json", door
                assert answer.json()["fix"], door


async def test_every_route_answers_403_to_the_role_below_its_own(site: Served) -> None:
    tokens = {role: await site.token(role) for role in (Role.USER, Role.VIEWER, Role.OPERATOR)}
    tried = 0
    for door in closed(site):
        assert door.role is not None
        for role, header in tokens.items():
            if role.rank < door.role.rank:
                answer = await site.nobody.request(door.method, filled(door.path), headers=header)
                assert answer.status_code == 403, (door, role, answer.text)
                assert door.role in answer.json()["detail"], door
                tried += 1
    assert tried > 10


async def test_every_route_that_changes_something_is_at_least_the_operators(site: Served) -> None:
    own = {
        "/api/auth/password", "/api/logos-vision/auto-sync/config", "/api/settings/save-auto-sync",
        "/api/auto-sync/{integration}", "/api/auto-sync/{integration}/run", "/api/connections/mail/imap",
        "/api/connections/{integration}",
    }  # fmt: skip
    changing = [door for door in closed(site) if door.method not in SAFE and door.path not in own]
    assert [door for door in changing if door.role in (Role.USER, Role.VIEWER)] == []


async def test_no_route_that_changes_something_takes_a_request_from_another_sites_page(site: Served) -> None:
    foreign = [{"origin": "https://evil.example.test"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
               {"sec-fetch-site": "same-site"}, {"origin": site.url.replace("127.0.0.1", "localhost")}]  # fmt: skip
    tried = 0
    for door in doors(site.app):
        if door.method in SAFE:
            continue
        for headers in foreign:
            answer = await site.admin.request(door.method, filled(door.path), headers=headers)
            assert answer.status_code == 403, (door, headers, answer.text)
            assert answer.json()["code"] == "not-allowed", door
            tried += 1
    assert tried > 20
    assert await site.sql("SELECT 1 FROM keepstep.admin_logs") == []


async def test_our_own_page_may_send_what_it_likes(site: Served) -> None:
    for headers in ({"origin": site.url, "sec-fetch-site": "same-origin"}, {"origin": site.url}, {}):
        answer = await site.admin.request("GET", "/api/auth/me", headers=headers)
        assert answer.status_code == 200
        answer = await site.admin.post("/api/auth/logout", headers=headers)
        assert answer.status_code == 204, answer.text


async def test_a_body_is_not_read_before_the_caller_is_known(site: Served) -> None:
    answer = await site.nobody.post(
        "/api/admin/users", content=b"{broken", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 401
    answer = await site.nobody.get("/api/admin/no-such-thing")
    assert answer.status_code == 401


async def test_every_answer_says_what_a_browser_may_do_with_it(site: Served) -> None:
    answers = [
        await site.nobody.get("/openapi.json"),
        await site.nobody.get("/api/auth/me"),
        await site.admin.get("/api/auth/me"),
        await site.nobody.get("/nowhere"),
        await site.admin.post("/api/auth/logout", headers={"origin": "null"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 200, 404, 403]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert "unsafe-" not in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers
    assert answers[2].headers["cache-control"] == "no-store"


async def test_openapi_names_the_role_of_every_route(site: Served) -> None:
    paths = (await site.nobody.get("/openapi.json")).json()["paths"]
    for door in closed(site):
        if door.path in paths and door.method.lower() in paths[door.path]:
            security = paths[door.path][door.method.lower()]["security"]
            assert {"token": [door.role]} in security, door
            assert {"session": [door.role]} in security, door


def test_a_route_that_does_not_say_who_may_use_it_is_refused_when_the_application_is_made() -> None:
    app = FastAPI(docs_url=None, redoc_url=None)
    inner, outer = APIRouter(prefix="/inner"), APIRouter(prefix="/outer")

    @inner.get("/forgotten")
    async def forgotten() -> None: ...

    outer.include_router(inner)
    app.include_router(outer)
    with pytest.raises(RuntimeError, match="/outer/inner/forgotten"):
        secure(app, None)  # type: ignore[arg-type]


def test_a_route_needs_the_greatest_of_the_roles_that_it_and_its_router_name() -> None:
    app = FastAPI(docs_url=None, redoc_url=None)
    router = APIRouter(dependencies=[needs(Role.OPERATOR)])

    @router.get("/both", dependencies=[needs(Role.ADMIN)])
    async def both() -> None: ...

    @router.get("/one", dependencies=[needs(Role.VIEWER)])
    async def one() -> None: ...

    @app.get("/open", dependencies=[anyone])
    async def is_open() -> None: ...

    app.include_router(router)
    roles = {door.path: door.role for door in doors(app)}
    assert roles == {"/openapi.json": None, "/open": None, "/both": Role.ADMIN, "/one": Role.OPERATOR}

"""Users who sign in, their sessions, and API tokens."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from keepstep.service.accounts import Limits
from tests.support.site import PASSWORD, Served, served


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(dsn, tmp_path) as site:
        yield site


@pytest.fixture
def few(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tries of a name, five from an address: each costs a hash."""
    monkeypatch.setattr(site.service.accounts, "_limits", Limits(tries_of_a_name=3, tries_from_an_address=5))


def test_the_limits_are_those_of_the_documentation() -> None:
    limits = Limits()
    assert (limits.tries_of_a_name, limits.tries_from_an_address, limits.window) == (10, 50, 900)
    assert (limits.idle, limits.lives) == (43200, 604800)


async def login(client: httpx.AsyncClient, name: str, password: str) -> httpx.Response:
    return await client.post("/api/auth/login", json={"name": name, "password": password})


async def audit(site: Served) -> list[tuple[str, str, str]]:
    """Who did what with what result, oldest first."""
    entries = (await site.admin.get("/api/admin/audit")).json()
    return [(entry["user"], entry["action"], entry["result"]) for entry in reversed(entries)]


async def test_a_user_signs_in_acts_and_signs_out(site: Served) -> None:
    await site.user("Ana", "operator")
    async with site.signed_in("ana") as browser:
        assert (await browser.get("/api/auth/me")).json() == {"name": "Ana", "role": "operator", "kind": "user"}
        assert (await browser.get("/api/admin/users")).status_code == 403
        cookie = f"keepstep_session={browser.cookies['keepstep_session']}"
        assert (await browser.post("/api/auth/logout")).status_code == 204
        assert not browser.cookies
        assert (await site.nobody.get("/api/auth/me", headers={"cookie": cookie})).status_code == 401
    assert await audit(site) == [
        ("token:ADMIN_SYNC_TOKEN", "user.add", "done"), ("Ana", "login", "ok"), ("Ana", "logout", "ok"),
    ]  # fmt: skip


async def test_the_cookie_is_kept_from_scripts_and_other_sites(site: Served) -> None:
    await site.user()
    body = {"name": "ana", "password": PASSWORD}
    plain = (await site.nobody.post("/api/auth/login", json=body)).headers["set-cookie"].lower()
    assert {"httponly", "samesite=lax", "path=/", "max-age=604800"} <= set(plain.split("; "))
    assert "secure" not in plain
    secure = await site.nobody.post("/api/auth/login", json=body, headers={"x-forwarded-proto": "https"})
    assert "secure" in secure.headers["set-cookie"].lower().split("; ")


async def test_neither_passwords_nor_sessions_nor_tokens_are_in_the_database(site: Served) -> None:
    await site.user()
    token = (await site.token("viewer"))["authorization"].removeprefix("Bearer ")
    async with site.signed_in() as browser:
        session = browser.cookies["keepstep_session"]
    [user] = await site.sql("SELECT password_hash FROM keepstep.users")
    assert user["password_hash"].startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    tables = ("users", "sessions", "api_tokens", "admin_logs", "login_failures")
    kept = [str(await site.sql(f"SELECT t::text FROM keepstep.{table} t")) for table in tables]
    for secret in (PASSWORD, token, session):
        assert secret not in "".join(kept)
        assert secret.encode().hex() not in "".join(kept)


async def test_a_wrong_password_and_an_unknown_user_are_the_same(site: Served) -> None:
    await site.user()
    answers = [await login(site.nobody, "ana", "wrong password"), await login(site.nobody, "eve", PASSWORD),
               await login(site.nobody, "\0 no name", PASSWORD)]  # fmt: skip
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert len({answer.text for answer in answers}) == 1
    assert all("set-cookie" not in answer.headers for answer in answers)
    assert [act for act in await audit(site) if act[1] == "login"] == [
        ("ana", "login", "refused"), ("unknown", "login", "refused"), ("unknown", "login", "refused"),
    ]  # fmt: skip


async def test_a_name_is_locked_after_so_many_failures_even_when_they_come_at_once(site: Served, few: None) -> None:
    await site.user()
    answers = await asyncio.gather(*(login(site.nobody, name, "wrong password") for name in ["ana", "ANA"] * 8))
    assert sorted(answer.status_code for answer in answers) == [401] * 3 + [429] * 13
    locked = await login(site.nobody, "ana", PASSWORD)
    assert locked.status_code == 429
    assert 0 < int(locked.headers["retry-after"]) <= 900
    assert locked.json()["fix"].startswith("Wait 1")
    assert (await login(site.nobody, "eve", PASSWORD)).status_code == 401

    await site.sql("UPDATE keepstep.login_failures SET at = at - interval '15 minutes'")
    assert (await login(site.nobody, "ana", PASSWORD)).status_code == 200


async def test_an_address_is_locked_whatever_names_it_tries(site: Served, few: None) -> None:
    for name in ("a", "b", "c", "d", "e"):
        assert (await login(site.nobody, name, "wrong password")).status_code == 401
    assert (await login(site.nobody, "f", "wrong password")).status_code == 429
    [counted] = await site.sql("SELECT DISTINCT what FROM keepstep.login_failures WHERE what LIKE 'address%%'")
    assert counted["what"] == "address 127.0.0.1"


@pytest.mark.parametrize(
    ("address", "counted"),
    [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"),
     ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2::9", "2001:db8:1:2::/64")],
)  # fmt: skip
async def test_whoever_has_one_ipv6_address_has_many(site: Served, address: str, counted: str) -> None:
    with pytest.raises(Exception, match="wrong"):
        await site.service.accounts.sign_in("eve", "wrong password", address=address)
    rows = await site.sql("SELECT what FROM keepstep.login_failures WHERE what LIKE 'address%%'")
    assert rows == [{"what": f"address {counted}"}]


async def test_signing_in_makes_up_for_earlier_failures_of_the_name_but_not_of_the_address(
    site: Served, few: None
) -> None:
    await site.user()
    for _ in range(2):
        for _ in range(2):
            assert (await login(site.nobody, "ana", "wrong password")).status_code == 401
        assert (await login(site.nobody, "ana", PASSWORD)).status_code == 200
    left = await site.sql("SELECT what, count(*) AS n FROM keepstep.login_failures GROUP BY what")
    assert left == [{"what": "address 127.0.0.1", "n": 4}]


async def test_a_session_ends_when_it_was_not_used_for_twelve_hours(site: Served) -> None:
    await site.user()
    async with site.signed_in() as browser:
        await site.sql("UPDATE keepstep.sessions SET seen_at = now() - interval '11 hours 59 minutes'")
        assert (await browser.get("/api/auth/me")).status_code == 200
        [row] = await site.sql("SELECT seen_at > now() - interval '1 minute' AS fresh FROM keepstep.sessions")
        assert row["fresh"]
        await site.sql("UPDATE keepstep.sessions SET seen_at = now() - interval '12 hours 1 second'")
        assert (await browser.get("/api/auth/me")).status_code == 401


async def test_a_session_ends_after_seven_days_however_busy_it_is(site: Served) -> None:
    await site.user()
    async with site.signed_in() as browser:
        [row] = await site.sql("SELECT expires_at - created_at = interval '7 days' AS exact FROM keepstep.sessions")
        assert row["exact"]
        await site.sql("UPDATE keepstep.sessions SET expires_at = now()")
        assert (await browser.get("/api/auth/me")).status_code == 401


async def test_a_page_that_is_left_open_writes_once_a_minute(site: Served) -> None:
    await site.user()
    async with site.signed_in() as browser:
        await site.sql("UPDATE keepstep.sessions SET seen_at = now() - interval '2 minutes'")
        versions = set()
        for _ in range(5):
            assert (await browser.get("/api/auth/me")).status_code == 200
            [row] = await site.sql("SELECT xmin::text FROM keepstep.sessions")
            versions.add(row["xmin"])
        assert len(versions) == 1


async def test_a_changed_role_counts_at_once_and_a_changed_password_ends_sessions(site: Served) -> None:
    user = await site.user()
    async with site.signed_in() as browser:
        assert (await site.admin.patch(f"/api/admin/users/{user}", json={"role": "admin"})).json()["role"] == "admin"
        assert (await browser.get("/api/admin/users")).status_code == 200
        changed = await site.admin.patch(f"/api/admin/users/{user}", json={"password": "another good one"})
        assert changed.status_code == 200
        assert (await browser.get("/api/auth/me")).status_code == 401
        assert (await login(browser, "ana", PASSWORD)).status_code == 401
        assert (await login(browser, "ana", "another good one")).status_code == 200
    [entry] = (await site.admin.get("/api/admin/audit?limit=3")).json()[-1:]
    assert (entry["action"], entry["payload"]) == ("user.change", {"name": "ana", "password": "••••"})


async def test_a_removed_user_is_out_at_once(site: Served) -> None:
    user = await site.user()
    async with site.signed_in() as browser:
        assert (await site.admin.delete(f"/api/admin/users/{user}")).status_code == 204
        assert (await browser.get("/api/auth/me")).status_code == 401
        assert (await login(browser, "ana", PASSWORD)).status_code == 401
    assert (await site.admin.delete(f"/api/admin/users/{user}")).status_code == 404
    assert (await site.admin.patch(f"/api/admin/users/{user}", json={"role": "admin"})).status_code == 404
    assert (await site.admin.get("/api/admin/users")).json() == []


async def test_users_change_their_own_password_and_keep_only_this_session(site: Served) -> None:
    await site.user()
    async with site.signed_in() as browser, site.signed_in() as other:
        wrong = {"current": "wrong password", "new": "another good one"}
        assert (await browser.post("/api/auth/password", json=wrong)).status_code == 403
        right = {"current": PASSWORD, "new": "another good one"}
        assert (await browser.post("/api/auth/password", json=right)).status_code == 204
        assert (await browser.get("/api/auth/me")).status_code == 200
        assert (await other.get("/api/auth/me")).status_code == 401
    assert (await login(site.nobody, "ana", "another good one")).status_code == 200
    assert (await site.admin.post("/api/auth/password", json=right)).status_code == 403


async def test_guessing_ones_own_password_is_limited_too(site: Served, few: None) -> None:
    await site.user()
    async with site.signed_in() as browser:
        for _ in range(3):
            answer = await browser.post("/api/auth/password", json={"current": "wrong one", "new": "another good one"})
            assert answer.status_code == 403
        answer = await browser.post("/api/auth/password", json={"current": PASSWORD, "new": "another good one"})
        assert answer.status_code == 429


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"name": "ana", "password": "short"}, "fewer than 8"),
        ({"name": "anaanaana", "password": "AnaAnaAna"}, "user's name"),
        ({"name": "ana maria", "password": PASSWORD}, "cannot be a name"),
        ({"name": "token:x", "password": PASSWORD}, "cannot be a name"),
        ({"name": "a\0b", "password": PASSWORD}, "cannot be a name"),
        ({"name": "ana", "password": PASSWORD, "role": "owner"}, "role"),
        ({"name": "ana"}, "password"),
        ({"name": "ana", "password": PASSWORD, "isAdmin": True}, "isAdmin"),
    ],
)
async def test_a_user_that_cannot_be_is_refused_in_words(site: Served, body: dict[str, str], says: str) -> None:
    answer = await site.admin.post("/api/admin/users", json=body)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert "password" not in body or body["password"] not in answer.text
    assert await audit(site) == []


async def test_a_name_is_given_once_in_whatever_case(site: Served) -> None:
    await site.user("ana")
    answer = await site.admin.post("/api/admin/users", json={"name": "ANA", "password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    [user] = (await site.admin.get("/api/admin/users")).json()
    assert set(user) == {"id", "name", "role", "createdAt", "lastLoginAt"}


async def test_a_password_is_the_same_from_every_keyboard(site: Served) -> None:
    composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"
    await site.admin.post("/api/admin/users", json={"name": "ana", "password": composed})
    assert (await login(site.nobody, "ana", decomposed)).status_code == 200


async def test_a_hash_of_other_parameters_is_made_anew_at_the_next_login(site: Served) -> None:
    from argon2 import PasswordHasher

    await site.user()
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    await site.sql("UPDATE keepstep.users SET password_hash = %s", weak)
    assert (await login(site.nobody, "ana", PASSWORD)).status_code == 200
    [row] = await site.sql("SELECT password_hash FROM keepstep.users")
    assert row["password_hash"].startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert (await login(site.nobody, "ana", PASSWORD)).status_code == 200


async def test_a_token_works_until_it_is_revoked(site: Served) -> None:
    header = await site.token("operator", "nightly-report")
    me = await site.nobody.get("/api/auth/me", headers=header)
    assert me.json() == {"name": "token:nightly-report", "role": "operator", "kind": "token"}
    [known] = (await site.admin.get("/api/admin/tokens")).json()
    assert set(known) == {"id", "name", "role", "createdAt", "createdBy", "lastUsedAt"}
    assert known["createdBy"] == "token:ADMIN_SYNC_TOKEN"
    assert known["lastUsedAt"] is not None
    assert (await site.admin.delete(f"/api/admin/tokens/{known['id']}")).status_code == 204
    assert (await site.nobody.get("/api/auth/me", headers=header)).status_code == 401
    assert (await site.admin.delete(f"/api/admin/tokens/{known['id']}")).status_code == 404
    assert (await site.admin.get("/api/admin/tokens")).json() == []
    await site.token("viewer", "nightly-report")


async def test_the_use_of_a_token_is_noted_once_a_minute(site: Served) -> None:
    header = await site.token("viewer")
    versions = set()
    for _ in range(5):
        assert (await site.nobody.get("/api/auth/me", headers=header)).status_code == 200
        [row] = await site.sql("SELECT xmin::text FROM keepstep.api_tokens")
        versions.add(row["xmin"])
    assert len(versions) == 1
    await site.sql("UPDATE keepstep.api_tokens SET last_used_at = now() - interval '61 seconds'")
    assert (await site.nobody.get("/api/auth/me", headers=header)).status_code == 200
    [row] = await site.sql("SELECT last_used_at > now() - interval '5 seconds' AS fresh FROM keepstep.api_tokens")
    assert row["fresh"]


async def test_token_names_are_given_once_and_none_is_called_as_the_admin_token(site: Served) -> None:
    await site.token("viewer", "ci")
    assert (await site.admin.post("/api/admin/tokens", json={"name": "CI"})).status_code == 409
    assert (await site.admin.post("/api/admin/tokens", json={"name": "admin_sync_token"})).status_code == 422


async def test_a_token_decides_alone_whatever_the_cookie_says(site: Served) -> None:
    await site.user(role="admin")
    viewer = await site.token("viewer")
    async with site.signed_in() as browser:
        assert (await browser.get("/api/admin/users", headers=viewer)).status_code == 403
        assert (await browser.get("/api/auth/me", headers={"authorization": "Bearer wrong"})).status_code == 401
        # a proxy's own password is none of our business
        assert (await browser.get("/api/auth/me", headers={"authorization": "Basic cHJveHk6eA=="})).status_code == 200


async def test_the_admin_token_works_while_the_database_does_not(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.service.database, "_dsn", "postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=1")
    assert (await site.admin.get("/api/auth/me")).status_code == 200
    answer = await site.nobody.get("/api/auth/me", headers={"authorization": "Bearer keepstep_unknown"})
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")


async def test_the_admin_log_is_read_page_by_page(site: Served) -> None:
    for name in ("a", "b", "c"):
        await site.token("viewer", name)
    newest = (await site.admin.get("/api/admin/audit?limit=2")).json()
    older = (await site.admin.get(f"/api/admin/audit?limit=2&before={newest[-1]['id']}")).json()
    assert [entry["payload"]["name"] for entry in newest + older] == ["c", "b", "a"]
    assert set(newest[0]) == {"id", "createdAt", "user", "action", "payload", "result"}
    for wrong in ("limit=0", "limit=1001", "before=0", "limit=x"):
        assert (await site.admin.get(f"/api/admin/audit?{wrong}")).status_code == 422


async def test_the_admin_log_is_filtered_by_who_and_what(site: Served) -> None:
    await site.user("ana", "admin")
    async with site.signed_in("ana") as ana:
        await ana.post("/api/admin/tokens", json={"name": "one", "role": "viewer"})
    by_ana = (await site.admin.get("/api/admin/audit?user=ana")).json()
    of_users = (await site.admin.get("/api/admin/audit?action=user")).json()
    tokens_by_ana = (await site.admin.get("/api/admin/audit?user=ana&action=token.create")).json()
    assert [entry["action"] for entry in by_ana] == ["token.create", "login"]
    assert [entry["action"] for entry in of_users] == ["user.add"]
    assert len(tokens_by_ana) == 1
    assert len((await site.admin.get("/api/admin/audit?user=&action=")).json()) == 3
    assert (await site.admin.get("/api/admin/audit?action=use")).json() == []

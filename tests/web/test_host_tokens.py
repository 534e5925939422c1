"""Users whom another application has signed in: which tokens are accepted, and who they are here."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.host import SECRET, Keys, bearer, claims, token
from tests.support.site import PASSWORD, Served, served

ME = "/api/auth/me"
ANA = claims()["sub"]


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(dsn, tmp_path, KEEPSTEP_JWT_SECRET=SECRET, KEEPSTEP_JWT_ISSUER="https://host.test/auth") as site:
        yield site


@pytest.fixture
async def keys() -> AsyncIterator[Keys]:
    async with Keys().serving() as keys:
        yield keys


def issued(**more: Any) -> dict[str, str]:
    return bearer(token(iss="https://host.test/auth", **more))


async def test_a_token_lets_its_user_in_and_they_are_written_down_once(site: Served) -> None:
    header = issued(email="ana@example.test")
    answers = await asyncio.gather(*(site.nobody.get(ME, headers=header) for _ in range(8)))
    users = await site.sql("SELECT name, role, subject, owner_id, password_hash FROM keepstep.users")

    assert [answer.json() for answer in answers] == [{"name": "ana@example.test", "role": "user", "kind": "user"}] * 8
    assert users == [
        {"name": "ana@example.test", "role": "user", "subject": ANA, "owner_id": ANA, "password_hash": None}
    ]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"exp": time.time() - 60}, "it has ended"),
        ({"exp": None}, "it lacks a claim that is needed"),
        ({"subject": ""}, "its subject cannot be one"),
        ({"subject": "a\nb"}, "its subject cannot be one"),
        ({"sub": None}, "it lacks a claim that is needed"),
        ({"aud": "somebody-else"}, "it is for another audience"),
        ({"aud": None}, "it lacks a claim that is needed"),
        ({"iss": "https://other.test"}, "it comes from another issuer"),
        ({"nbf": time.time() + 86400}, "it does not hold yet"),
        ({"key": "another-secret-that-is-long-enough-0123456789"}, "its signature is wrong"),
    ],
)
async def test_a_token_that_is_not_in_order_is_refused_with_the_reason(
    site: Served, more: dict[str, Any], reason: str
) -> None:
    answer = await site.nobody.get(ME, headers=bearer(token(**{"iss": "https://host.test/auth", **more})))

    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert reason in answer.json()["detail"]
    assert answer.json()["fix"]
    assert await site.sql("SELECT 1 FROM keepstep.users") == []


async def test_a_token_that_says_it_needs_no_signature_is_refused(site: Served) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    body = base64.urlsafe_b64encode(json.dumps(claims(iss="https://host.test/auth")).encode()).rstrip(b"=").decode()
    for text in (f"{header}.{body}.", f"{header}.{body}.x", "ey.ey.ey", "eyJ.a.b"):
        assert (await site.nobody.get(ME, headers=bearer(text))).status_code == 401, text


async def test_without_the_setting_no_token_of_another_application_is_taken(dsn: str, tmp_path: Path) -> None:
    async with served(dsn, tmp_path) as plain:
        assert (await plain.nobody.get(ME, headers=issued())).status_code == 401


async def test_supabases_claims_work_with_its_keys(dsn: str, tmp_path: Path, keys: Keys) -> None:
    issuer = "https://project.supabase.test/auth/v1"
    async with served(dsn, tmp_path, KEEPSTEP_JWT_JWKS_URL=keys.url, KEEPSTEP_JWT_ISSUER=issuer) as site:
        header = bearer(
            token(
                keys.private["one"], algorithm="ES256", kid="one", iss=issuer, email="ana@example.test",
                app_metadata={"provider": "google"}, user_metadata={"keepstep_role": "admin"}, is_anonymous=False,
            )
        )  # fmt: skip
        answers = [await site.nobody.get(ME, headers=header) for _ in range(5)]

    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json()["role"] == "user"
    assert keys.asked == 1


async def test_a_public_key_is_never_taken_for_a_shared_secret(dsn: str, tmp_path: Path, keys: Keys) -> None:
    public = (
        keys.private["one"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    body = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "HS256", "typ": "JWT", "kid": "one"}, claims())
    )
    import hashlib
    import hmac

    signature = base64.urlsafe_b64encode(hmac.new(public, body.encode(), hashlib.sha256).digest()).rstrip(b"=")
    async with served(dsn, tmp_path, KEEPSTEP_JWT_JWKS_URL=keys.url) as site:
        answer = await site.nobody.get(ME, headers=bearer(f"{body}.{signature.decode()}"))

    assert answer.status_code == 401


async def test_an_unknown_key_is_looked_for_once_and_not_again_by_everybody(
    dsn: str, tmp_path: Path, keys: Keys
) -> None:
    async with served(dsn, tmp_path, KEEPSTEP_JWT_JWKS_URL=keys.url) as site:
        good = bearer(token(keys.private["one"], algorithm="ES256", kid="one"))
        forged = [bearer(token(keys.private["two"], algorithm="ES256", kid=f"made-up-{n}")) for n in range(20)]
        assert (await site.nobody.get(ME, headers=good)).status_code == 200
        answers = await asyncio.gather(*(site.nobody.get(ME, headers=header) for header in forged))
        assert {answer.status_code for answer in answers} == {401}
        assert keys.asked == 1


async def test_keys_that_cannot_be_fetched_are_a_problem_of_ours_and_not_of_the_user(
    dsn: str, tmp_path: Path, keys: Keys
) -> None:
    keys.status = 500
    async with served(dsn, tmp_path, KEEPSTEP_JWT_JWKS_URL=keys.url) as site:
        answer = await site.nobody.get(ME, headers=bearer(token(keys.private["one"], algorithm="ES256", kid="one")))

    assert (answer.status_code, "KEEPSTEP_JWT_JWKS_URL" in answer.json()["fix"]) == (503, True)


async def test_a_role_comes_from_the_claim_that_the_application_alone_writes(site: Served) -> None:
    roles = {}
    for role in ("viewer", "operator", "admin", "root", None):
        header = issued(subject=f"user-{role}", app_metadata={"keepstep_role": role})
        roles[role] = (await site.nobody.get(ME, headers=header)).json()["role"]

    assert roles == {"viewer": "viewer", "operator": "operator", "admin": "admin", "root": "user", None: "user"}


async def test_a_role_that_an_admin_gave_here_holds_where_the_token_names_none(site: Served) -> None:
    header = issued(email="ana@example.test")
    await site.nobody.get(ME, headers=header)
    [user] = await site.sql("SELECT id FROM keepstep.users")
    await site.admin.patch(f"/api/admin/users/{user['id']}", json={"role": "viewer"})

    assert (await site.nobody.get(ME, headers=header)).json()["role"] == "viewer"


async def test_nobody_becomes_another_user_by_a_name_or_a_number(site: Served) -> None:
    local = await site.user("ana@example.test", role="admin")
    named = await site.nobody.get(ME, headers=issued(email="ana@example.test"))
    numbered = await site.nobody.get(ME, headers=issued(subject=str(local), email="x"))
    token_like = await site.nobody.get(ME, headers=issued(subject="token:admin", email="y"))
    owners = await site.sql("SELECT name, owner_id FROM keepstep.users ORDER BY id")

    assert (named.json()["name"], named.json()["role"]) == (f"host:{ANA}", "user")
    assert {numbered.json()["role"], token_like.json()["role"]} == {"user"}
    assert [row["owner_id"] for row in owners] == [str(local), ANA, f"jwt:{local}", "jwt:token:admin"]


async def test_a_user_of_another_application_has_no_password_here(site: Served) -> None:
    await site.nobody.get(ME, headers=issued(email="ana@example.test"))
    for password in (PASSWORD, "None", ""):
        answer = await site.nobody.post("/api/auth/login", json={"name": "ana@example.test", "password": password})
        assert answer.status_code in (401, 422)


async def test_the_same_user_has_the_same_auto_sync_with_every_token(site: Served) -> None:
    url = "/api/logos-vision/auto-sync/config"
    saved = await site.nobody.put(url, json={"enabled": True, "interval_hours": 6}, headers=issued(jti="1"))
    loaded = await site.nobody.get(url, headers=issued(jti="2"))
    others = await site.nobody.get(url, headers=issued(subject="somebody-else"))

    assert saved.json() == loaded.json()
    assert others.json()["enabled"] is False


def test_tokens_of_the_tests_are_real_ones() -> None:
    assert jwt.decode(token(), SECRET, algorithms=["HS256"], audience="authenticated")["sub"] == ANA

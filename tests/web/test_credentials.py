"""Credentials at rest: encrypted, masked, rotated, and locked where the environment gives them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from keepstep.model.errors import BadRequest, StoreError
from keepstep.service.vault import Vault
from tests.support.site import Served, served
from tests.support.upstream import serving
from tests.system.command import Keepstep

PATH = "/api/admin/integrations/doorloop/credentials"
KEY = "dl_secret_0123456789"
VALUES = {"apiKey": KEY}
WEBHOOK = "https://hooks.example.test/a-long-secret"


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(dsn, tmp_path) as site:
        yield site


async def test_credentials_are_stored_encrypted_and_masked_in_the_log(site: Served) -> None:
    answer = await site.admin.put(PATH, json=VALUES)
    assert answer.status_code == 200, answer.text
    assert {**answer.json(), "setAt": None} == {"integration": "doorloop", "names": ["apiKey"], "setAt": None}
    assert await site.service.credentials.all() == ({"doorloop": VALUES}, {})
    [row] = await site.sql("SELECT credentials FROM keepstep.connections")
    assert KEY.encode() not in bytes(row["credentials"])
    [entry] = (await site.admin.get("/api/admin/audit")).json()
    assert entry["payload"] == {"integration": "doorloop", "credentials": {"apiKey": "••••"}}
    assert (await site.admin.put(PATH, json={"apiKey": "another"})).status_code == 200
    assert (await site.service.credentials.all())[0] == {"doorloop": {"apiKey": "another"}}
    assert (await site.admin.delete(PATH)).status_code == 204
    assert (await site.admin.delete(PATH)).status_code == 404
    assert await site.service.credentials.all() == ({}, {})


async def test_runs_use_what_is_stored_and_the_schedule_begins_and_rests_with_it(site: Served) -> None:
    await site.admin.put("/api/admin/sync/schedule", json={"enabled": True})
    await site.service.schedules.settle()
    due = "SELECT count(*) AS n FROM keepstep.schedule_times"
    assert (await site.sql(due))[0]["n"] == 0
    assert not await site.service.connectors.is_configured("doorloop")
    await site.admin.put(PATH, json=VALUES)
    assert (await site.sql(due))[0]["n"] == 1
    assert await site.service.connectors.is_configured("doorloop")
    await site.admin.delete(PATH)
    assert (await site.sql(due))[0]["n"] == 0
    assert not await site.service.connectors.is_configured("doorloop")


async def test_the_command_line_uses_what_is_stored(dsn: str, tmp_path: Path) -> None:
    async with serving(api_key=KEY) as upstream:
        async with served(dsn, tmp_path, DOORLOOP_BASE_URL=upstream.url) as site:
            await site.admin.put(PATH, json=VALUES)
        keepstep = Keepstep(tmp_path, DATABASE_URL=dsn, DOORLOOP_BASE_URL=upstream.url)
        for line in ("ping doorloop", "check doorloop owners", "run doorloop owners"):
            ended = await asyncio.to_thread(keepstep, *line.split())
            assert ended.code == 0, ended


async def test_a_ping_by_hand_does_not_go_past_an_open_breaker(dsn: str, tmp_path: Path) -> None:
    async with serving(api_key=KEY) as upstream:
        keepstep = Keepstep(
            tmp_path, DATABASE_URL=dsn, DOORLOOP_BASE_URL=upstream.url, DOORLOOP_API_KEY=KEY,
            KEEPSTEP_BREAKER_THRESHOLD="1",
        )  # fmt: skip
        upstream.fault("500", forever=True)
        assert (await asyncio.to_thread(keepstep, "ping", "doorloop")).code == 1
        upstream.clear_faults()
        sent = len(upstream.requests())

        ended = await asyncio.to_thread(keepstep, "ping", "doorloop")

        assert (ended.code, len(upstream.requests())) == (1, sent), ended


@pytest.mark.parametrize(
    "body",
    [{}, {"apiKey": ""}, {"apiKey": " \t"}, {"apiKey": "a\nb"}, {"apiKey": "a\0b"}, {"apiKey": "x" * 5000},
     {"api_key": KEY}, {"apiKey": KEY, "more": "x"}, {"apiKey": 17}, [], "x", {"apiKey": {"deep": "x"}}],
)  # fmt: skip
async def test_what_the_integration_does_not_take_is_refused(site: Served, body: object) -> None:
    answer = await site.admin.put(PATH, json=body)
    assert answer.status_code == 422, answer.text
    assert KEY not in answer.text
    assert await site.service.credentials.all() == ({}, {})


async def test_an_unknown_integration_has_no_credentials(site: Served) -> None:
    answer = await site.admin.put(PATH.replace("doorloop", "nothing"), json=VALUES)
    assert (answer.status_code, answer.json()["fix"]) == (404, "Known are: doorloop, erp.")


async def test_credentials_of_the_environment_are_locked(dsn: str, tmp_path: Path) -> None:
    async with served(dsn, tmp_path, DOORLOOP_API_KEY=KEY) as site:
        for answer in (await site.admin.put(PATH, json={"apiKey": "x"}), await site.admin.delete(PATH)):
            assert answer.status_code == 409
            assert "set by environment" in answer.json()["fix"].lower()
            assert KEY not in answer.text


async def test_the_generated_key_is_made_once_and_only_for_its_user(site: Served, tmp_path: Path) -> None:
    assert not (tmp_path / "secret-key").exists()
    await site.admin.put(PATH, json=VALUES)
    file = tmp_path / "secret-key"
    assert file.stat().st_mode & 0o777 == 0o600
    made = file.read_text()
    await site.admin.put(PATH, json=VALUES)
    assert file.read_text() == made


async def test_rotation_moves_everything_to_the_first_key(dsn: str, tmp_path: Path) -> None:
    new = Fernet.generate_key().decode()
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY="old-key") as site:
        await site.admin.put(PATH, json=VALUES)
        await site.service.preferences.choose("INTEGRATIONS_TEAMS_WEBHOOK", WEBHOOK, by="ana")
        [before] = await site.sql("SELECT credentials_set_at AS at FROM keepstep.connections")
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY=f"{new},old-key") as site:
        assert await site.service.credentials.rotate() == 2
        assert await site.service.credentials.rotate() == 0
        assert await site.sql("SELECT credentials_set_at AS at FROM keepstep.connections") == [before]
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY=new) as site:
        assert await site.service.credentials.all() == ({"doorloop": VALUES}, {})
        assert (await site.service.preferences.chosen())["INTEGRATIONS_TEAMS_WEBHOOK"] == WEBHOOK
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY="old-key") as site:
        found, failed = await site.service.credentials.all()
        error = failed["doorloop"]
        assert found == {}
        assert "another key" in str(error)
        assert "KEEPSTEP_SECRET_KEY" in error.fix
        assert await site.service.credentials.rotate() == 0
        with pytest.raises(BadRequest, match="another key"):  # and not that there are none
            async with site.service.connectors.lent("doorloop"):
                pass


def test_what_one_key_sealed_only_that_key_opens_and_only_for_its_owner() -> None:
    sealed = Vault(lambda: ["one"]).seal(VALUES, owner="doorloop")
    assert Vault(lambda: ["two", "one"]).unseal(sealed, owner="doorloop") == VALUES
    assert Vault(lambda: ["one", "two"]).renewed(sealed, owner="doorloop") is None
    renewed = Vault(lambda: ["two", "one"]).renewed(sealed, owner="doorloop")
    assert renewed is not None
    assert Vault(lambda: ["two"]).unseal(renewed, owner="doorloop") == VALUES
    for keys, owner in ((["two"], "doorloop"), (["one"], "another")):
        with pytest.raises(StoreError) as failure:
            Vault(lambda keys=keys: keys).unseal(sealed, owner=owner)
        assert failure.value.fix
    with pytest.raises(StoreError):
        Vault(lambda: ["one"]).unseal(sealed[:-1] + b"A", owner="doorloop")

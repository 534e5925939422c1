"""The routes about integrations: which there are, whether they answer, and whether their data fits the tables."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keepstep.integrations.doorloop.entities import ENTITIES
from keepstep.model.integration import Check
from keepstep.service.schema import compared
from tests.support.site import Served, served
from tests.support.sync import ALL, Sync

INTEGRATIONS = "/api/admin/integrations"


@pytest.fixture
async def site(sync: Sync, tmp_path: Path) -> AsyncIterator[Served]:
    """An application on the database of ``sync``, with the credentials of its upstream."""
    upstream = sync.upstream
    async with served(
        sync.dsn, tmp_path, DOORLOOP_BASE_URL=upstream.url, DOORLOOP_API_KEY=upstream.options.api_key
    ) as site:
        yield site


async def ask(site: Served, path: str = "", **query: Any) -> Any:
    answer = await site.admin.get(f"{INTEGRATIONS}{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_registry_says_what_there_is_and_how_well_it_is(site: Served, sync: Sync) -> None:
    await sync.run()
    doorloop, erp = await ask(site)

    assert (doorloop["key"], doorloop["title"], doorloop["configured"]) == ("doorloop", "DoorLoop", True)
    assert (doorloop["entities"], doorloop["health"]) == (list(ALL), {"score": 100, "deductions": []})
    assert "50 requests a minute" in doorloop["rateLimit"]
    assert (erp["key"], erp["configured"]) == ("erp", False)
    assert doorloop["icon"] and doorloop["colour"].startswith("#")


async def test_a_ping_answers_200_whether_upstream_does_or_not(site: Served, sync: Sync) -> None:
    good = await ask(site, "/doorloop/ping")
    sync.upstream.fault("401", forever=True)
    bad = await ask(site, "/doorloop/ping")

    assert (good["ok"], good["state"], good["authenticated"], good["sampleCount"]) == (True, "ok", True, 1)
    assert {"reason", "baseUrl", "elapsedMs"} <= set(good)
    assert (bad["ok"], bad["state"], bad["authenticated"]) == (False, "failing", False)
    assert bad["reason"] and bad["fix"]


async def test_a_check_tells_of_an_endpoint_in_words(site: Served) -> None:
    good = await ask(site, "/doorloop/check", endpoint="owners", page_size=1)
    html = await ask(site, "/doorloop/check", endpoint="nosuch")
    odd = await ask(site, "/doorloop/check", endpoint="../../etc/passwd")

    assert (good["status"], good["endpoint"], good["count"], "id" in good["firstItemKeys"]) == (200, "owners", 7, True)
    assert (html["ok"], "web page" in html["message"]) == (False, True)
    assert (odd["status"], odd["message"]) == (None, "This is not the name of an endpoint.")


async def test_the_configuration_is_masked_and_its_mistakes_are_named(dsn: str, tmp_path: Path) -> None:
    key = "dl_live_0123456789abcdefghij"
    async with served(
        dsn, tmp_path, DOORLOOP_API_KEY=key, DOORLOOP_BASE_URL="https://api.doorloop.com/v1", SYNC_ENTITIES="ownerz"
    ) as site:
        config = await ask(site, "/doorloop/config")

    lines = {line["variable"]: line for line in config["settings"]}
    assert (lines["DOORLOOP_API_KEY"]["value"], key in str(config)) == ("dl_l…ghij", False)
    assert lines["DOORLOOP_BASE_URL"]["source"] == "environment"
    assert "DATABASE_URL" not in lines
    assert {advice["about"] for advice in config["warnings"]} == {"doorloop", "SYNC_ENTITIES"}
    assert all(advice["fix"] for advice in config["warnings"])


async def test_without_credentials_everything_answers_and_says_what_is_missing(dsn: str, tmp_path: Path) -> None:
    async with served(dsn, tmp_path) as site:
        doorloop, erp = await ask(site)
        ping = await ask(site, "/doorloop/ping")
        check = await ask(site, "/doorloop/check", endpoint="owners")
        diff = await ask(site, "/doorloop/schema-diff", entity="owners")
        run = await site.admin.post("/api/admin/sync/run", json={"entities": ["owners"]})

    assert (doorloop["configured"], ping["ok"], check["ok"], diff["upstream"]["ok"]) == (False,) * 4
    assert ping["reason"] == check["message"] == "DoorLoop has no API key."
    assert erp["configured"] is False
    assert (run.status_code, "DOORLOOP_API_KEY" in run.json()["fix"]) == (422, True)


async def test_the_schema_difference_names_every_field_once(site: Served, sync: Sync) -> None:
    before = await ask(site, "/doorloop/schema-diff", entity="owners")
    await sync.run("owners")
    await sync.sql("ALTER TABLE doorloop.owners ADD COLUMN rating integer")
    await sync.sql("""UPDATE doorloop.owners SET _extra = '{"nickname": "x"}'""")
    after = await ask(site, "/doorloop/schema-diff", entity="owners")

    assert (before["table"], {column["verdict"] for column in before["columns"] if column["column"]}) == (
        None, {"missing"},
    )  # fmt: skip
    verdicts = {column["field"] or column["column"]: column["verdict"] for column in after["columns"]}
    assert (after["table"], len(verdicts)) == ("doorloop.owners", len(after["columns"]))
    assert (verdicts["name"], verdicts["rating"], verdicts["nickname"]) == ("column", "unknown", "extra")
    assert "nickname" in after["payloadKeys"]
    nickname = next(column for column in after["columns"] if column["field"] == "nickname")
    assert ("nickname" in after["new"], nickname["change"], nickname["rows"]) == (True, "new", 7)
    assert (after["policy"], after["exact"], after["sampled"]) == ("keep", True, 7)
    assert "missing" not in verdicts.values()


async def test_what_is_unknown_is_told(site: Served) -> None:
    for path in ("ping", "check?endpoint=owners", "config", "schema-diff?entity=owners"):
        assert (await site.admin.get(f"{INTEGRATIONS}/nosuch/{path}")).status_code == 404
    unknown = await site.admin.get(f"{INTEGRATIONS}/doorloop/schema-diff?entity=nosuch")

    assert (unknown.status_code, "owners" in unknown.json()["fix"]) == (422, True)


CHECK = Check(200, "owners", ("id", "nickname"), 1, "", True)


def test_a_table_that_lacks_a_column_or_has_one_more_is_told_without_upstream() -> None:
    owners = ENTITIES[0]
    columns = {"id": "text", "_hash": "bytea", "rating": "integer", owners.fields[0].column: "boolean"}
    every = compared(owners, CHECK, ["id", "nickname"], columns, None)
    found = {column.field or column.column: column for column in every}

    assert found[owners.fields[0].name].verdict == "absent"
    assert found[owners.fields[1].name].verdict == "missing"
    assert (found["rating"].verdict, found["nickname"].verdict) == ("unknown", "extra")
    assert not {"id", "_hash"} & set(found)

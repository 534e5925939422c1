"""Whatever goes wrong, the answer is a problem document that says what, and never how Keepstep is made."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from keepstep.model.diagnosis import TABLE
from keepstep.web.problems import handle_problems
from keepstep.web.server import Site
from keepstep.web.shield import MOST_BODY, Shield
from tests.support.site import ADMIN_TOKEN, Served, served

RUN = "/api/admin/sync/run"
JSON = {"content-type": "application/json"}


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(dsn, tmp_path) as site:
        yield site


def told(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document that an answer must be."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["title"] and document["detail"].endswith((".", "?", ")"))
    assert set(document) <= {"title", "status", "detail", "fix", "code", "impact", "docs", "runId"}
    return document


async def test_an_unknown_address_and_a_wrong_method_say_what_there_is(site: Served) -> None:
    nowhere = told(await site.admin.get("/api/admin/nosuch"), 404)
    wrong = await site.admin.delete(RUN)
    slash = await site.admin.get("/api/admin/sync/runs/")

    assert "/openapi.json" in nowhere["fix"]
    assert told(wrong, 405)["fix"] == "Use POST."
    assert wrong.headers["allow"] == "POST"
    assert slash.status_code == 404


UNREADABLE = (
    b"{", b'{"entities": ["\xff"]}', b"\xff\xfe", b"[" * 100_000, b'{"a": ' * 30_000,
    b'{"since": ' + b"9" * 5000 + b"}", b'{"dryRun": NaN', b'"\\ud800',
)  # fmt: skip
MEANINGLESS = (
    b"", b"null", b"[]", b'"text"', b"1e999", b'{"dryRun": NaN}', b'{"since": Infinity}', b'{"entities": ["\\ud800"]}',
    b'{"entities": ["a\\u0000"]}', b'{"\\ud800": 1}', b'{"\\u0000": 1}', b'{"integration": "x\\u0000"}',
    b'{"entities": [' + b"1," * 50_000 + b"1]}",
)  # fmt: skip
IMPOSSIBLE = (
    "runs/0", "runs/-1", f"runs/{2**63}", "runs/x", f"runs/{'9' * 5000}", "runs?before=%00", "runs?entity=%00",
    "dlq/0", "dlq?entity=a%00b", "dlq?state=lost", "errors?entity=%00", "rate-limit?window=%00",
    "../integrations/doorloop/check", "../integrations/doorloop/check?endpoint=owners&page_size=0",
)  # fmt: skip
ODD = ("%00", "%ED%A0%80", "..%2f", "x" * 5000, "%FF%FE", "%C3%28")


async def test_a_body_that_cannot_be_read_is_told(site: Served) -> None:
    for body in UNREADABLE:
        answer = await site.admin.post(RUN, content=body, headers=JSON)
        assert told(answer, 400)["fix"] == "Send JSON in UTF-8.", body[:40]


async def test_a_body_that_says_something_else_is_told(site: Served) -> None:
    for body in MEANINGLESS:
        answer = await site.admin.post(RUN, content=body, headers=JSON)
        assert len(told(answer, 422)["detail"]) < 1000, body[:40]


async def test_a_body_of_another_type_is_told(site: Served) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"):
        told(await site.admin.post(RUN, content=b'{"entities":["owners"]}', headers={"content-type": kind}), 422)


async def test_what_was_sent_is_not_repeated(site: Served) -> None:
    answer = await site.admin.post("/api/auth/login", json={"name": "ana", "password": ["s3cr3t"], "s3cr3t": 1})

    assert "s3cr3t" not in told(answer, 422)["detail"].replace("s3cr3t: Extra inputs", "")


async def test_a_huge_body_is_refused_before_it_is_read(site: Served) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * (MOST_BODY // 10)

    for content in (b" " * (MOST_BODY + 1), parts()):
        answer = await site.admin.post(RUN, content=content, headers=JSON)
        assert "1 MB" in told(answer, 413)["detail"]


async def test_a_parameter_that_cannot_be_is_told(site: Served) -> None:
    for path in IMPOSSIBLE:
        told(await site.admin.get(f"/api/admin/sync/{path}"), 422)


async def test_an_odd_path_leads_nowhere(site: Served) -> None:
    for text in ODD:
        told(await site.admin.get(f"/api/admin/integrations/{text}/ping"), 404)
        told(await site.admin.get(f"/{text}"), 404)


async def test_odd_text_in_a_query_harms_nothing(site: Served) -> None:
    for text in ("%FF", "%ED%A0%80", "%F0%9F%98%80", "'; DROP TABLE keepstep.runs; --", "%25"):
        assert (await site.admin.get(f"/api/admin/sync/runs?entity={text}")).status_code == 200


async def test_without_a_database_the_answer_says_so(site: Served) -> None:
    site.service.database.__init__("postgresql://nobody:s3cr3t@127.0.0.1:1/none")  # type: ignore[misc]
    document = told(await site.admin.get("/api/admin/sync/status"), 503)

    assert (document["code"], "s3cr3t" in str(document)) == ("database-down", False)
    assert (document["title"], document["docs"]) == (TABLE["database-down"].title, "docs/diagnosis.md#database-down")
    assert document["impact"]
    assert "DATABASE_URL" in document["fix"]


async def test_a_fault_of_ours_is_a_plain_500_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError("nobody foresaw s3cr3t")

    handle_problems(app)
    app.add_middleware(Shield)
    level = logging.getLogger("uvicorn").level
    site = Site(app, "127.0.0.1", 0)
    async with site.serving(), httpx.AsyncClient(base_url=site.url) as client:
        answer = await client.get("/broken")
        nowhere = await client.get("/nowhere")
    site.close()
    logging.getLogger("uvicorn").setLevel(level)

    document = told(answer, 500)
    assert ("s3cr3t" in answer.text, "ZeroDivision" in answer.text) == (False, False)
    assert document["code"] == "internal"
    assert [record.getMessage() for record in caplog.records if record.name == "keepstep.web"] == ["GET /broken failed"]
    assert nowhere.status_code == 404


async def test_a_client_that_goes_away_in_the_middle_harms_nothing(site: Served) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    head = f"POST {RUN} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_TOKEN}\r\ncontent-length: 100\r\n"
    for body in (b"", b'{"entities":'):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode() + b"content-type: application/json\r\n\r\n" + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    answer = await site.admin.get("/api/admin/sync/runs")

    assert (answer.status_code, json.loads(answer.text)) == (200, [])

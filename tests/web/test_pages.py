"""The pages as a program sees them: who gets in, what is sent, what it costs."""

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keepstep.service.control_center import PARTS, ControlCenter
from keepstep.web import static_files
from keepstep.web.sign_in import place
from tests.support.site import PASSWORD, Served, served

PAGE = "/systems/integrations"
BROWSER = {"accept": "text/html,application/xhtml+xml"}
STATIC = Path(static_files.__file__).parent / "static"


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(dsn, tmp_path, DOORLOOP_API_KEY="dl_secret_of_this_test") as site:
        yield site


async def test_a_browser_without_a_session_is_sent_to_the_door_and_a_program_gets_401(site: Served) -> None:
    answer = await site.nobody.get(f"{PAGE}?entity=owners", headers=BROWSER)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fsystems%2Fintegrations%3Fentity%3Downers"
    assert (await site.nobody.get(PAGE)).status_code == 401
    fragment = await site.nobody.get(f"{PAGE}/live?parts=glance", headers={**BROWSER, "hx-request": "true"})
    assert fragment.status_code == 401


async def test_signing_in_with_the_form_gives_a_session_and_leads_on(site: Served) -> None:
    await site.user("ana", "admin")
    form = {"name": "ana", "password": PASSWORD, "next": f"{PAGE}?entity=owners"}
    answer = await site.nobody.post("/login", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PAGE}?entity=owners")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert (await site.nobody.get(PAGE, headers=BROWSER)).status_code == 200
    assert (await site.nobody.post("/logout")).status_code == 303
    assert (await site.nobody.get(PAGE, headers=BROWSER)).status_code == 303


async def test_the_door_takes_no_form_of_another_site(site: Served) -> None:
    await site.user("ana", "admin")
    form = {"name": "ana", "password": PASSWORD}
    answer = await site.nobody.post("/login", data=form, headers={"origin": "https://evil.example.test"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("after", ["//evil.test", "https://evil.test", "/\\evil.test", "", "javascript:1", "/login"])
def test_nobody_is_led_to_another_site_after_signing_in(after: str) -> None:
    assert place(after) == PAGE


async def test_the_page_is_there_for_each_role_and_holds_no_secret(site: Served) -> None:
    for role in ("viewer", "operator", "admin"):
        answer = await site.nobody.get(PAGE, headers={**BROWSER, **await site.token(role)})
        assert answer.status_code == 200
        assert "dl_secret_of_this_test" not in answer.text
        assert answer.headers["cache-control"] == "no-store"


async def test_a_live_update_gives_each_part_exactly_as_the_page_has_it(site: Served) -> None:
    page = (await site.admin.get(PAGE)).text
    update = (await site.admin.get(f"{PAGE}/live?parts={','.join(PARTS)}")).text
    partials = dict(
        re.findall(r'<hx-partial id="part-(\w+)" hx-swap="innerMorph">(.*?)</hx-partial>', update, re.DOTALL)
    )
    assert set(partials) == set(PARTS)
    still = re.compile(r"<time.*?</time>", re.DOTALL)
    for name, partial in partials.items():
        if f'id="part-{name}"' in page:
            assert still.sub("", partial) in still.sub("", page), name


async def test_a_part_that_does_not_exist_is_told_with_those_that_do(site: Served) -> None:
    answer = await site.admin.get(f"{PAGE}/live?parts=glance,nothing")
    assert answer.status_code == 422
    assert "glance" in answer.json()["fix"]


async def test_a_problem_of_a_page_is_a_page(site: Served) -> None:
    answer = await site.admin.get(f"{PAGE}?integration=nothing", headers=BROWSER)
    assert answer.status_code == 404
    assert "There is no integration nothing." in answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert (await site.admin.get(f"{PAGE}?integration=nothing")).json()["title"] == "Not found"


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_the_header_is_there_before_the_database_has_answered(site: Served, encoding: str) -> None:
    headers = {**BROWSER, "accept-encoding": encoding}
    async with site.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE keepstep.dead_letters")
        async with site.admin.stream("GET", PAGE, headers=headers) as answer:
            texts = answer.aiter_text()
            begun = await anext(texts)
            await connection.execute("COMMIT")
            rest = "".join([text async for text in texts])
    assert ("<h1" in begun, 'id="room"' in begun) == (True, False)
    assert 'id="part-letters"' in rest
    assert rest.endswith("</html>")


async def test_what_fails_under_a_page_that_has_begun_is_said_in_its_place(site: Served) -> None:
    await site.sql("ALTER TABLE keepstep.dead_letters RENAME TO lost")
    answer = await site.admin.get(PAGE, headers=BROWSER)
    assert (answer.status_code, 'id="room"' in answer.text) == (200, False)
    assert "dead_letters" in answer.text
    assert answer.text.endswith("</html>")
    await site.sql("ALTER TABLE keepstep.lost RENAME TO dead_letters")
    assert 'id="room"' in (await site.admin.get(PAGE, headers=BROWSER)).text


async def test_every_file_that_a_page_names_is_there_for_good_and_compressed(site: Served) -> None:
    text = (await site.admin.get(PAGE)).text
    names = set(re.findall(r'"(/static/[^"]+)"', text))
    assert len(names) >= 6
    for name in names:
        answer = await site.nobody.get(name)
        assert answer.status_code == 200, name
        assert "immutable" in answer.headers["cache-control"]
    packed = await site.nobody.get(static_files.address("dist/app.css"))
    assert packed.headers["content-encoding"] == "gzip"
    plain = await site.nobody.get(static_files.address("dist/app.css"), headers={"accept-encoding": "identity"})
    assert plain.content == packed.content == (STATIC / "dist" / "app.css").read_bytes()
    assert (await site.nobody.get("/static/x/css/app.css")).status_code == 404


async def test_everything_that_the_page_loads_cold_is_under_200_kb(site: Served) -> None:
    async with site.nobody.stream("GET", PAGE, headers={**BROWSER, **await site.token("viewer")}) as page:
        raw = b"".join([chunk async for chunk in page.aiter_raw()])
    sent = [len(raw)]
    for name in set(re.findall(r'"(/static/[^"]+)"', gzip.decompress(raw).decode())):
        async with site.nobody.stream("GET", name) as answer:
            sent.append(sum([len(chunk) async for chunk in answer.aiter_raw()]))
    assert sum(sent) < 200_000


def test_templates_and_scripts_ask_for_nothing_that_the_policy_refuses() -> None:
    for path in [*STATIC.parent.rglob("templates/**/*.html"), *(STATIC / "js").rglob("*.js")]:
        text = path.read_text(encoding="utf-8")
        for refused in (r"\sstyle=", r"\son\w+=", r"hx-on", r'hx-vals="js:', "<style", r"\beval\(", "innerHTML ="):
            assert not re.search(refused, text), (path.name, refused)


def test_what_was_built_from_templates_is_recorded_with_licences() -> None:
    record = json.loads((STATIC / "dist" / "sources.json").read_text(encoding="utf-8"))
    assert {"app.css", "htmx.min.js", "htmx.LICENSE", "uplot.min.js", "uplot.LICENSE"} <= set(record["built"])


async def test_pages_that_heard_the_same_share_a_look_and_later_news_or_an_act_gets_a_new_one(site: Served) -> None:
    center = ControlCenter(site.service)
    first = center.look("doorloop", seen=7)
    assert center.look("doorloop", seen=7) is first
    assert center.look("doorloop", seen=5) is first
    later = center.look("doorloop", seen=8)
    assert later is not first
    assert center.look("doorloop") is not later
    assert center.look("doorloop", seen=8) is later
    glances = await asyncio.gather(*(later.part("glance") for _ in range(5)))
    assert all(glance is glances[0] for glance in glances)


async def test_a_browser_that_comes_to_a_consent_without_a_session_signs_in_first(site: Served) -> None:
    path = "/api/connections/google_contacts/callback?code=c&state=s"
    answer = await site.nobody.get(path, headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (
        303, "/login?next=%2Fapi%2Fconnections%2Fgoogle_contacts%2Fcallback%3Fcode%3Dc%26state%3Ds",
    )  # fmt: skip
    assert (await site.nobody.get(path)).status_code == 401

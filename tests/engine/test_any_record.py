"""Whatever a record holds, it is in the table exactly as it came, or it is a dead letter; never anything between."""

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from keepstep.integrations.doorloop.entities import LEASES
from keepstep.model.integration import Kind
from tests.support.server import TestServer
from tests.support.sync import Sync, counts_of
from tests.support.upstream import serving

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.sampled_from(
    ["null", '"', '""', "\\", "\\N", "\\.", "\n\\.\n", "\t", "\r", ",", "{}", "", "a,b", "true", "1"]
)
numbers = st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False) | st.just(0)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)
instants = st.datetimes().flatmap(
    lambda moment: st.sampled_from(["Z", "+00:00", "-05:30", "+14:00"]).map(lambda zone: moment.isoformat() + zone)
)
FITTING: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: text,
    Kind.BOOLEAN: st.booleans(),
    Kind.INTEGER: st.integers(-(2**63), 2**63 - 1),
    Kind.NUMERIC: numbers,
    Kind.TIMESTAMP: st.datetimes().map(lambda moment: moment.isoformat(timespec="microseconds") + "Z"),
    Kind.DATE: st.dates().map(lambda day: day.isoformat()),
    Kind.JSON: values,
}
NASTY = values | instants | st.text(max_size=5) | st.text(st.characters(categories=["Cs", "Lu"]), max_size=3)
KNOWN = {field.name for field in LEASES.fields} | {LEASES.key}
unknown = st.dictionaries(text.filter(lambda name: name not in KNOWN), values, max_size=4)

known = st.one_of([st.tuples(st.just(field.name), st.none() | FITTING[field.kind]) for field in LEASES.fields])
fitting = st.builds(lambda some, more: {**dict(some), **more}, st.lists(known, max_size=6), unknown)
anything = st.builds(
    lambda some, more: {**some, **more},
    st.dictionaries(st.sampled_from(sorted(KNOWN - {LEASES.key})), NASTY, max_size=4),
    st.dictionaries(st.text(max_size=4), NASTY, max_size=2).map(
        lambda d: {k: v for k, v in d.items() if k not in KNOWN}
    ),
)
plain = settings(
    max_examples=8, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


def written(record: dict[str, Any], number: int) -> bytes:
    """A record on the wire, some with every character escaped."""
    body = json.dumps({"id": f"r{number}", **record}, ensure_ascii=number % 2 == 0, separators=(",", ":"))
    return body.encode("utf-8", "surrogatepass")


@plain
@given(records=st.lists(fitting, min_size=15, max_size=25))
def test_records_that_fit_arrive_exactly_as_they_are(server: TestServer, records: list[dict[str, Any]]) -> None:
    async def check(dsn: str) -> None:
        async with serving(leases=0) as upstream:
            for number, record in enumerate(records):
                upstream.inject("leases", written(record, number))
            sync = Sync(dsn, upstream)
            run = await sync.run("leases")
            assert [letter["reason"] for letter in await sync.letters()] == []
            assert counts_of(run) == {"inserted": len(records)}
            await sync.assert_in_step("leases")
            assert counts_of(await sync.run("leases")) == {"unchanged": len(records)}

    with server.database() as dsn:
        asyncio.run(check(dsn))


@plain
@given(records=st.lists(anything, min_size=20, max_size=40))
def test_records_of_any_shape_are_in_the_table_exactly_or_are_dead_letters(
    server: TestServer, records: list[dict[str, Any]]
) -> None:
    async def check(dsn: str) -> None:
        async with serving(leases=0) as upstream:
            for number, record in enumerate(records):
                upstream.inject("leases", written(record, number))
            sync = Sync(dsn, upstream)
            run = await sync.run("leases")
            assert run.result == "succeeded"
            bad = [letter["record_key"] for letter in await sync.letters()]
            assert (run.inserted, run.dead_lettered) == (len(records) - len(bad), len(bad))
            assert set(bad) | set(await sync.rows("leases")) == {f"r{number}" for number in range(len(records))}
            await sync.assert_in_step("leases", apart_from=bad)

    with server.database() as dsn:
        asyncio.run(check(dsn))
